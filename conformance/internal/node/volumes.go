package node

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// volumeRefresh is how often the files of Secrets, ConfigMaps and tokens are
// read again; a kubelet takes about a minute as well.
const volumeRefresh = time.Minute

// file is one file of a volume.
type file struct {
	content []byte
	mode    fs.FileMode
}

// layVolumes writes the pod's volumes into folders of the node, or brings them
// up to date. Running programs see new content at the same path.
func (p *pod) layVolumes(ctx context.Context) error {
	for _, volume := range p.current().Spec.Volumes {
		if volume.HostPath != nil {
			continue
		}
		folder := p.volumeFolder(volume.Name)
		if volume.EmptyDir != nil {
			if err := makeShared(folder); err != nil {
				return err
			}
			continue
		}
		files, err := p.volumeFiles(ctx, volume.VolumeSource)
		if err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
		if err := lay(folder, files); err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
	}
	return nil
}

func (p *pod) volumeFolder(name string) string {
	return filepath.Join(p.folder, "volumes", name)
}

func makeShared(folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	return os.Chmod(folder, 0o777)
}

func (p *pod) volumeFiles(ctx context.Context, source corev1.VolumeSource) (map[string]file, error) {
	switch {
	case source.Secret != nil:
		values, err := p.secret(ctx, source.Secret.SecretName, source.Secret.Optional)
		if err != nil {
			return nil, err
		}
		return choose(values, source.Secret.Items, source.Secret.DefaultMode)
	case source.ConfigMap != nil:
		values, err := p.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Optional)
		if err != nil {
			return nil, err
		}
		return choose(values, source.ConfigMap.Items, source.ConfigMap.DefaultMode)
	case source.DownwardAPI != nil:
		return p.downwardFiles(source.DownwardAPI.Items, source.DownwardAPI.DefaultMode)
	case source.Projected != nil:
		return p.projectedFiles(ctx, source.Projected)
	default:
		return nil, fmt.Errorf("this kind of volume is not known to the node")
	}
}

func (p *pod) projectedFiles(ctx context.Context, source *corev1.ProjectedVolumeSource) (map[string]file, error) {
	files := map[string]file{}
	for _, part := range source.Sources {
		some, err := p.projectionFiles(ctx, part, source.DefaultMode)
		if err != nil {
			return nil, err
		}
		maps.Copy(files, some)
	}
	return files, nil
}

func (p *pod) projectionFiles(ctx context.Context, source corev1.VolumeProjection, mode *int32) (map[string]file, error) {
	switch {
	case source.Secret != nil:
		values, err := p.secret(ctx, source.Secret.Name, source.Secret.Optional)
		if err != nil {
			return nil, err
		}
		return choose(values, source.Secret.Items, mode)
	case source.ConfigMap != nil:
		values, err := p.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Optional)
		if err != nil {
			return nil, err
		}
		return choose(values, source.ConfigMap.Items, mode)
	case source.DownwardAPI != nil:
		return p.downwardFiles(source.DownwardAPI.Items, mode)
	case source.ServiceAccountToken != nil:
		token, err := p.token(ctx, source.ServiceAccountToken)
		if err != nil {
			return nil, err
		}
		return map[string]file{source.ServiceAccountToken.Path: {token, modeOf(nil, mode)}}, nil
	default:
		return nil, fmt.Errorf("this projection is not known to the node")
	}
}

// token asks for a token that is bound to the pod, anew when less than a
// fifth of its life is left.
func (p *pod) token(ctx context.Context, projection *corev1.ServiceAccountTokenProjection) ([]byte, error) {
	if held, found := p.tokens[projection.Path]; found && time.Now().Before(held.renew) {
		return held.text, nil
	}
	object := p.current()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: projection.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.name, UID: p.uid},
	}}
	if projection.Audience != "" {
		request.Spec.Audiences = []string{projection.Audience}
	}
	answer, err := p.node.client.CoreV1().ServiceAccounts(p.namespace).CreateToken(ctx, object.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	life := time.Until(answer.Status.ExpirationTimestamp.Time)
	held := boundToken{text: []byte(answer.Status.Token), renew: time.Now().Add(life * 4 / 5)}
	p.tokens[projection.Path] = held
	return held.text, nil
}

type boundToken struct {
	text  []byte
	renew time.Time
}

func (p *pod) downwardFiles(items []corev1.DownwardAPIVolumeFile, mode *int32) (map[string]file, error) {
	files := map[string]file{}
	for _, item := range items {
		if item.FieldRef == nil {
			return nil, fmt.Errorf("%s: expected fieldRef", item.Path)
		}
		value, err := p.field(item.FieldRef.FieldPath)
		if err != nil {
			return nil, err
		}
		files[item.Path] = file{[]byte(value), modeOf(item.Mode, mode)}
	}
	return files, nil
}

func choose(values map[string][]byte, items []corev1.KeyToPath, mode *int32) (map[string]file, error) {
	files := map[string]file{}
	if len(items) == 0 {
		for key, value := range values {
			files[key] = file{value, modeOf(nil, mode)}
		}
		return files, nil
	}
	for _, item := range items {
		value, found := values[item.Key]
		if !found {
			return nil, fmt.Errorf("key %q is missing", item.Key)
		}
		files[item.Path] = file{value, modeOf(item.Mode, mode)}
	}
	return files, nil
}

func modeOf(own, common *int32) fs.FileMode {
	switch {
	case own != nil:
		return fs.FileMode(*own)
	case common != nil:
		return fs.FileMode(*common)
	default:
		return 0o644
	}
}

// lay makes the folder hold these files and no others. Each file changes at
// once, never half.
func lay(folder string, files map[string]file) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, one := range files {
		path := filepath.Join(folder, name)
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, one.content) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		fresh := path + ".new"
		if err := os.WriteFile(fresh, one.content, one.mode); err != nil {
			return err
		}
		if err := os.Chmod(fresh, one.mode); err != nil {
			return err
		}
		if err := os.Rename(fresh, path); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if _, wanted := files[entry.Name()]; !wanted && !entry.IsDir() {
			if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// mounts are the container's volume mounts as binds.
func (p *pod) mounts(container *corev1.Container) ([]mount, error) {
	object := p.current()
	sources := map[string]corev1.VolumeSource{}
	for _, volume := range object.Spec.Volumes {
		sources[volume.Name] = volume.VolumeSource
	}
	var mounts []mount
	for _, one := range container.VolumeMounts {
		source, found := sources[one.Name]
		if !found {
			return nil, fmt.Errorf("volumeMount %s: the pod has no such volume", one.Name)
		}
		path := p.volumeFolder(one.Name)
		if source.HostPath != nil {
			path = source.HostPath.Path
		}
		writable := source.EmptyDir != nil || source.HostPath != nil
		mounts = append(mounts, mount{
			Source:   filepath.Join(path, one.SubPath),
			Target:   one.MountPath,
			ReadOnly: one.ReadOnly || !writable,
		})
	}
	return mounts, nil
}
