// Package harness runs the official conformance suite against the gateway.
//
// In: the programs that were built, and what to run. Out: a cluster on this
// machine (or one that exists already) with the Gateway API installed and the
// gateway running, the suite's results, and a report in the official format.
// Not here: building (the script `run`), pods (internal/node).
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	className      = "gateway"
	controllerName = "gateway-rs.github.io/gateway"
	classTime      = time.Minute
)

// Options says what to run.
type Options struct {
	// Bin is the folder of the programs, Module that of the Gateway API's
	// module, Logs where all output goes, Reports where complete reports go.
	Bin, Module, Logs, Reports string
	// Gateway is the program that is tested.
	Gateway string
	// GatewayArguments are added to its command line.
	GatewayArguments []string
	// Version is what the report says of the gateway.
	Version string
	// Kubeconfig names a cluster that exists, on which the gateway runs already.
	Kubeconfig string
	Channel    string
	Shape      Shape
	// Profiles are those to run, Test the only test to run, if not all.
	Profiles []string
	Test     string
	// AllFeatures claims every feature, whatever the GatewayClass says.
	AllFeatures bool
	// Keep leaves the cluster running after the run, until it is interrupted.
	Keep bool
	// SelfTest tests the cluster, without a gateway.
	SelfTest bool
	// Images are programs that pods run, by the names of images, beside the suite's.
	Images map[string]string
	// APIServerArguments are added to the API server's command line.
	APIServerArguments []string
	// UsableAddress and UnusableAddress are for a cluster that exists.
	UsableAddress, UnusableAddress string
}

// Shape is how the gateway is deployed.
type Shape string

const (
	// Shared is one data plane for all Gateways, each on an address of a pool.
	Shared Shape = "shared"
	// Balanced is one data plane of several pods for all Gateways, each behind a Service of its own.
	Balanced Shape = "balanced"
	// Dedicated is a data plane of its own for each Gateway, made by the controller.
	Dedicated Shape = "dedicated"
)

// Run does what the options say. The error tells what failed, if anything.
func Run(ctx context.Context, options Options) error {
	if err := os.MkdirAll(options.Logs, 0o755); err != nil {
		return err
	}
	begun := time.Now()
	step := func(text string) { fmt.Printf("%6.1fs  %s\n", time.Since(begun).Seconds(), text) }
	if options.Kubeconfig != "" {
		step("testing the cluster of " + options.Kubeconfig)
		return runSuite(ctx, options, options.Kubeconfig, step)
	}
	if err := ownNetwork(); err != nil {
		return err
	}
	local, err := startCluster(ctx, options)
	if err != nil {
		return err
	}
	defer local.Stop()
	step("the API server is ready")
	if options.Keep {
		defer keep(ctx, local)
	}
	if options.SelfTest {
		return runSelfTest(ctx, options, local)
	}
	if err := prepare(ctx, options, local, step); err != nil {
		return errors.Join(err, local.Check())
	}
	err = runSuite(ctx, options, local.kubeconfig, step)
	return errors.Join(err, local.Check())
}

// prepare installs the Gateway API and starts the gateway.
func prepare(ctx context.Context, options Options, local *Cluster, step func(string)) error {
	applier, err := NewApplier(local.rest)
	if err != nil {
		return err
	}
	if err := applier.ApplyBundle(ctx, options.Module, options.Channel); err != nil {
		return err
	}
	step("the Gateway API is installed, channel " + options.Channel)
	switch options.Shape {
	case Shared:
		err = local.runGateway(ctx, options, applier)
	case Balanced, Dedicated:
		err = local.installGateway(ctx, options, applier)
	}
	if err != nil {
		return err
	}
	step("the gateway runs, shape " + string(options.Shape))
	return nil
}

// runGateway starts the gateway as a process of the node, as on a machine whose
// addresses it owns.
func (c *Cluster) runGateway(ctx context.Context, options Options, applier *Applier) error {
	class := fmt.Sprintf(`{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: %s}, spec: {controllerName: %s}}`, className, controllerName)
	if err := applier.Apply(ctx, []byte(class)); err != nil {
		return err
	}
	return c.AddReplica(options, "gateway")
}

// AddReplica starts one more process of the gateway in shape shared; they share
// the sockets.
func (c *Cluster) AddReplica(options Options, name string, more ...string) error {
	arguments := []string{"run", "--kubernetes", "--kubeconfig", c.path("gateway.kubeconfig"), "--controller-name", controllerName, "--address-pool", gatewayRange}
	part, err := start(c.logs, name, options.Gateway, append(append(arguments, options.GatewayArguments...), more...)...)
	if err != nil {
		return err
	}
	c.parts = append(c.parts, part)
	return nil
}

// installGateway applies the manifests that the gateway prints for its own
// installation, with all rights, users and policies that they name, and waits
// for the controller's pods. The GatewayClass is among them.
func (c *Cluster) installGateway(ctx context.Context, options Options, applier *Applier) error {
	arguments := []string{"install", "--shape", string(options.Shape)}
	if options.Shape == Balanced {
		arguments = []string{"install", "--service-type", "LoadBalancer"}
	}
	arguments = append(arguments, options.GatewayArguments...)
	manifests, err := exec.CommandContext(ctx, options.Gateway, arguments...).Output()
	if err != nil {
		return fmt.Errorf("gateway %s: %w", strings.Join(arguments, " "), err)
	}
	if err := os.WriteFile(filepath.Join(c.logs, "install.yaml"), manifests, 0o644); err != nil {
		return err
	}
	if err := applier.Apply(ctx, manifests); err != nil {
		return err
	}
	return wait(ctx, readyTime, "the gateway's controller", func(ctx context.Context) error {
		deployments, err := c.client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, one := range deployments.Items {
			if one.Status.AvailableReplicas < *one.Spec.Replicas {
				return fmt.Errorf("Deployment %s/%s: %d of %d pods are available", one.Namespace, one.Name, one.Status.AvailableReplicas, *one.Spec.Replicas)
			}
		}
		if len(deployments.Items) == 0 {
			return permanent{errors.New("there is no Deployment among the gateway's manifests")}
		}
		return nil
	})
}

// keep holds the cluster until it is interrupted.
func keep(ctx context.Context, local *Cluster) {
	if ctx.Err() != nil {
		return
	}
	fmt.Printf("\nThe cluster keeps running. Ctrl-C ends it. To reach it from another shell:\n"+
		"  nsenter --net --mount --target $(cat %s) kubectl --kubeconfig %s get pods -A\n", filepath.Join(local.logs, "pid"), local.kubeconfig)
	<-ctx.Done()
}

// list joins names as flags take them.
func list(names []string) string { return strings.Join(names, ",") }
