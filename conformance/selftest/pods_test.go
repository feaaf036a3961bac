package selftest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

const echoImage = "registry.k8s.io/gateway-api/echo-basic:v1.5.1"

// logsSince does what the mirror tests do: send a request, and look for its
// line among those since then.
func (s *subject) logsSince(t *testing.T) {
	pod := s.pods(t, infra, map[string]string{"app": "infra-backend-v2"})[0]
	url := "http://" + pod.Status.PodIP + ":3000"
	s.echo(t, http.DefaultClient, url+"/before", pod.Name)
	// sinceTime has full seconds.
	time.Sleep(2 * time.Second)
	since := metav1.Now()
	s.echo(t, http.DefaultClient, url+"/after", pod.Name)
	s.eventually(t, short, func(ctx context.Context) (bool, string) {
		text := s.log(t, &pod, &corev1.PodLogOptions{Container: "infra-backend-v2", SinceTime: &since})
		require.NotContains(t, text, "/before")
		return strings.Contains(text, "Echoing back request made to /after"), text
	})
	one := int64(1)
	require.Equal(t, 1, strings.Count(s.log(t, &pod, &corev1.PodLogOptions{TailLines: &one}), "\n"))
}

func (s *subject) log(t *testing.T, pod *corev1.Pod, options *corev1.PodLogOptions) string {
	t.Helper()
	text, err := s.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).DoRaw(t.Context())
	require.NoError(t, err)
	return string(text)
}

func (s *subject) logsFollow(t *testing.T) {
	pod := s.pods(t, infra, map[string]string{"app": "infra-backend-v3"})[0]
	ctx, stop := context.WithTimeout(t.Context(), short)
	defer stop()
	stream, err := s.client.CoreV1().Pods(infra).GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	require.NoError(t, err)
	defer stream.Close()
	s.echo(t, http.DefaultClient, "http://"+pod.Status.PodIP+":3000/followed", pod.Name)
	var read strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(read.String(), "/followed") {
		count, err := stream.Read(buffer)
		require.NoError(t, err, read.String())
		read.Write(buffer[:count])
	}
}

func (s *subject) execOverSPDY(t *testing.T) {
	s.exec(t, func(url string) (remotecommand.Executor, error) {
		request := s.client.CoreV1().RESTClient().Post().AbsPath(url).VersionedParams(execOptions(), scheme.ParameterCodec)
		return remotecommand.NewSPDYExecutor(s.config, http.MethodPost, request.URL())
	})
}

func (s *subject) execOverWebSocket(t *testing.T) {
	s.exec(t, func(url string) (remotecommand.Executor, error) {
		request := s.client.CoreV1().RESTClient().Get().AbsPath(url).VersionedParams(execOptions(), scheme.ParameterCodec)
		return remotecommand.NewWebSocketExecutor(s.config, http.MethodGet, request.URL().String())
	})
}

func execOptions() *corev1.PodExecOptions {
	script := `read line; echo "$line from $POD_NAME" $(hostname); echo problem >&2; exit 3`
	return &corev1.PodExecOptions{Command: []string{"sh", "-c", script}, Stdin: true, Stdout: true, Stderr: true}
}

func (s *subject) exec(t *testing.T, connect func(url string) (remotecommand.Executor, error)) {
	t.Helper()
	pod := s.pods(t, infra, map[string]string{"app": "infra-backend-v1"})[0]
	executor, err := connect(fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/exec", infra, pod.Name))
	require.NoError(t, err)
	var out, problems bytes.Buffer
	err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader("hello\n"), Stdout: &out, Stderr: &problems})
	require.ErrorContains(t, err, "exit code 3")
	require.Equal(t, "hello from "+pod.Name+" "+pod.Name+"\n", out.String())
	require.Equal(t, "problem\n", problems.String())
}

