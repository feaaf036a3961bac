package node

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

const searchPath = "/:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is what a container's program finds in its environment: the
// API server's address, envFrom, then env, with $(NAME) of earlier ones filled in.
func (p *pod) environment(ctx context.Context, container *corev1.Container) (map[string]string, error) {
	variables := map[string]string{
		"PATH":                    searchPath,
		"HOME":                    "/",
		"HOSTNAME":                p.hostname(),
		"KUBERNETES_SERVICE_HOST": p.node.config.APIServiceAddress,
		"KUBERNETES_SERVICE_PORT": "443",
	}
	for _, source := range container.EnvFrom {
		values, err := p.envFrom(ctx, source)
		if err != nil {
			return nil, err
		}
		for name, value := range values {
			variables[source.Prefix+name] = value
		}
	}
	mapping := expansion.MappingFuncFor(variables)
	for _, variable := range container.Env {
		value := expansion.Expand(variable.Value, mapping)
		if variable.ValueFrom != nil {
			found := false
			var err error
			if value, found, err = p.valueFrom(ctx, container, variable.ValueFrom); err != nil {
				return nil, fmt.Errorf("env %s: %w", variable.Name, err)
			} else if !found {
				continue
			}
		}
		variables[variable.Name] = value
	}
	return variables, nil
}

func (p *pod) envFrom(ctx context.Context, source corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case source.ConfigMapRef != nil:
		values, err := p.configMap(ctx, source.ConfigMapRef.Name, source.ConfigMapRef.Optional)
		return text(values), err
	case source.SecretRef != nil:
		values, err := p.secret(ctx, source.SecretRef.Name, source.SecretRef.Optional)
		return text(values), err
	default:
		return nil, fmt.Errorf("envFrom: expected configMapRef or secretRef")
	}
}

func (p *pod) valueFrom(ctx context.Context, container *corev1.Container, source *corev1.EnvVarSource) (value string, found bool, err error) {
	var values map[string][]byte
	var key string
	var optional *bool
	switch {
	case source.FieldRef != nil:
		value, err = p.field(source.FieldRef.FieldPath)
		return value, err == nil, err
	case source.ResourceFieldRef != nil:
		value, err = resource.ExtractContainerResourceValue(source.ResourceFieldRef, container)
		return value, err == nil, err
	case source.ConfigMapKeyRef != nil:
		key, optional = source.ConfigMapKeyRef.Key, source.ConfigMapKeyRef.Optional
		values, err = p.configMap(ctx, source.ConfigMapKeyRef.Name, optional)
	case source.SecretKeyRef != nil:
		key, optional = source.SecretKeyRef.Key, source.SecretKeyRef.Optional
		values, err = p.secret(ctx, source.SecretKeyRef.Name, optional)
	default:
		err = fmt.Errorf("valueFrom: this source is not known to the node")
	}
	if err != nil {
		return "", false, err
	}
	bytes, found := values[key]
	if !found && (optional == nil || !*optional) {
		return "", false, fmt.Errorf("key %q is missing", key)
	}
	return string(bytes), found, nil
}

// field is a value of the downward API.
func (p *pod) field(path string) (string, error) {
	object := p.current()
	switch path {
	case "spec.nodeName":
		return p.node.config.Name, nil
	case "spec.serviceAccountName":
		return object.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return p.address.String(), nil
	case "status.hostIP", "status.hostIPs":
		return p.node.config.Address.String(), nil
	default:
		return fieldpath.ExtractFieldPathAsString(object, path)
	}
}

func (p *pod) configMap(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	object, err := p.node.client.CoreV1().ConfigMaps(p.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	values := map[string][]byte{}
	maps.Copy(values, object.BinaryData)
	for key, value := range object.Data {
		values[key] = []byte(value)
	}
	return values, nil
}

func (p *pod) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	object, err := p.node.client.CoreV1().Secrets(p.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return object.Data, nil
}

func text(values map[string][]byte) map[string]string {
	texts := make(map[string]string, len(values))
	for key, value := range values {
		texts[key] = string(value)
	}
	return texts
}

func pairs(variables map[string]string) []string {
	lines := make([]string, 0, len(variables))
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		lines = append(lines, name+"="+variables[name])
	}
	return lines
}
