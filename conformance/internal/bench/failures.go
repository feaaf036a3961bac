package bench

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gateway-rs/gateway/conformance/internal/harness"
)

const (
	// system is the namespace of the controller in shape dedicated, and its Deployment's name.
	system, controller = "gateway-system", "gateway"
	// quiet is how long requests are sent before and after a failure.
	quiet = 5 * time.Second
	// changePause is between two changes of routes under load.
	changePause = 10 * time.Millisecond
	// secondAdmin is where the second replica of shape shared says that it is ready.
	secondAdmin = "127.0.0.1:9902"
)

// failure is something that happens while requests are sent.
type failure struct {
	what string
	// wanted says whether no request may fail.
	wanted bool
	happen func(context.Context) error
}

// failures lets one after the other happen under load and counts failed
// requests. After each, a change has to be served and written of, as before.
func (r *run) failures(ctx context.Context) error {
	r.step(fmt.Sprintf("failures under %d requests a second over %d connections", r.Rate, r.Connections))
	load := r.startLoad()
	defer load.stop()
	time.Sleep(quiet)
	load.next()
	for _, one := range r.allFailures() {
		begun := time.Now()
		if err := one.happen(ctx); err != nil {
			return fmt.Errorf("%s: %w", one.what, err)
		}
		took := time.Since(begun)
		if err := r.proveAlive(ctx); err != nil {
			return fmt.Errorf("after %s: %w", one.what, err)
		}
		alive := time.Since(begun) - took
		time.Sleep(quiet)
		r.tellFelt(one, load.next(), took, alive)
	}
	return nil
}

func (r *run) allFailures() []failure {
	all := []failure{
		{"nothing", true, func(context.Context) error { time.Sleep(quiet); return nil }},
		{fmt.Sprintf("%d route changes", r.RouteChanges), true, r.changeRoutes},
		{fmt.Sprintf("%d roll-overs of the backends", r.Rollovers), true, r.rollOver},
	}
	if r.Harness.Shape == harness.Dedicated {
		all = append(all,
			failure{"controller restart", true, r.restartController},
			failure{"leader killed", true, r.killLeader})
	} else {
		all = append(all, failure{"leader replaced by another replica", true, r.replaceReplica})
	}
	return append(all,
		failure{"API server restart", true, func(context.Context) error { return r.cluster.Restart(harness.APIServer) }},
		failure{"etcd restart", true, func(context.Context) error { return r.cluster.Restart(harness.Etcd) }},
		failure{fmt.Sprintf("%d backends killed without notice", r.Abrupt), false, r.killBackends})
}

func (r *run) tellFelt(one failure, felt *felt, took, alive time.Duration) {
	failed := felt.failures()
	figure := fmt.Sprintf("%d of %d failed, %s; took %s, next change served and written after %s", failed, len(felt.times), felt.times, shown(took), shown(alive))
	if failed > 0 {
		figure += "; " + felt.causes()
	}
	values := felt.times.values()
	values["failed"], values["retries"], values["took"], values["alive"] = float64(failed), float64(felt.retries), milliseconds(took), milliseconds(alive)
	if one.wanted {
		r.figures.judge("failures", one.what, figure, "0 failed", failed == 0, values)
	} else {
		r.figures.note("failures", one.what, figure, values)
	}
}

// proveAlive changes a route and waits until that is served and written of.
func (r *run) proveAlive(ctx context.Context) error {
	request, isNew, err := r.prepareFilter(ctx, 0)
	if err != nil {
		return err
	}
	if err := until(ctx, "a change", func() error { return r.applyFilter(ctx, 0) }); err != nil {
		return err
	}
	c := newClient(r.address)
	defer c.close()
	err = until(ctx, "the changed rule", func() error {
		got, err := c.ask(request)
		if err == nil && !isNew(got) {
			err = fmt.Errorf("the answer is still %+v", got)
		}
		return err
	})
	if err != nil {
		return err
	}
	return until(ctx, "its status", func() error { return r.written(ctx, routeName(r.chosen(0))) })
}

func (r *run) changeRoutes(ctx context.Context) error {
	for k := range r.RouteChanges {
		if _, _, err := r.prepareFilter(ctx, k); err != nil {
			return err
		}
		if err := r.applyFilter(ctx, k); err != nil {
			return err
		}
		time.Sleep(changePause)
	}
	return nil
}

func (r *run) rollOver(ctx context.Context) error {
	for range r.Rollovers {
		if err := r.restartPods(ctx, namespace, backendApp); err != nil {
			return err
		}
	}
	return nil
}

// restartPods replaces all pods of a Deployment as `kubectl rollout restart` does, and waits.
func (r *run) restartPods(ctx context.Context, namespace, name string) error {
	change := fmt.Sprintf(`{"spec": {"template": {"metadata": {"annotations": {"restarted": %q}}}}}`, time.Now().Format(time.RFC3339Nano))
	deployments := r.client.AppsV1().Deployments(namespace)
	if _, err := deployments.Patch(ctx, name, types.MergePatchType, []byte(change), metav1.PatchOptions{}); err != nil {
		return err
	}
	return until(ctx, "new pods", func() error { return r.available(ctx, namespace, name) })
}

func (r *run) killBackends(ctx context.Context) error {
	for range r.Abrupt {
		pods, err := r.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + backendApp})
		if err != nil {
			return err
		}
		if len(pods.Items) == 0 {
			return fmt.Errorf("no backend runs")
		}
		if err := r.killPod(ctx, namespace, pods.Items[0].Name, backendApp); err != nil {
			return err
		}
	}
	return nil
}

// killPod ends a pod at once and waits for the one in its place.
func (r *run) killPod(ctx context.Context, namespace, name, deployment string) error {
	at := int64(0)
	err := r.client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &at})
	if err != nil {
		return err
	}
	return until(ctx, "a new pod", func() error {
		pods, err := r.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, one := range pods.Items {
			if one.Name == name {
				return fmt.Errorf("Pod %s still exists", name)
			}
		}
		return r.available(ctx, namespace, deployment)
	})
}

func (r *run) restartController(ctx context.Context) error {
	return r.restartPods(ctx, system, controller)
}

// killLeader ends the pod that holds the lease, without notice.
func (r *run) killLeader(ctx context.Context) error {
	var name string
	// After a restart the lease may be nobody's for a moment.
	err := until(ctx, "a leader", func() (err error) {
		name, err = r.leader(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return r.killPod(ctx, system, name, controller)
}

// leader is the pod of the controller that holds the lease and is not about to end.
func (r *run) leader(ctx context.Context) (string, error) {
	leases, err := r.client.CoordinationV1().Leases(system).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	pods, err := r.client.CoreV1().Pods(system).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	for _, lease := range leases.Items {
		for _, pod := range pods.Items {
			holder := lease.Spec.HolderIdentity
			if holder != nil && strings.HasPrefix(*holder, pod.Name+"_") && pod.DeletionTimestamp == nil {
				return pod.Name, nil
			}
		}
	}
	return "", fmt.Errorf("no pod of %s holds a lease", system)
}

// replaceReplica starts a second replica, and ends the first as soon as it is ready.
func (r *run) replaceReplica(ctx context.Context) error {
	if err := r.cluster.AddReplica(r.Harness, "gateway-2", "--admin", secondAdmin); err != nil {
		return err
	}
	err := until(ctx, "the second replica", func() error {
		answer, err := http.Get("http://" + secondAdmin + "/readyz")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("it is not ready: %s", answer.Status)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.cluster.Halt("gateway", syscall.SIGTERM)
}
