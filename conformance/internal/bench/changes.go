package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// colours are the Services, with a pod each, between which a backend changes.
var colours = []string{"blue", "green"}

const colouredRoute = "coloured"

// layOutReactions makes what the changes need beside the routes.
func (r *run) layOutReactions(ctx context.Context) error {
	for _, colour := range colours {
		if err := r.create(ctx, deployment(colour, 1)); err != nil {
			return err
		}
		if err := r.create(ctx, service(colour, colour)); err != nil {
			return err
		}
	}
	if err := r.create(ctx, extraRoute(colouredRoute, httpListener, colours[0])); err != nil {
		return err
	}
	for _, colour := range colours {
		if err := until(ctx, colour, func() error { return r.available(ctx, namespace, colour) }); err != nil {
			return err
		}
	}
	if err := r.findPod(ctx); err != nil {
		return err
	}
	return r.untilStatus(ctx, extraTarget(colouredRoute), 200)
}

// extraRoute is one at a hostname of its own.
func extraRoute(name, listener, service string) object {
	match := object{"path": object{"type": "PathPrefix", "value": "/"}}
	return routeOf(name, extraTarget(name).host, listener, rule(match, stamp(name, 0), backend(service, 1)))
}

func extraTarget(name string) target { return target{host: name + ".example.net", path: "/"} }

func (r *run) untilStatus(ctx context.Context, request target, status int) error {
	c := newClient(r.address)
	defer c.close()
	return until(ctx, request.host, func() error {
		got, err := c.ask(request)
		if err == nil && got.status != status {
			err = fmt.Errorf("expected %d, got %d", status, got.status)
		}
		return err
	})
}

// spread over all routes, each k another.
func (r *run) chosen(k int) int { return k * 7919 % r.Routes }

func (r *run) prepareFilter(_ context.Context, k int) (target, func(answer) bool, error) {
	i := r.chosen(k)
	r.versions[i]++
	return targetOf(i), servedBy(stamp(routeName(i), r.versions[i])), nil
}

func (r *run) applyFilter(ctx context.Context, k int) error {
	i := r.chosen(k)
	return r.patch(ctx, "HTTPRoute", routeName(i), httpRoute(i, r.versions[i])["spec"])
}

func (r *run) prepareBackend(_ context.Context, k int) (target, func(answer) bool, error) {
	isNew := func(got answer) bool { return got.status == 200 && strings.HasPrefix(got.pod, colours[(k+1)%2]+"-") }
	return extraTarget(colouredRoute), isNew, nil
}

func (r *run) applyBackend(ctx context.Context, k int) error {
	return r.patch(ctx, "HTTPRoute", colouredRoute, extraRoute(colouredRoute, httpListener, colours[(k+1)%2])["spec"])
}

func newName(k int) string { return fmt.Sprintf("new-%d", k) }

func prepareRoute(_ context.Context, k int) (target, func(answer) bool, error) {
	return extraTarget(newName(k)), servedBy(stamp(newName(k), 0)), nil
}

func (r *run) applyRoute(ctx context.Context, k int) error {
	return r.create(ctx, extraRoute(newName(k), httpListener, serviceOf(k)))
}

// prepareRemoval takes the routes that the change before has made.
func (r *run) prepareRemoval(_ context.Context, k int) (target, func(answer) bool, error) {
	return extraTarget(newName(k)), func(got answer) bool { return got.status == 404 }, nil
}

func (r *run) applyRemoval(ctx context.Context, k int) error {
	return r.remove(ctx, "HTTPRoute", newName(k))
}

// prepareListener makes the route that waits for its listener.
func (r *run) prepareListener(ctx context.Context, k int) (target, func(answer) bool, error) {
	name := fmt.Sprintf("listener-%d", k)
	if err := r.create(ctx, extraRoute(name, name, serviceOf(k))); err != nil {
		return target{}, nil, err
	}
	return extraTarget(name), servedBy(stamp(name, 0)), nil
}

// applyListener takes the listener of the change before away.
func (r *run) applyListener(ctx context.Context, k int) error {
	name := fmt.Sprintf("listener-%d", k)
	listeners := []any{listener(httpListener, ""), listener(name, extraTarget(name).host)}
	return r.patch(ctx, "Gateway", gatewayName, object{"listeners": listeners})
}

// prepareService makes the route whose Service is missing.
func (r *run) prepareService(ctx context.Context, k int) (target, func(answer) bool, error) {
	name := fmt.Sprintf("service-%d", k)
	if err := r.create(ctx, extraRoute(name, httpListener, name)); err != nil {
		return target{}, nil, err
	}
	return extraTarget(name), servedBy(stamp(name, 0)), r.untilStatus(ctx, extraTarget(name), 500)
}

func (r *run) applyService(ctx context.Context, k int) error {
	name := fmt.Sprintf("service-%d", k)
	if err := r.create(ctx, service(name, "")); err != nil {
		return err
	}
	return r.create(ctx, slice(name, r.pod))
}

// findPod remembers the address of one backend, for EndpointSlices made by hand.
func (r *run) findPod(ctx context.Context) error {
	pods, err := r.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + backendApp})
	if err != nil {
		return err
	}
	for _, one := range pods.Items {
		if one.DeletionTimestamp == nil && one.Status.PodIP != "" {
			r.pod = one.Status.PodIP
			return nil
		}
	}
	return errors.New("no backend runs")
}
