package node

import (
	"context"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/kubernetes/pkg/probe"
	probegrpc "k8s.io/kubernetes/pkg/probe/grpc"
	probehttp "k8s.io/kubernetes/pkg/probe/http"
	probetcp "k8s.io/kubernetes/pkg/probe/tcp"
)

// impatience is how often a container that is not ready yet is asked whether it
// is. A kubelet, too, probes before the period is over when something changed.
const impatience = 200 * time.Millisecond

// watchProbes runs the container's probes until the context ends. A start-up
// probe comes before the others. Without a readiness probe a started container
// is ready.
func (c *container) watchProbes(ctx context.Context) {
	if c.spec.StartupProbe != nil {
		passed := false
		c.probe(ctx, c.spec.StartupProbe, func(success bool) bool {
			passed = success
			return false
		})
		if !passed {
			if ctx.Err() == nil {
				c.kill("the start-up probe failed")
			}
			return
		}
	}
	c.update(func(state *containerState) {
		state.started = true
		state.ready = c.spec.ReadinessProbe == nil
	})
	if c.spec.LivenessProbe != nil {
		go c.probe(ctx, c.spec.LivenessProbe, func(success bool) bool {
			if !success && ctx.Err() == nil {
				c.kill("the liveness probe failed")
			}
			return success
		})
	}
	if c.spec.ReadinessProbe != nil {
		c.probe(ctx, c.spec.ReadinessProbe, func(success bool) bool {
			c.update(func(state *containerState) { state.ready = success })
			return true
		})
	}
}

// probe reports each time a threshold is reached, until told to stop.
func (c *container) probe(ctx context.Context, spec *corev1.Probe, report func(success bool) (goOn bool)) {
	if !pause(ctx, time.Duration(spec.InitialDelaySeconds)*time.Second) {
		return
	}
	successes, failures := int32(0), int32(0)
	for {
		if c.probeOnce(ctx, spec) == nil {
			successes, failures = successes+1, 0
		} else {
			successes, failures = 0, failures+1
		}
		if ctx.Err() != nil {
			return
		}
		if successes == max(spec.SuccessThreshold, 1) && !report(true) {
			return
		}
		if failures == max(spec.FailureThreshold, 1) && !report(false) {
			return
		}
		period := time.Duration(max(spec.PeriodSeconds, 1)) * time.Second
		if spec == c.spec.ReadinessProbe && !c.snapshot().ready {
			period = min(period, impatience)
		}
		if !pause(ctx, period) {
			return
		}
	}
}

func (c *container) probeOnce(ctx context.Context, spec *corev1.Probe) error {
	timeout := time.Duration(max(spec.TimeoutSeconds, 1)) * time.Second
	host := c.pod.address.String()
	var result probe.Result
	var output string
	var err error
	switch {
	case spec.HTTPGet != nil:
		request, wrong := probehttp.NewRequestForHTTPGetAction(spec.HTTPGet, &c.spec, host, "probe")
		if wrong != nil {
			return wrong
		}
		result, output, err = probehttp.New(false).Probe(request, timeout)
	case spec.TCPSocket != nil:
		port, wrong := c.portNumber(spec.TCPSocket.Port)
		if wrong != nil {
			return wrong
		}
		result, output, err = probetcp.New().Probe(host, port, timeout)
	case spec.GRPC != nil:
		service := ""
		if spec.GRPC.Service != nil {
			service = *spec.GRPC.Service
		}
		result, output, err = probegrpc.New().Probe(host, service, int(spec.GRPC.Port), timeout)
	case spec.Exec != nil:
		ctx, stop := context.WithTimeout(ctx, timeout)
		defer stop()
		return c.exec(ctx, spec.Exec.Command, nil, io.Discard, io.Discard)
	default:
		return fmt.Errorf("probe: expected httpGet, tcpSocket, grpc or exec")
	}
	if err == nil && result != probe.Success && result != probe.Warning {
		err = fmt.Errorf("probe: %s: %s", result, output)
	}
	return err
}

func (c *container) portNumber(port intstr.IntOrString) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, one := range c.spec.Ports {
		if one.Name == port.StrVal {
			return int(one.ContainerPort), nil
		}
	}
	return 0, fmt.Errorf("container %s has no port named %q", c.spec.Name, port.StrVal)
}

// pause is false if the context ended first.
func pause(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