// podSeesItsCluster: a pod reaches the API server by its Service's name with
// its own token, and other Services by name.
func (s *subject) podSeesItsCluster(t *testing.T) {
	pod := s.pods(t, infra, map[string]string{"app": "infra-backend-v1"})[0]
	read := func(script string) string {
		request := s.client.CoreV1().RESTClient().Post().AbsPath(fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/exec", infra, pod.Name)).
			VersionedParams(&corev1.PodExecOptions{Command: []string{"sh", "-c", script}, Stdout: true, Stderr: true}, scheme.ParameterCodec)
		executor, err := remotecommand.NewSPDYExecutor(s.config, http.MethodPost, request.URL())
		require.NoError(t, err)
		var out, problems bytes.Buffer
		require.NoError(t, executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &problems}), problems.String())
		return strings.TrimSpace(out.String())
	}
	folder := "/var/run/secrets/kubernetes.io/serviceaccount"
	require.Equal(t, infra, read("cat "+folder+"/namespace"))
	require.Contains(t, read("cat "+folder+"/ca.crt"), "BEGIN CERTIFICATE")
	token := read("cat " + folder + "/token")
	require.Len(t, strings.Split(token, "."), 3)
	require.Equal(t, "10.96.0.1", read("echo $KUBERNETES_SERVICE_HOST"))
	service, err := s.client.CoreV1().Services(infra).Get(t.Context(), "infra-backend-v2", metav1.GetOptions{})
	require.NoError(t, err)
	for _, name := range []string{"infra-backend-v2", "infra-backend-v2." + infra + ".svc", "infra-backend-v2." + infra + ".svc.cluster.local"} {
		require.Equal(t, service.Spec.ClusterIP, strings.Fields(read("getent ahostsv4 " + name))[0])
	}
	endpoint, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://10.96.0.1/version", nil)
	require.NoError(t, err)
	endpoint.Header.Set("Authorization", "Bearer "+token)
	client, err := s.trusting()
	require.NoError(t, err)
	response, err := client.Do(endpoint)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(body))
}

func (s *subject) readinessProbe(t *testing.T) {
	unready := s.run(t, "unready", corev1.PodSpec{Containers: []corev1.Container{{
		Name: "echo", Image: echoImage,
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/status/503", Port: intstr.FromInt32(3000)}}},
	}}})
	ready := s.run(t, "ready", corev1.PodSpec{Containers: []corev1.Container{{
		Name: "echo", Image: echoImage, Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 3000}},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/health", Port: intstr.FromString("web")}}},
	}}})
	s.podBecomes(t, ready, "ready", isReady)
	s.podBecomes(t, unready, "running", func(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning })
	got, err := s.client.CoreV1().Pods(infra).Get(t.Context(), unready, metav1.GetOptions{})
	require.NoError(t, err)
	require.False(t, isReady(got))
}

func (s *subject) livenessProbeRestarts(t *testing.T) {
	name := s.run(t, "sick", corev1.PodSpec{Containers: []corev1.Container{{
		Name: "echo", Image: echoImage,
		LivenessProbe: &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9)}}},
	}}})
	s.podBecomes(t, name, "restarted", func(pod *corev1.Pod) bool {
		return len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].RestartCount > 0
	})
}

// unprivilegedReadOnlyPod: what a hardened gateway asks for. It binds port 80
// as a user without rights, on a root that it cannot write to.
func (s *subject) unprivilegedReadOnlyPod(t *testing.T) {
	user, yes := int64(65532), true
	name := s.run(t, "hardened", corev1.PodSpec{
		Containers: []corev1.Container{{
			Name: "echo", Image: echoImage, Env: []corev1.EnvVar{{Name: "HTTP_PORT", Value: "80"}},
			SecurityContext: &corev1.SecurityContext{RunAsUser: &user, RunAsGroup: &user, RunAsNonRoot: &yes, ReadOnlyRootFilesystem: &yes},
			ReadinessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}},
		}},
	})
	s.podBecomes(t, name, "ready", isReady)
}

func (s *subject) unknownImageIsSaid(t *testing.T) {
	name := s.run(t, "unknown", corev1.PodSpec{Containers: []corev1.Container{{Name: "what", Image: "example.com/unknown:1"}}})
	s.podBecomes(t, name, "refused", func(pod *corev1.Pod) bool {
		for _, status := range pod.Status.ContainerStatuses {
			if status.State.Waiting != nil && strings.Contains(status.State.Waiting.Message, "example.com/unknown") {
				return true
			}
		}
		return false
	})
}

// run makes a pod that is deleted at the end of the test.
func (s *subject) run(t *testing.T, name string, spec corev1.PodSpec) string {
	t.Helper()
	pods := s.client.CoreV1().Pods(infra)
	_, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		zero := int64(0)
		require.NoError(t, pods.Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: &zero}))
	})
	return name
}

func (s *subject) podBecomes(t *testing.T, name, what string, is func(*corev1.Pod) bool) {
	t.Helper()
	s.eventually(t, short, func(ctx context.Context) (bool, string) {
		pod, err := s.client.CoreV1().Pods(infra).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return is(pod), fmt.Sprintf("pod %s is not %s: %+v", name, what, pod.Status)
	})
}

// trusting is a client that believes the API server's certificate and shows
// none of its own.
func (s *subject) trusting() (*http.Client, error) {
	config := *s.config
	config.CertData, config.KeyData = nil, nil
	transport, err := rest.TransportFor(&config)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: transport}, nil
}
