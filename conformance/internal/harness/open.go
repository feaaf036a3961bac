package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"k8s.io/client-go/rest"
)

// Names of the cluster's parts, each a process of its own.
const (
	Etcd      = "etcd"
	APIServer = "apiserver"
)

// ClassName is the GatewayClass of the gateway.
const ClassName = className

// Open starts a cluster with the gateway on it, for others than the suite. The
// caller stops it.
func Open(ctx context.Context, options Options, step func(string)) (*Cluster, error) {
	if err := ownNetwork(); err != nil {
		return nil, err
	}
	local, err := startCluster(ctx, options)
	if err != nil {
		return nil, err
	}
	step("the API server is ready")
	if err := prepare(ctx, options, local, step); err != nil {
		err = errors.Join(err, local.Check())
		local.Stop()
		return nil, err
	}
	return local, nil
}

// Rest is how the administrator reaches the API server.
func (c *Cluster) Rest() *rest.Config { return rest.CopyConfig(c.rest) }

// Halt ends one part: with SIGTERM in its own time, with SIGKILL at once.
func (c *Cluster) Halt(name string, how syscall.Signal) error {
	part, err := c.part(name)
	if err != nil {
		return err
	}
	if err := part.command.Process.Signal(how); err != nil {
		return err
	}
	<-part.ended
	c.parts = slices.DeleteFunc(c.parts, func(other *process) bool { return other == part })
	return nil
}

// Restart ends one part as a machine that is shut down does, and starts it as before.
func (c *Cluster) Restart(name string) error {
	part, err := c.part(name)
	if err != nil {
		return err
	}
	part.stop()
	again, err := start(c.logs, name, part.command.Path, part.command.Args[1:]...)
	if err != nil {
		return err
	}
	c.parts[slices.Index(c.parts, part)] = again
	return nil
}

func (c *Cluster) part(name string) (*process, error) {
	for _, part := range c.parts {
		if part.name == name {
			return part, nil
		}
	}
	return nil, fmt.Errorf("no part of the cluster is called %q", name)
}
