package node

import (
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestImageReferences(t *testing.T) {
	images := Images{}
	require.NoError(t, images.Set("registry.example:5000/a/echo=/bin/echo"))
	require.Error(t, images.Set("echo=bin/echo"))
	for reference, expect := range map[string]string{
		"registry.example:5000/a/echo":             "/bin/echo",
		"registry.example:5000/a/echo:v1":          "/bin/echo",
		"registry.example:5000/a/echo@sha256:0123": "/bin/echo",
		"registry.example:5000/a/other:v1":         "",
	} {
		program, err := images.Program(reference)
		require.Equal(t, expect, program, reference)
		require.Equal(t, expect == "", err != nil, reference)
	}
}

func TestAddressesAreNotReusedSoonAndRunOut(t *testing.T) {
	pool := newAddresses(netip.MustParsePrefix("10.0.0.0/28"))
	taken := map[netip.Addr]bool{}
	for range 5 {
		address, err := pool.take()
		require.NoError(t, err)
		require.False(t, taken[address], address)
		taken[address] = true
	}
	_, err := pool.take()
	require.Error(t, err)
	first := netip.MustParseAddr("10.0.0.10")
	require.True(t, taken[first])
	pool.release(first)
	again, err := pool.take()
	require.NoError(t, err)
	require.Equal(t, first, again)
}

func TestVolumesFollowTheirSource(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "volume")
	mode := int32(0o600)
	files, err := choose(map[string][]byte{"tls.crt": []byte("c"), "tls.key": []byte("k")}, nil, &mode)
	require.NoError(t, err)
	require.NoError(t, lay(folder, files))
	about, err := os.Stat(filepath.Join(folder, "tls.key"))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, about.Mode().Perm())

	files, err = choose(map[string][]byte{"tls.crt": []byte("d"), "tls.key": []byte("k")}, []corev1.KeyToPath{{Key: "tls.crt", Path: "crt"}}, nil)
	require.NoError(t, err)
	require.NoError(t, lay(folder, files))
	text, err := os.ReadFile(filepath.Join(folder, "crt"))
	require.NoError(t, err)
	require.Equal(t, "d", string(text))
	require.NoFileExists(t, filepath.Join(folder, "tls.key"))

	_, err = choose(nil, []corev1.KeyToPath{{Key: "tls.crt", Path: "crt"}}, nil)
	require.ErrorContains(t, err, "tls.crt")
}

func TestLogOptions(t *testing.T) {
	options, err := logOptions(url.Values{"follow": {"true"}, "tailLines": {"3"}, "sinceTime": {"2026-01-02T03:04:05Z"}})
	require.NoError(t, err)
	require.True(t, options.Follow)
	require.EqualValues(t, 3, *options.TailLines)
	require.Equal(t, 2026, options.SinceTime.Year())
	_, err = logOptions(url.Values{"tailLines": {"x"}})
	require.Error(t, err)
}

func TestSlicePortGoesByName(t *testing.T) {
	port := func(name string, number int32) discoveryv1.EndpointPort {
		return discoveryv1.EndpointPort{Name: &name, Port: &number}
	}
	slice := &discoveryv1.EndpointSlice{Ports: []discoveryv1.EndpointPort{port("web", 3000), port("admin", 3001)}}
	require.EqualValues(t, 3001, slicePort(slice, corev1.ServicePort{Name: "admin", Protocol: corev1.ProtocolTCP}))
	require.EqualValues(t, 0, slicePort(slice, corev1.ServicePort{Protocol: corev1.ProtocolTCP}))
}

func TestStatusOfAPod(t *testing.T) {
	running := containerState{pid: 1, ready: true}
	unready := containerState{pid: 1}
	failed := containerState{ended: &corev1.ContainerStateTerminated{ExitCode: 1}}
	done := containerState{ended: &corev1.ContainerStateTerminated{}}
	for name, one := range map[string]struct {
		policy corev1.RestartPolicy
		state  containerState
		phase  corev1.PodPhase
		ready  corev1.ConditionStatus
	}{
		"ready":     {corev1.RestartPolicyAlways, running, corev1.PodRunning, corev1.ConditionTrue},
		"unready":   {corev1.RestartPolicyAlways, unready, corev1.PodRunning, corev1.ConditionFalse},
		"restarted": {corev1.RestartPolicyAlways, failed, corev1.PodRunning, corev1.ConditionFalse},
		"failed":    {corev1.RestartPolicyNever, failed, corev1.PodFailed, corev1.ConditionFalse},
		"done":      {corev1.RestartPolicyNever, done, corev1.PodSucceeded, corev1.ConditionFalse},
		"creating":  {corev1.RestartPolicyAlways, containerState{waiting: &corev1.ContainerStateWaiting{}}, corev1.PodPending, corev1.ConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			object := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: one.policy, Containers: []corev1.Container{{Name: "c"}}}}
			p := newPod(&Node{config: Config{Address: netip.MustParseAddr("10.0.0.1")}}, object)
			p.containers[0].state = one.state
			status := p.status(nil)
			require.Equal(t, one.phase, status.Phase)
			for _, condition := range status.Conditions {
				if condition.Type == corev1.PodReady {
					require.Equal(t, one.ready, condition.Status)
				}
			}
			require.Equal(t, status.Conditions, p.status(&status).Conditions)
		})
	}
}
