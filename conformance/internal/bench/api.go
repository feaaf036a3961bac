package bench

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// resources are the kinds of objects that are made here.
var resources = map[string]schema.GroupVersionResource{
	"Namespace":     {Version: "v1", Resource: "namespaces"},
	"Service":       {Version: "v1", Resource: "services"},
	"Deployment":    {Group: "apps", Version: "v1", Resource: "deployments"},
	"EndpointSlice": {Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	"Gateway":       {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
	"HTTPRoute":     {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
}

// api is the API server as the administrator uses it.
type api struct {
	dynamic dynamic.Interface
	client  kubernetes.Interface
}

func newAPI(config *rest.Config) (*api, error) {
	// Nothing here is to wait for its turn.
	config.QPS, config.Burst = 10_000, 10_000
	dynamic, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &api{dynamic, client}, nil
}

func (a *api) of(kind string) dynamic.ResourceInterface {
	if kind == "Namespace" {
		return a.dynamic.Resource(resources[kind])
	}
	return a.dynamic.Resource(resources[kind]).Namespace(namespace)
}

func (a *api) create(ctx context.Context, manifest object) error {
	kind := manifest["kind"].(string)
	// The client wants numbers as JSON has them.
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	var made unstructured.Unstructured
	if err := made.UnmarshalJSON(text); err != nil {
		return err
	}
	if _, err = a.of(kind).Create(ctx, &made, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create %s: %w", kind, err)
	}
	return nil
}

// patch changes the spec of an object.
func (a *api) patch(ctx context.Context, kind, name string, spec any) error {
	text, err := json.Marshal(object{"spec": spec})
	if err != nil {
		return err
	}
	_, err = a.of(kind).Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{})
	return err
}

func (a *api) remove(ctx context.Context, kind, name string) error {
	return a.of(kind).Delete(ctx, name, metav1.DeleteOptions{})
}

func (a *api) gatewayStatus(ctx context.Context) (gatewayv1.GatewayStatus, error) {
	made, err := a.of("Gateway").Get(ctx, gatewayName, metav1.GetOptions{})
	if err != nil {
		return gatewayv1.GatewayStatus{}, err
	}
	var typed gatewayv1.Gateway
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(made.Object, &typed)
	return typed.Status, err
}

// attached is the number of routes that the Gateway counts on its first listener.
func (a *api) attached(ctx context.Context) (int, error) {
	status, err := a.gatewayStatus(ctx)
	if err != nil {
		return 0, err
	}
	for _, one := range status.Listeners {
		if one.Name == httpListener {
			return int(one.AttachedRoutes), nil
		}
	}
	return 0, nil
}

// unprogrammed are the routes that are not accepted, or whose status is not of
// what was applied last; with the number of all.
func (a *api) unprogrammed(ctx context.Context) (names []string, all int, err error) {
	options := metav1.ListOptions{Limit: 1000}
	for {
		list, err := a.of("HTTPRoute").List(ctx, options)
		if err != nil {
			return nil, 0, err
		}
		for _, one := range list.Items {
			var route gatewayv1.HTTPRoute
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(one.Object, &route); err != nil {
				return nil, 0, err
			}
			all++
			if !isProgrammed(&route) {
				names = append(names, route.Name)
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return names, all, nil
		}
	}
}

// written is an error as long as a route's status is not of what was applied last.
func (a *api) written(ctx context.Context, name string) error {
	made, err := a.of("HTTPRoute").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var route gatewayv1.HTTPRoute
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(made.Object, &route); err != nil {
		return err
	}
	if !isProgrammed(&route) {
		return fmt.Errorf("HTTPRoute %s is not programmed: %+v", name, route.Status)
	}
	return nil
}

func isProgrammed(route *gatewayv1.HTTPRoute) bool {
	for _, parent := range route.Status.Parents {
		for _, condition := range parent.Conditions {
			if condition.ObservedGeneration != route.Generation {
				return false
			}
		}
		if !isTrue(parent.Conditions, "Accepted") || !isTrue(parent.Conditions, "ResolvedRefs") {
			return false
		}
	}
	return len(route.Status.Parents) == 1
}

func isTrue(conditions []metav1.Condition, kind string) bool {
	for _, one := range conditions {
		if one.Type == kind {
			return one.Status == metav1.ConditionTrue
		}
	}
	return false
}

// available is an error as long as a Deployment is not as it should be, all of
// its pods new.
func (a *api) available(ctx context.Context, namespace, name string) error {
	made, err := a.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return isRolledOut(made)
}

func isRolledOut(deployment *appsv1.Deployment) error {
	status, wanted := deployment.Status, *deployment.Spec.Replicas
	if status.ObservedGeneration < deployment.Generation || status.UpdatedReplicas != wanted || status.Replicas != wanted || status.AvailableReplicas != wanted {
		return fmt.Errorf("Deployment %s is not rolled out: %d of %d new pods are available", deployment.Name, status.AvailableReplicas, wanted)
	}
	return nil
}
