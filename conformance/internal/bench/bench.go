// Package bench measures the gateway in the local cluster: how it takes many
// routes, how soon it serves a change, and what requests feel of failures.
//
// In: the programs that were built, sizes, the parts to run. Out: a table of
// figures, shown and saved. An error means that something was served or written
// wrongly; a target that is missed is only said.
// Not here: the cluster itself (internal/harness), building (benches/kube/run).
package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gateway-rs/gateway/conformance/internal/harness"
)

// Parts are what can be measured, in the order in which it is.
var Parts = []string{"scale", "reaction", "failures"}

// Options says what to measure.
type Options struct {
	Harness harness.Options
	// Parts are the ones to run.
	Parts []string
	// Routes is how many HTTPRoutes there are, Appliers how many clients apply them at a time.
	Routes, Appliers int
	// Changes is how many changes of each kind have their reaction measured.
	Changes int
	// Rate is of the requests during failures, per second, over that many Connections.
	Rate, Connections int
	// RouteChanges and Rollovers are how many happen under load, Abrupt how many pods are killed.
	RouteChanges, Rollovers, Abrupt int
	// Results is the folder for the figures.
	Results string
}

// run is a measurement on its way.
type run struct {
	Options
	*api
	cluster *harness.Cluster
	audit   audit
	figures *figures
	// address is where the Gateway is served.
	address string
	// pod is the address of a backend, for EndpointSlices made by hand.
	pod string
	// versions are those of the routes, as they were applied last.
	versions []int
	step     func(string)
}

// Run measures what the options say.
func Run(ctx context.Context, options Options) error {
	begun := time.Now()
	step := func(text string) { fmt.Printf("%6.1fs  %s\n", time.Since(begun).Seconds(), text) }
	logs := options.Harness.Logs
	policy, log := filepath.Join(logs, "audit-policy.json"), filepath.Join(logs, "audit.log")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o644); err != nil {
		return err
	}
	options.Harness.APIServerArguments = []string{"--audit-policy-file=" + policy, "--audit-log-path=" + log, "--audit-log-maxsize=100000"}
	options.Harness.Images = map[string]string{backendImage: filepath.Join(options.Harness.Bin, "bench")}
	cluster, err := harness.Open(ctx, options.Harness, step)
	if err != nil {
		return err
	}
	defer cluster.Stop()
	api, err := newAPI(cluster.Rest())
	if err != nil {
		return err
	}
	r := &run{
		Options: options, api: api, cluster: cluster, step: step,
		audit:   audit{path: log},
		figures: &figures{Shape: string(options.Harness.Shape), Routes: options.Routes, Begun: begun},
	}
	err = r.measure(ctx)
	if len(r.figures.Rows) > 0 {
		fmt.Printf("\n%s\n", r.figures.markdown())
		if saved := r.figures.save(options.Results); saved != nil {
			return saved
		}
	}
	return err
}

func (r *run) measure(ctx context.Context) error {
	if err := r.layOut(ctx); err != nil {
		return err
	}
	// The routes are needed by all parts, and applying them is the first.
	if err := r.scale(ctx); err != nil {
		return fmt.Errorf("scale: %w", err)
	}
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"reaction", r.reaction}, {"failures", r.failures}} {
		if slices.Contains(r.Parts, part.name) {
			if err := part.measure(ctx); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return r.cluster.Check()
}

// layOut makes what the routes need: backends, the Gateway and its address.
func (r *run) layOut(ctx context.Context) error {
	for _, one := range append(backends(), gateway(listener(httpListener, ""))) {
		if err := r.create(ctx, one); err != nil {
			return err
		}
	}
	err := until(ctx, "backends and the Gateway", func() error {
		if err := r.available(ctx, namespace, backendApp); err != nil {
			return err
		}
		status, err := r.gatewayStatus(ctx)
		if err != nil {
			return err
		}
		if !isTrue(status.Conditions, "Programmed") || len(status.Addresses) == 0 {
			return fmt.Errorf("the Gateway is not programmed: %+v", status.Conditions)
		}
		r.address = status.Addresses[0].Value + ":80"
		return nil
	})
	if err == nil {
		r.step("the Gateway is at " + r.address)
	}
	return err
}

// patience is for what has to come about at all; it is no target.
const patience = 3 * time.Minute

// until repeats the attempt until it succeeds, or gives its last error.
func until(ctx context.Context, what string, attempt func() error) error {
	limit := time.Now().Add(patience)
	for {
		err := attempt()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(limit):
			return fmt.Errorf("%s: after %s: %w", what, patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
