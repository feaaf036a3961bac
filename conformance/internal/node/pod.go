package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is one pod of the node, from its binding to its end.
type pod struct {
	node            *Node
	namespace, name string
	uid             types.UID
	bound           metav1.Time
	folder          string
	address         netip.Addr
	sandbox         sandbox
	inits           []*container
	containers      []*container
	tokens          map[string]boundToken
	stop            context.CancelFunc
	// changed wakes the publisher of the status.
	changed chan struct{}
	// forced is closed when the pod is gone from the API: no more grace.
	forced   chan struct{}
	forceOne sync.Once

	mutex  sync.Mutex
	object *corev1.Pod
	failed error
}

func newPod(node *Node, object *corev1.Pod) *pod {
	p := &pod{
		node:      node,
		namespace: object.Namespace,
		name:      object.Name,
		uid:       object.UID,
		bound:     metav1.NewTime(time.Now().Truncate(time.Second)),
		folder:    filepath.Join(node.config.Folder, fmt.Sprintf("%s_%s_%s", object.Namespace, object.Name, object.UID)),
		tokens:    map[string]boundToken{},
		changed:   make(chan struct{}, 1),
		forced:    make(chan struct{}),
		object:    object,
	}
	for _, spec := range object.Spec.InitContainers {
		p.inits = append(p.inits, newContainer(p, spec))
	}
	for _, spec := range object.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, spec))
	}
	return p
}

func (p *pod) current() *corev1.Pod {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.object
}

// observe takes the newest object; one that is being deleted stops the pod.
func (p *pod) observe(object *corev1.Pod) {
	p.mutex.Lock()
	p.object = object
	p.mutex.Unlock()
	if object.DeletionTimestamp != nil {
		p.stop()
	}
}

// force stops the pod at once: its object is gone.
func (p *pod) force() {
	p.forceOne.Do(func() { close(p.forced) })
	p.stop()
}

func (p *pod) touch() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *pod) gracePeriod() time.Duration {
	select {
	case <-p.forced:
		return 0
	default:
	}
	object := p.current()
	switch {
	case object.DeletionGracePeriodSeconds != nil:
		return time.Duration(*object.DeletionGracePeriodSeconds) * time.Second
	case object.Spec.TerminationGracePeriodSeconds != nil:
		return time.Duration(*object.Spec.TerminationGracePeriodSeconds) * time.Second
	default:
		return 30 * time.Second
	}
}

// run is the pod's life. It ends when the object is deleted.
func (p *pod) run(ctx context.Context) {
	publishing, stopPublishing := context.WithCancel(context.Background())
	var published sync.WaitGroup
	published.Go(func() { p.publish(publishing) })
	p.work(ctx)
	<-ctx.Done()
	stopPublishing()
	published.Wait()
	p.clear()
	p.confirmDeletion()
}

func (p *pod) work(ctx context.Context) {
	if !p.retry(ctx, p.enter) || !p.retry(ctx, p.layVolumes) {
		return
	}
	go p.refreshVolumes(ctx)
	policy := p.current().Spec.RestartPolicy
	for _, one := range p.inits {
		initPolicy := corev1.RestartPolicyOnFailure
		if policy == corev1.RestartPolicyNever {
			initPolicy = policy
		}
		one.supervise(ctx, initPolicy)
		if !one.snapshot().succeeded() {
			return
		}
	}
	var running sync.WaitGroup
	for _, one := range p.containers {
		running.Go(func() { one.supervise(ctx, policy) })
	}
	running.Wait()
}

// retry repeats a step that waits for something in the cluster. False: the pod
// is to end.
func (p *pod) retry(ctx context.Context, step func(context.Context) error) bool {
	for {
		err := step(ctx)
		p.mutex.Lock()
		news := fmt.Sprint(p.failed) != fmt.Sprint(err)
		p.failed = err
		p.mutex.Unlock()
		p.touch()
		if err == nil {
			return true
		}
		if ctx.Err() == nil && news {
			logf("%s/%s: %v", p.namespace, p.name, err)
		}
		if !pause(ctx, retryDelay) {
			return false
		}
	}
}

// enter gives the pod its folder and its place in the network.
func (p *pod) enter(context.Context) error {
	if err := os.MkdirAll(p.folder, 0o755); err != nil {
		return err
	}
	if p.current().Spec.HostNetwork {
		p.place(p.node.config.Address, sandbox{})
		return nil
	}
	address, err := p.node.addresses.take()
	if err != nil {
		return err
	}
	made, err := newSandbox(address, p.node.config.Pods, p.node.config.Address)
	if err != nil {
		p.node.addresses.release(address)
		return err
	}
	p.place(address, made)
	return nil
}

func (p *pod) place(address netip.Addr, in sandbox) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.address, p.sandbox = address, in
}

func (p *pod) refreshVolumes(ctx context.Context) {
	for pause(ctx, volumeRefresh) {
		if err := p.layVolumes(ctx); err != nil && ctx.Err() == nil {
			logf("%s/%s: %v", p.namespace, p.name, err)
		}
	}
}

func (p *pod) clear() {
	if p.sandbox.name != "" {
		p.sandbox.remove()
		p.node.addresses.release(p.address)
	}
	if p.node.config.KeepLogs {
		_ = os.RemoveAll(filepath.Join(p.folder, "volumes"))
		return
	}
	if err := os.RemoveAll(p.folder); err != nil {
		logf("remove %s: %v", p.folder, err)
	}
}

// confirmDeletion tells the API server that nothing of the pod runs any more.
func (p *pod) confirmDeletion() {
	zero := int64(0)
	options := metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &p.uid}}
	for {
		select {
		case <-p.forced:
			return
		default:
		}
		err := p.node.client.CoreV1().Pods(p.namespace).Delete(context.Background(), p.name, options)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		logf("%s/%s: confirm deletion: %v", p.namespace, p.name, err)
		time.Sleep(retryDelay)
	}
}

// publish writes the status whenever it has changed.
func (p *pod) publish(ctx context.Context) {
	var last *corev1.PodStatus
	for {
		status := p.status(last)
		if last == nil || !equality.Semantic.DeepEqual(*last, status) {
			if err := p.write(ctx, status); err == nil || apierrors.IsNotFound(err) {
				last = &status
			} else if ctx.Err() == nil {
				logf("%s/%s: write status: %v", p.namespace, p.name, err)
				if pause(ctx, retryDelay) {
					continue
				}
			}
		}
		select {
		case <-p.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (p *pod) write(ctx context.Context, status corev1.PodStatus) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.uid}, "status": status})
	if err != nil {
		return err
	}
	_, err = p.node.client.CoreV1().Pods(p.namespace).Patch(ctx, p.name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func (p *pod) hostname() string {
	if name := p.current().Spec.Hostname; name != "" {
		return name
	}
	// A host name has at most 63 characters.
	return strings.TrimRight(p.name[:min(len(p.name), 63)], "-.")
}

// files are the ones that a container runtime makes by itself.
func (p *pod) files() map[string]string {
	return map[string]string{
		"/etc/hostname":      p.hostname() + "\n",
		"/etc/hosts":         fmt.Sprintf("127.0.0.1 localhost\n::1 localhost\n%s %s\n", p.address, p.hostname()),
		"/etc/nsswitch.conf": "hosts: files dns\n",
		"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/:/bin/sh\n",
		"/etc/group":         "root:x:0:\nnonroot:x:65532:\n",
		"/etc/resolv.conf": fmt.Sprintf("nameserver %s\nsearch %s.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
			p.node.config.DNSAddress, p.namespace),
	}
}
