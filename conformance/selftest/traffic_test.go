package selftest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func (s *subject) echoAnswersHTTP(t *testing.T) {
	for _, pod := range s.pods(t, infra, map[string]string{"app": "infra-backend-v1"}) {
		s.echo(t, http.DefaultClient, "http://"+pod.Status.PodIP+":3000/some/path", pod.Name)
	}
}

func (s *subject) echoAnswersH2C(t *testing.T) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	pod := s.pods(t, infra, map[string]string{"app": "infra-backend-v1"})[0]
	s.echo(t, client, "http://"+pod.Status.PodIP+":3001/", pod.Name)
}

func (s *subject) echoAnswersTLS(t *testing.T) {
	pod := s.pods(t, infra, map[string]string{"app": "tls-backend"})[0]
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	s.echo(t, client, "https://"+pod.Status.PodIP+":8443/", pod.Name)
}

// echo asks an echo server until it answers with its pod's name.
func (s *subject) echo(t *testing.T, client *http.Client, url, pod string) {
	t.Helper()
	s.eventually(t, short, func(ctx context.Context) (bool, string) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		require.NoError(t, err)
		response, err := client.Do(request)
		if err != nil {
			return false, err.Error()
		}
		defer response.Body.Close()
		var echoed struct{ Pod, Namespace string }
		if err := json.NewDecoder(response.Body).Decode(&echoed); err != nil {
			return false, err.Error()
		}
		return pod == "" || echoed.Pod == pod, fmt.Sprintf("%s: got %+v", url, echoed)
	})
}

func (s *subject) echoAnswersTCP(t *testing.T) {
	pod := s.pods(t, infra, map[string]string{"app": "tcp-backend"})[0]
	s.eventually(t, short, func(context.Context) (bool, string) {
		connection, err := net.DialTimeout("tcp", pod.Status.PodIP+":3000", time.Second)
		if err != nil {
			return false, err.Error()
		}
		defer connection.Close()
		require.NoError(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
		answers := bufio.NewReader(connection)
		welcome, err := answers.ReadString('\n')
		if err != nil {
			return false, err.Error()
		}
		_, err = io.WriteString(connection, "TEST\n")
		require.NoError(t, err)
		var echoed struct{ Pod string }
		err = json.NewDecoder(answers).Decode(&echoed)
		return err == nil && echoed.Pod == pod.Name, fmt.Sprintf("got %q, %+v, %v", welcome, echoed, err)
	})
}

func (s *subject) coreDNSAnswers(t *testing.T) {
	pod := s.pods(t, infra, map[string]string{"app": "udp"})[0]
	s.resolves(t, pod.Status.PodIP+":53")
}

// resolves asks for the name that the suite asks for.
func (s *subject) resolves(t *testing.T, server string) {
	t.Helper()
	question := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("foo.bar.com."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := question.Pack()
	require.NoError(t, err)
	s.eventually(t, short, func(context.Context) (bool, string) {
		connection, err := net.Dial("udp", server)
		require.NoError(t, err)
		defer connection.Close()
		require.NoError(t, connection.SetDeadline(time.Now().Add(time.Second)))
		if _, err := connection.Write(packed); err != nil {
			return false, err.Error()
		}
		buffer := make([]byte, 4096)
		count, err := connection.Read(buffer)
		if err != nil {
			return false, err.Error()
		}
		var answer dnsmessage.Message
		require.NoError(t, answer.Unpack(buffer[:count]))
		return answer.ID == 7 && answer.RCode == dnsmessage.RCodeSuccess, answer.RCode.String()
	})
}

// serviceAddresses asks a Service by its cluster address, and one of type
// LoadBalancer by the address that it is given.
func (s *subject) serviceAddresses(t *testing.T) {
	service, err := s.client.CoreV1().Services(infra).Get(t.Context(), "infra-backend-v1", metav1.GetOptions{})
	require.NoError(t, err)
	s.echo(t, http.DefaultClient, "http://"+net.JoinHostPort(service.Spec.ClusterIP, "8080")+"/", "")
	address := s.loadBalancer(t, "balanced", "", map[string]string{"app": "infra-backend-v3"}, corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(3000)})
	pod := s.pods(t, infra, map[string]string{"app": "infra-backend-v3"})[0]
	s.echo(t, http.DefaultClient, "http://"+address+"/", pod.Name)
	wanted := "10.98.0.77"
	address = s.loadBalancer(t, "balanced-static", wanted, map[string]string{"app": "infra-backend-v3"}, corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(3000)})
	require.Equal(t, wanted, address)
	s.echo(t, http.DefaultClient, "http://"+address+"/", pod.Name)
}

func (s *subject) loadBalancerCarriesUDP(t *testing.T) {
	address := s.loadBalancer(t, "balanced-udp", "", map[string]string{"app": "udp"}, corev1.ServicePort{Port: 5300, TargetPort: intstr.FromInt32(53), Protocol: corev1.ProtocolUDP})
	s.resolves(t, address+":5300")
}

func (s *subject) loadBalancer(t *testing.T, name, wanted string, selector map[string]string, port corev1.ServicePort) (address string) {
	t.Helper()
	services := s.client.CoreV1().Services(infra)
	_, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: selector, Ports: []corev1.ServicePort{port}, LoadBalancerIP: wanted},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	s.eventually(t, short, func(ctx context.Context) (bool, string) {
		service, err := services.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			address = ingress.IP
		}
		return address != "", "the Service has no address"
	})
	return address
}
