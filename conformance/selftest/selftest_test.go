// Package selftest shows that the local cluster does what the conformance suite
// takes for granted: the suite's own base manifests come up, echo answers over
// TCP, UDP, TLS and gRPC's HTTP/2, logs and exec work, Services have addresses,
// and what is deleted goes.
//
// It runs inside the cluster's network, with KUBECONFIG set: `conformance/run --self-test`.
package selftest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/gateway-api/conformance"

	"github.com/gateway-rs/gateway/conformance/internal/harness"
	"github.com/gateway-rs/gateway/conformance/internal/pki"
)

const (
	infra = "gateway-conformance-infra"
	// patience is what the suite gives the cluster for the same.
	patience = 300 * time.Second
	short    = 30 * time.Second
)

// subject is the cluster under test.
type subject struct {
	config  *rest.Config
	client  kubernetes.Interface
	applier *harness.Applier
}

func TestCluster(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	require.NoError(t, err)
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	applier, err := harness.NewApplier(config)
	require.NoError(t, err)
	s := &subject{config: config, client: client, applier: applier}
	for _, one := range []struct {
		name  string
		check func(*subject, *testing.T)
	}{
		{"BaseManifestsComeUp", (*subject).baseManifestsComeUp},
		{"EndpointSlicesAreFilled", (*subject).endpointSlicesAreFilled},
		{"EchoAnswersHTTP", (*subject).echoAnswersHTTP},
		{"EchoAnswersH2C", (*subject).echoAnswersH2C},
		{"EchoAnswersTLS", (*subject).echoAnswersTLS},
		{"EchoAnswersTCP", (*subject).echoAnswersTCP},
		{"CoreDNSAnswers", (*subject).coreDNSAnswers},
		{"LogsSince", (*subject).logsSince},
		{"LogsFollow", (*subject).logsFollow},
		{"ExecOverSPDY", (*subject).execOverSPDY},
		{"ExecOverWebSocket", (*subject).execOverWebSocket},
		{"ServiceAddresses", (*subject).serviceAddresses},
		{"LoadBalancerCarriesUDP", (*subject).loadBalancerCarriesUDP},
		{"PodSeesItsCluster", (*subject).podSeesItsCluster},
		{"ReadinessProbe", (*subject).readinessProbe},
		{"LivenessProbeRestarts", (*subject).livenessProbeRestarts},
		{"UnprivilegedReadOnlyPod", (*subject).unprivilegedReadOnlyPod},
		{"UnknownImageIsSaid", (*subject).unknownImageIsSaid},
		{"DeletedPodIsReplaced", (*subject).deletedPodIsReplaced},
		{"NamespacesGo", (*subject).namespacesGo},
	} {
		if !t.Run(one.name, func(t *testing.T) { one.check(s, t) }) && one.name == "BaseManifestsComeUp" {
			t.FailNow()
		}
	}
}

// baseManifestsComeUp applies what every run of the suite starts with, with
// secrets of the same names, and waits until all pods are ready.
func (s *subject) baseManifestsComeUp(t *testing.T) {
	text, err := conformance.Manifests.ReadFile("base/manifests.yaml")
	require.NoError(t, err)
	manifests := strings.ReplaceAll(string(text), "{GATEWAY_CLASS_NAME}", "none")
	require.NoError(t, s.applier.Apply(t.Context(), []byte(manifests)))
	authority, err := pki.NewAuthority("self-test")
	require.NoError(t, err)
	for _, name := range []string{infra + "/tls-checks-certificate", infra + "/tls-passthrough-checks-certificate", "gateway-conformance-app-backend/tls-passthrough-checks-certificate"} {
		namespace, name, _ := strings.Cut(name, "/")
		pair, err := authority.Issue(pki.Subject{CommonName: "abc.example.com", Names: []string{"abc.example.com"}})
		require.NoError(t, err)
		_, err = s.client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Type:       corev1.SecretTypeTLS,
			Data:       map[string][]byte{"tls.crt": pair.Certificate, "tls.key": pair.Key},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	s.eventually(t, patience, func(ctx context.Context) (bool, string) {
		deployments, err := s.client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, one := range deployments.Items {
			if one.Status.AvailableReplicas != *one.Spec.Replicas {
				return false, one.Name + " is not available"
			}
		}
		return len(deployments.Items) > 10, "too few deployments"
	})
}

func (s *subject) endpointSlicesAreFilled(t *testing.T) {
	services, err := s.client.CoreV1().Services(infra).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, services.Items)
	for _, service := range services.Items {
		pods := s.pods(t, infra, service.Spec.Selector)
		s.eventually(t, short, func(ctx context.Context) (bool, string) {
			slices, err := s.client.DiscoveryV1().EndpointSlices(infra).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name})
			if err != nil {
				return false, err.Error()
			}
			ready := 0
			for _, slice := range slices.Items {
				for _, endpoint := range slice.Endpoints {
					if endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
						ready++
					}
				}
			}
			return ready == len(pods), service.Name + ": not all endpoints are ready"
		})
	}
}

func (s *subject) deletedPodIsReplaced(t *testing.T) {
	selector := map[string]string{"app": "web-backend"}
	before := s.pods(t, "gateway-conformance-web-backend", selector)
	victim := before[0]
	require.NoError(t, s.client.CoreV1().Pods(victim.Namespace).Delete(t.Context(), victim.Name, metav1.DeleteOptions{}))
	s.eventually(t, short, func(ctx context.Context) (bool, string) {
		pods := s.pods(t, victim.Namespace, selector)
		ready := 0
		for _, pod := range pods {
			if pod.UID == victim.UID {
				return false, "the deleted pod is still there"
			}
			if isReady(&pod) {
				ready++
			}
		}
		return ready == len(before), "its successor is not ready"
	})
}

func (s *subject) namespacesGo(t *testing.T) {
	for _, name := range []string{infra, "gateway-conformance-app-backend", "gateway-conformance-web-backend"} {
		require.NoError(t, s.client.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	s.eventually(t, 2*time.Minute, func(ctx context.Context) (bool, string) {
		_, err := s.client.CoreV1().Namespaces().Get(ctx, infra, metav1.GetOptions{})
		return apierrors.IsNotFound(err), "the namespace is still there"
	})
}

// pods are the running ones with these labels.
func (s *subject) pods(t *testing.T, namespace string, selector map[string]string) []corev1.Pod {
	t.Helper()
	list, err := s.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: labels.SelectorFromSet(selector).String()})
	require.NoError(t, err)
	require.NotEmpty(t, list.Items)
	return list.Items
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// eventually asks again and again until the answer is yes.
func (s *subject) eventually(t *testing.T, limit time.Duration, ask func(context.Context) (yes bool, otherwise string)) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), limit)
	defer stop()
	for {
		yes, otherwise := ask(ctx)
		if yes {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %s: %s", limit, otherwise)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
