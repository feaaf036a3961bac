package node

import (
	"context"
	"io"
	"os"
	"syscall"
	"time"
)

// endWith ends the process when the context ends, after its preStop hook.
func (c *container) endWith(ctx context.Context, process *os.Process, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), c.pod.gracePeriod())
	defer cancel()
	c.beforeStop(grace)
	// The process may be gone already.
	_ = process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-grace.Done():
		_ = process.Kill()
	case <-c.pod.forced:
		_ = process.Kill()
	}
}

func (c *container) beforeStop(ctx context.Context) {
	if c.spec.Lifecycle == nil || c.spec.Lifecycle.PreStop == nil {
		return
	}
	switch hook := c.spec.Lifecycle.PreStop; {
	case hook.Sleep != nil:
		pause(ctx, time.Duration(hook.Sleep.Seconds)*time.Second)
	case hook.Exec != nil:
		if err := c.exec(ctx, hook.Exec.Command, nil, io.Discard, io.Discard); err != nil {
			logf("%s/%s: preStop of %s: %v", c.pod.namespace, c.pod.name, c.spec.Name, err)
		}
	default:
		logf("%s/%s: preStop of %s: expected sleep or exec", c.pod.namespace, c.pod.name, c.spec.Name)
	}
}

// kill ends the program, to be started anew if the pod's policy says so.
func (c *container) kill(why string) {
	logf("%s/%s: container %s: killed: %s", c.pod.namespace, c.pod.name, c.spec.Name, why)
	c.update(func(state *containerState) { state.message = why })
	if pid := c.snapshot().pid; pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
