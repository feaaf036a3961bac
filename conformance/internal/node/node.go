// Package node is a Kubernetes node whose containers are plain processes.
//
// In: the API server's pods, Services and EndpointSlices, and a table of images.
// Out: pods bound to the node and run (each with its own network namespace, its
// own view of the files, its volumes, environment, probes, restarts, log and
// exec), their status, and the addresses of Services served.
// Not here: images from a registry, limits of processor and memory, storage
// other than Secrets, ConfigMaps, tokens and folders, eviction, several nodes.
package node

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"runtime"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Config says what the node is and what it may use.
type Config struct {
	// Name is the Node's name in the API.
	Name string
	// Address is the node's own, on the bridge; it is the pods' router.
	Address netip.Addr
	// Pods is the range that pods get their addresses from.
	Pods netip.Prefix
	// LoadBalancers is the range for Services of type LoadBalancer.
	LoadBalancers netip.Prefix
	// APIServiceAddress is the API server's address as pods see it.
	APIServiceAddress string
	// DNSAddress is where the names of Services are answered.
	DNSAddress netip.Addr
	// Port is where pods/log and pods/exec are served.
	Port uint16
	// Certificate, Key and Authority are files: the node proves itself with the
	// first two and believes clients that the third has signed.
	Certificate, Key, Authority string
	Images                      Images
	// Folder holds the pods' files and logs.
	Folder string
	// KeepLogs leaves the logs of deleted pods in place.
	KeepLogs bool
}

// Node runs the pods of one machine.
type Node struct {
	config    Config
	client    kubernetes.Interface
	addresses *addresses

	mutex sync.Mutex
	pods  map[types.UID]*pod
}

// New makes a node; Run starts it.
func New(config Config, client kubernetes.Interface) *Node {
	return &Node{config: config, client: client, addresses: newAddresses(config.Pods), pods: map[types.UID]*pod{}}
}

// Run registers the node and works until the context ends.
func (n *Node) Run(ctx context.Context) error {
	if err := os.MkdirAll(n.config.Folder, 0o755); err != nil {
		return err
	}
	if err := n.serveKubelet(); err != nil {
		return err
	}
	if err := n.register(ctx); err != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	factory := informers.NewSharedInformerFactory(n.client, 0)
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(n.podHandler()); err != nil {
		return err
	}
	services := newServices(n.config, n.client, factory)
	if err := services.watch(); err != nil {
		return err
	}
	if err := services.serveNames(); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("list %s: %w", kind, ctx.Err())
		}
	}
	services.run(ctx)
	return nil
}

func (n *Node) register(ctx context.Context) error {
	object := n.object()
	nodes := n.client.CoreV1().Nodes()
	made, err := nodes.Create(ctx, object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = nodes.Get(ctx, object.Name, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	made.Status = object.Status
	_, err = nodes.UpdateStatus(ctx, made, metav1.UpdateOptions{})
	return err
}

func (n *Node) object() *corev1.Node {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		corev1.ResourceMemory: resource.MustParse("8Gi"),
		corev1.ResourcePods:   resource.MustParse("1000"),
	}
	now := metav1.Now()
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.config.Name, Labels: map[string]string{
			corev1.LabelHostname:   n.config.Name,
			corev1.LabelOSStable:   runtime.GOOS,
			corev1.LabelArchStable: runtime.GOARCH,
		}},
		Spec: corev1.NodeSpec{PodCIDR: n.config.Pods.String(), PodCIDRs: []string{n.config.Pods.String()}},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: capacity,
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Serving",
				LastHeartbeatTime: now, LastTransitionTime: now,
			}},
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: n.config.Address.String()},
				{Type: corev1.NodeHostName, Address: n.config.Name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(n.config.Port)}},
			NodeInfo:        corev1.NodeSystemInfo{OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH, ContainerRuntimeVersion: "process://1"},
		},
	}
}

func (n *Node) podHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.observe(object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { n.observe(object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if gone, is := object.(cache.DeletedFinalStateUnknown); is {
				object = gone.Obj
			}
			n.forget(object.(*corev1.Pod))
		},
	}
}

// observe binds a pod that has no node, and runs one that is bound here.
func (n *Node) observe(object *corev1.Pod) {
	switch object.Spec.NodeName {
	case "":
		if object.DeletionTimestamp == nil && len(object.Spec.SchedulingGates) == 0 {
			go n.bind(object)
		}
	case n.config.Name:
		n.follow(object)
	}
}

func (n *Node) bind(object *corev1.Pod) {
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name, UID: object.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: n.config.Name},
	}
	err := n.client.CoreV1().Pods(object.Namespace).Bind(context.Background(), binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		logf("%s/%s: bind: %v", object.Namespace, object.Name, err)
	}
}

func (n *Node) follow(object *corev1.Pod) {
	n.mutex.Lock()
	p, known := n.pods[object.UID]
	if !known {
		if object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed {
			n.mutex.Unlock()
			return
		}
		p = newPod(n, object)
		// The pod outlives this node's watch: it ends by its own deletion.
		ctx, stop := context.WithCancel(context.Background())
		p.stop = stop
		n.pods[object.UID] = p
		go func() {
			p.run(ctx)
			n.mutex.Lock()
			delete(n.pods, object.UID)
			n.mutex.Unlock()
		}()
	}
	n.mutex.Unlock()
	p.observe(object)
}

func (n *Node) forget(object *corev1.Pod) {
	n.mutex.Lock()
	p := n.pods[object.UID]
	n.mutex.Unlock()
	if p != nil {
		p.force()
	}
}

// find is the container by names, as the kubelet's paths give them.
func (n *Node) find(namespace, name, containerName string) (*container, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, p := range n.pods {
		if p.namespace != namespace || p.name != name {
			continue
		}
		for _, one := range append(append([]*container(nil), p.containers...), p.inits...) {
			if one.spec.Name == containerName {
				return one, nil
			}
		}
		return nil, fmt.Errorf("pod %s/%s has no container %q", namespace, name, containerName)
	}
	return nil, fmt.Errorf("pod %s/%s does not run on node %s", namespace, name, n.config.Name)
}

func logf(format string, values ...any) {
	log.Printf(format, values...)
}
