package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gateway-rs/gateway/conformance/internal/harness"
)

// engineBytes is what a route takes in the engine: its index and topology, see
// benches/README.md.
const engineBytes = 700

// settleTime is how long nothing must happen before writes are counted, restTime
// before memory is: allocators give it back some seconds after it is free.
const settleTime, restTime = 3 * time.Second, 15 * time.Second

// scale applies all routes and measures until they are served and written of.
func (r *run) scale(ctx context.Context) error {
	before, err := memory()
	if err != nil {
		return err
	}
	if err := r.audit.mark(); err != nil {
		return err
	}
	begun := time.Now()
	last, err := r.applyRoutes(ctx)
	if err != nil {
		return err
	}
	applied := time.Now()
	if err := r.untilServed(ctx, last...); err != nil {
		return err
	}
	served := time.Since(applied)
	r.step(fmt.Sprintf("%d routes are applied, the last is served", r.Routes))
	if err := r.untilWritten(ctx); err != nil {
		return err
	}
	r.step("all routes are programmed")
	time.Sleep(settleTime)
	writes, err := r.audit.read()
	if err != nil {
		return err
	}
	if err := r.serveAll(); err != nil {
		return err
	}
	r.step("all routes are served")
	if !slices.Contains(r.Parts, "scale") {
		return nil
	}
	time.Sleep(restTime)
	after, err := memory()
	if err != nil {
		return err
	}
	r.tellTimes(begun, applied, served, writes)
	r.tellWrites(writes)
	r.tellMemory("memory", before, after)
	if r.Harness.Shape == harness.Shared {
		return r.startAnew(ctx, before)
	}
	return nil
}

// applyRoutes returns the routes whose application was the last of each applier.
func (r *run) applyRoutes(ctx context.Context) (last []int, err error) {
	r.versions = make([]int, r.Routes)
	var next atomic.Int64
	var appliers sync.WaitGroup
	failures := make(chan error, r.Appliers)
	lasts := make([]int, r.Appliers)
	for k := range r.Appliers {
		appliers.Go(func() {
			for i := int(next.Add(1)) - 1; i < r.Routes; i = int(next.Add(1)) - 1 {
				if err := r.create(ctx, httpRoute(i, 0)); err != nil {
					failures <- err
					return
				}
				lasts[k] = i
			}
		})
	}
	appliers.Wait()
	close(failures)
	return lasts, <-failures
}

// untilServed waits until requests for these routes are served by them.
func (r *run) untilServed(ctx context.Context, routes ...int) error {
	c := newClient(r.address)
	defer c.close()
	for _, i := range routes {
		err := until(ctx, routeName(i), func() error { return r.check(c, i) })
		if err != nil {
			return err
		}
	}
	return nil
}

// check is an error unless the route serves its request, as it was applied last.
func (r *run) check(c *client, i int) error {
	got, err := c.ask(targetOf(i))
	if err != nil {
		return err
	}
	if want := stamp(routeName(i), r.versions[i]); got.status != 200 || got.rule != want {
		return fmt.Errorf("expected 200 by %s, got %d by %q", want, got.status, got.rule)
	}
	return nil
}

// serveAll asks for every route once.
func (r *run) serveAll() error {
	c := newClient(r.address)
	defer c.close()
	for i := range r.Routes {
		if err := r.check(c, i); err != nil {
			return err
		}
	}
	return nil
}

// untilWritten waits until the Gateway counts all routes and each says that it is accepted.
func (r *run) untilWritten(ctx context.Context) error {
	err := until(ctx, "attachedRoutes", func() error {
		count, err := r.attached(ctx)
		if err == nil && count != r.Routes {
			err = fmt.Errorf("expected %d, got %d", r.Routes, count)
		}
		return err
	})
	if err != nil {
		return err
	}
	return until(ctx, "the routes' status", func() error {
		names, all, err := r.unprogrammed(ctx)
		switch {
		case err != nil:
			return err
		case len(names) > 0:
			// Reading all again at once would only slow the writer down.
			time.Sleep(time.Second)
			return fmt.Errorf("%d of %d are not programmed, %s among them", len(names), all, names[0])
		case all != r.Routes:
			return fmt.Errorf("expected %d routes, found %d", r.Routes, all)
		}
		return nil
	})
}

