package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gateway-rs/gateway/conformance/internal/pki"
)

const (
	apiServer   = "https://" + nodeAddress + ":6443"
	etcdClient  = "http://127.0.0.1:2379"
	kubeletPort = "10250"
	readyTime   = 2 * time.Minute
)

// Cluster is a running control plane with its node.
type Cluster struct {
	bin, logs, state string
	// kubeconfig is the file of the administrator.
	kubeconfig string
	// apiServerArguments are added to those of every cluster.
	apiServerArguments []string
	rest               *rest.Config
	client             kubernetes.Interface
	parts              []*process
}

// startCluster starts etcd, the API server, the controllers and the node, and
// returns as soon as the API server is ready.
func startCluster(ctx context.Context, options Options) (*Cluster, error) {
	c := &Cluster{bin: options.Bin, logs: options.Logs, state: filepath.Join(options.Logs, "state"), apiServerArguments: options.APIServerArguments}
	if err := os.MkdirAll(c.state, 0o700); err != nil {
		return nil, err
	}
	if err := c.writeKeys(); err != nil {
		return nil, fmt.Errorf("write keys: %w", err)
	}
	steps := []func() error{
		func() error {
			return c.start("etcd", "cluster", "etcd", "--dir", c.path("etcd"), "--client", etcdClient, "--peer", "http://127.0.0.1:2380")
		},
		func() error {
			return c.start("apiserver", "cluster", append([]string{"apiserver"}, c.apiServerFlags()...)...)
		},
		func() error { return c.connect(ctx) },
		func() error {
			return c.start("controllers", "cluster", append([]string{"controllers"}, c.controllerFlags()...)...)
		},
		func() error { return c.start("node", "node", c.nodeFlags(options)...) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			c.Stop()
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) path(name string) string { return filepath.Join(c.state, name) }

// start adds a part, which runs one of the programs that were built.
func (c *Cluster) start(name, program string, arguments ...string) error {
	part, err := start(c.logs, name, filepath.Join(c.bin, program), arguments...)
	if err != nil {
		return err
	}
	c.parts = append(c.parts, part)
	return nil
}

// Stop ends the parts, the last first.
func (c *Cluster) Stop() {
	for i := len(c.parts) - 1; i >= 0; i-- {
		c.parts[i].stop()
	}
}

// Check is an error if a part has ended.
func (c *Cluster) Check() error {
	for _, part := range c.parts {
		if err := part.check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) writeKeys() error {
	authority, err := pki.NewAuthority("local-cluster")
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.path("ca.crt"), authority.PEM, 0o644); err != nil {
		return err
	}
	for name, subject := range map[string]pki.Subject{
		"apiserver": {
			CommonName: "kube-apiserver",
			Addresses:  []string{"127.0.0.1", nodeAddress, apiService},
			Names:      []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		},
		"kubelet":        {CommonName: "system:node:node", Groups: []string{"system:nodes"}, Addresses: []string{nodeAddress}, Names: []string{"node"}},
		"kubelet-client": {CommonName: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}},
	} {
		pair, err := authority.Issue(subject)
		if err != nil {
			return err
		}
		if err := pair.Write(c.path(name)); err != nil {
			return err
		}
	}
	private, public, err := pki.SigningKey()
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.path("tokens.key"), private, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(c.path("tokens.pub"), public, 0o644); err != nil {
		return err
	}
	return c.writeKubeconfigs(authority)
}

// writeKubeconfigs writes those of the administrator, of the controllers, of
// the gateway in shape shared, and of the node, which is trusted like an
// administrator: it also binds pods and assigns addresses.
func (c *Cluster) writeKubeconfigs(authority *pki.Authority) error {
	c.kubeconfig = filepath.Join(c.logs, "kubeconfig")
	for path, subject := range map[string]pki.Subject{
		c.kubeconfig:                     {CommonName: "admin", Groups: []string{"system:masters"}},
		c.path("controllers.kubeconfig"): {CommonName: "system:kube-controller-manager", Groups: []string{"system:masters"}},
		c.path("node.kubeconfig"):        {CommonName: "system:node:node", Groups: []string{"system:masters"}},
		c.path("gateway.kubeconfig"):     {CommonName: GatewayUser, Groups: []string{"system:masters"}},
	} {
		pair, err := authority.Issue(subject)
		if err != nil {
			return err
		}
		if err := authority.WriteKubeconfig(path, apiServer, pair); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) apiServerFlags() []string {
	return append([]string{
		"--etcd-servers=" + etcdClient,
		"--advertise-address=" + nodeAddress,
		"--secure-port=6443",
		"--client-ca-file=" + c.path("ca.crt"),
		"--tls-cert-file=" + c.path("apiserver.crt"),
		"--tls-private-key-file=" + c.path("apiserver.key"),
		"--kubelet-certificate-authority=" + c.path("ca.crt"),
		"--kubelet-client-certificate=" + c.path("kubelet-client.crt"),
		"--kubelet-client-key=" + c.path("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-cluster-ip-range=" + serviceRange,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.path("tokens.pub"),
		"--service-account-signing-key-file=" + c.path("tokens.key"),
		"--authorization-mode=RBAC",
		"--allow-privileged=true",
		"--v=1",
	}, c.apiServerArguments...)
}

func (c *Cluster) controllerFlags() []string {
	return []string{
		"--kubeconfig=" + c.path("controllers.kubeconfig"),
		"--authentication-kubeconfig=" + c.path("controllers.kubeconfig"),
		"--authorization-kubeconfig=" + c.path("controllers.kubeconfig"),
		"--bind-address=127.0.0.1",
		"--cert-dir=" + c.path("controllers"),
		"--leader-elect=false",
		"--root-ca-file=" + c.path("ca.crt"),
		"--service-account-private-key-file=" + c.path("tokens.key"),
		"--controllers=deployment-controller,replicaset-controller,daemonset-controller,endpointslice-controller," +
			"namespace-controller,serviceaccount-controller,root-ca-certificate-publisher-controller," +
			"garbage-collector-controller,pod-garbage-collector-controller,disruption-controller," +
			"clusterrole-aggregation-controller",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--v=1",
	}
}

func (c *Cluster) nodeFlags(options Options) []string {
	flags := []string{
		"--kubeconfig=" + c.path("node.kubeconfig"),
		"--address=" + nodeAddress,
		"--pods=" + podRange,
		"--load-balancers=" + balancerRange,
		"--dns=" + dnsService,
		"--api-service=" + apiService,
		"--port=" + kubeletPort,
		"--certificate=" + c.path("kubelet.crt"),
		"--key=" + c.path("kubelet.key"),
		"--authority=" + c.path("ca.crt"),
		"--folder=" + filepath.Join(c.logs, "pods"),
		"--keep-logs",
	}
	for repository, program := range images {
		flags = append(flags, "--image="+repository+"="+filepath.Join(c.bin, program))
	}
	for repository, program := range options.Images {
		flags = append(flags, "--image="+repository+"="+program)
	}
	if options.Gateway != "" {
		flags = append(flags, "--image="+gatewayImage+"="+options.Gateway)
	}
	return flags
}

// images are those that the suite's manifests name.
var images = map[string]string{
	"registry.k8s.io/gateway-api/echo-basic": "echo-basic",
	"registry.k8s.io/coredns/coredns":        "coredns",
}

// GatewayUser is who the gateway is for the API server in shape shared.
const GatewayUser = "gateway"

// gatewayImage is the name under which pods run the gateway that is tested.
const gatewayImage = "ghcr.io/gateway-rs/gateway"

// connect waits for the API server.
func (c *Cluster) connect(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	c.rest = config
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	return wait(ctx, readyTime, "the API server", func(ctx context.Context) error {
		if err := c.Check(); err != nil {
			return permanent{err}
		}
		return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// permanent is an error that waiting does not cure.
type permanent struct{ error }

// wait repeats the attempt until it succeeds, or gives its last error.
func wait(ctx context.Context, limit time.Duration, what string, attempt func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	for {
		err := attempt(ctx)
		if err == nil {
			return nil
		}
		if _, final := err.(permanent); final {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s: not ready in %s: %w", what, limit, err)
		}
	}
}
