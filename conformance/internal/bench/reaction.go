package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// poll is between two requests that look whether a change is served.
	poll = 200 * time.Microsecond
	// connections of the one who looks: each is served by some thread of the gateway.
	lookers = 4
	// The targets.
	wantedMedian, wantedP99 = 50 * time.Millisecond, 250 * time.Millisecond
)

// reaction is one kind of change, done again and again.
type reaction struct {
	what string
	// wanted says whether there is a target.
	wanted bool
	// prepare makes the k-th change possible and returns the request that shows
	// it and whether an answer is by the new rule; apply makes the change.
	prepare func(ctx context.Context, k int) (target, func(answer) bool, error)
	apply   func(ctx context.Context, k int) error
}

// reaction measures, for each kind of change, the time from the end of the
// write to the first request that is served by it.
func (r *run) reaction(ctx context.Context) error {
	if err := r.layOutReactions(ctx); err != nil {
		return err
	}
	r.step("reactions")
	for _, one := range r.reactions() {
		times, err := r.react(ctx, one)
		if err != nil {
			return fmt.Errorf("%s: %w", one.what, err)
		}
		figure := fmt.Sprintf("%s (%d)", times, len(times))
		if !one.wanted {
			r.figures.note("reaction", one.what, figure, times.values())
			continue
		}
		met := times.percentile(50) <= wantedMedian && times.percentile(99) <= wantedP99
		r.figures.judge("reaction", one.what, figure, "median at most 50 ms, p99 250 ms", met, times.values())
	}
	return nil
}

func (r *run) react(ctx context.Context, kind reaction) (times spread, err error) {
	clients := make([]*client, lookers)
	for k := range clients {
		clients[k] = newClient(r.address)
		defer clients[k].close()
	}
	for k := range r.Changes {
		request, isNew, err := kind.prepare(ctx, k)
		if err != nil {
			return nil, err
		}
		c := clients[k%lookers]
		got, err := c.ask(request)
		if err != nil {
			return nil, err
		}
		if isNew(got) {
			return nil, fmt.Errorf("served before it is applied: %+v", got)
		}
		// Not in step with whatever the gateway does at times.
		time.Sleep(20*time.Millisecond + rand.N(60*time.Millisecond))
		if err := kind.apply(ctx, k); err != nil {
			return nil, err
		}
		took, err := untilNew(c, request, isNew)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	return times, nil
}

// untilNew asks until an answer is by the new rule.
func untilNew(c *client, request target, isNew func(answer) bool) (time.Duration, error) {
	begun := time.Now()
	for {
		got, err := c.ask(request)
		took := time.Since(begun)
		switch {
		case err != nil:
			return took, err
		case isNew(got):
			return took, nil
		case took > patience:
			return took, fmt.Errorf("not served after %s: the answer is still %+v", patience, got)
		}
		time.Sleep(poll)
	}
}

func servedBy(rule string) func(answer) bool {
	return func(got answer) bool { return got.status == 200 && got.rule == rule }
}

func (r *run) reactions() []reaction {
	return []reaction{
		{"change of a route's filter", true, r.prepareFilter, r.applyFilter},
		{"change of a route's backend", true, r.prepareBackend, r.applyBackend},
		{"new route", true, prepareRoute, r.applyRoute},
		{"deleted route", true, r.prepareRemoval, r.applyRemoval},
		{"new listener", false, r.prepareListener, r.applyListener},
		{"new Service and EndpointSlice", false, r.prepareService, r.applyService},
	}
}