func (r *run) tellTimes(begun, applied time.Time, served time.Duration, writes []write) {
	took := applied.Sub(begun)
	r.figures.note("scale", "to apply all routes", fmt.Sprintf("%s, %.0f a second", shown(took), float64(r.Routes)/took.Seconds()), map[string]float64{"ms": milliseconds(took)})
	r.figures.note("scale", "from the last apply to its rule served", shown(served), map[string]float64{"ms": milliseconds(served)})
	var end time.Time
	for _, one := range writesOf(writes, write.ofRoute) {
		if one.At.After(end) {
			end = one.At
		}
	}
	programmed := max(end.Sub(applied), served)
	r.figures.note("scale", "from the last apply to all programmed", shown(programmed), map[string]float64{"ms": milliseconds(programmed)})
	var inTime int
	for _, one := range writesOf(writes, write.ofRoute) {
		if one.At.Before(applied) {
			inTime++
		}
	}
	r.figures.note("scale", "status written while routes are applied", fmt.Sprintf("%d of %d", inTime, r.Routes), map[string]float64{"count": float64(inTime)})
}

func (r *run) tellWrites(writes []write) {
	ofRoutes := perObject(writesOf(writes, write.ofRoute))
	most, all := 0, 0
	for _, count := range ofRoutes {
		most, all = max(most, count), all+count
	}
	r.figures.judge("scale", "status writes a route", fmt.Sprintf("%.4f on average, at most %d", float64(all)/float64(r.Routes), most),
		"at most 1", most <= 1, map[string]float64{"all": float64(all), "most": float64(most)})
	ofGateway := writesOf(writes, write.ofGateway)
	// Within a bit less than a second: the log has the ends of writes, which vary.
	pace := mostIn(900*time.Millisecond, ofGateway)
	r.figures.judge("scale", "status writes of the Gateway", fmt.Sprintf("%d, at most %d a second", len(ofGateway), pace),
		"at most 1 a second", pace <= 1, map[string]float64{"all": float64(len(ofGateway)), "aSecond": float64(pace)})
	other := writesOf(writes, func(w write) bool { return !w.ofRoute() && !w.ofGateway() && w.Resource != "leases" })
	refused := writesOf(writes, func(w write) bool { return w.Code >= 300 })
	r.figures.note("scale", "other writes, writes refused", fmt.Sprintf("%d, %d", len(other), len(refused)),
		map[string]float64{"other": float64(len(other)), "refused": float64(len(refused))})
}

// tellMemory compares the resident memory of each process with and without routes.
func (r *run) tellMemory(what string, before, after map[string]int) {
	for _, role := range []string{"gateway", "controller", "data plane"} {
		kilobytes, runs := after[role]
		if !runs {
			continue
		}
		perRoute := float64(kilobytes-before[role]) / float64(r.Routes)
		wanted := 10 + float64(engineBytes)/1000
		r.figures.judge("scale", what+" of the "+role, fmt.Sprintf("%.0f MB, %.0f MB without routes, %.1f kB a route", float64(kilobytes)/1000, float64(before[role])/1000, perRoute),
			fmt.Sprintf("at most %.1f kB a route", wanted), perRoute <= wanted, map[string]float64{"kB": float64(kilobytes), "before": float64(before[role]), "perRoute": perRoute})
	}
}

// startAnew starts the gateway with all routes present: how long it takes, and
// that it writes nothing, because nothing has changed.
func (r *run) startAnew(ctx context.Context, before map[string]int) error {
	if err := r.audit.mark(); err != nil {
		return err
	}
	begun := time.Now()
	if err := r.cluster.Restart("gateway"); err != nil {
		return err
	}
	stopped := time.Since(begun)
	if err := r.untilServed(ctx, r.Routes-1); err != nil {
		return err
	}
	r.figures.note("scale", "restart with all routes: to end, to serve", shown(stopped)+", "+shown(time.Since(begun)-stopped),
		map[string]float64{"end": milliseconds(stopped), "serve": milliseconds(time.Since(begun) - stopped)})
	if err := r.serveAll(); err != nil {
		return err
	}
	time.Sleep(settleTime)
	writes, err := r.audit.read()
	if err != nil {
		return err
	}
	count := len(writesOf(writes, func(w write) bool { return w.ofRoute() || w.ofGateway() }))
	r.figures.judge("scale", "status writes after the restart", fmt.Sprint(count), "none", count == 0, map[string]float64{"count": float64(count)})
	time.Sleep(restTime)
	after, err := memory()
	if err != nil {
		return err
	}
	r.tellMemory("memory after the restart", before, after)
	return nil
}
