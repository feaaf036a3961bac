package bench

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// load asks for the routes at a constant rate, whatever becomes of the requests:
// one that is late is sent at once, and its time counts from when it was due.
type load struct {
	ended   chan struct{}
	senders sync.WaitGroup
	mutex   sync.Mutex
	felt    *felt
}

// felt is what requests felt during one phase.
type felt struct {
	times   spread
	retries int
	// failed counts what went wrong, by what was seen.
	failed map[string]int
}

// startLoad begins to send rate requests a second over the connections.
func (r *run) startLoad() *load {
	l := &load{ended: make(chan struct{}), felt: newFelt()}
	apart := time.Duration(r.Connections) * time.Second / time.Duration(r.Rate)
	begun := time.Now()
	for k := range r.Connections {
		first := begun.Add(apart * time.Duration(k) / time.Duration(r.Connections))
		l.senders.Go(func() { l.send(r.address, first, apart, func(n int) int { return r.chosen(k + n*r.Connections) }) })
	}
	return l
}

func (l *load) stop() {
	close(l.ended)
	l.senders.Wait()
}

// next returns what was felt since the last time.
func (l *load) next() *felt {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	before := l.felt
	l.felt = newFelt()
	return before
}

func (l *load) send(address string, due time.Time, apart time.Duration, route func(int) int) {
	c := newClient(address)
	defer c.close()
	for n := 0; ; n++ {
		select {
		case <-l.ended:
			return
		case <-time.After(time.Until(due)):
		}
		i := route(n)
		got, err := c.ask(targetOf(i))
		l.note(c, time.Since(due), complaint(i, got, err))
		due = due.Add(apart)
	}
}

func (l *load) note(c *client, took time.Duration, complaint string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.felt.times = append(l.felt.times, took)
	l.felt.retries += c.retries
	c.retries = 0
	if complaint != "" {
		l.felt.failed[complaint]++
	}
}

// complaint says what is wrong with the answer to a request for the i-th route;
// which version of the route has answered does not matter.
func complaint(i int, got answer, err error) string {
	switch {
	case err != nil:
		// Ports differ from one to the next.
		words := strings.Split(err.Error(), ": ")
		return words[len(words)-1]
	case got.status != 200:
		return fmt.Sprintf("status %d", got.status)
	case !strings.HasPrefix(got.rule, routeName(i)+"."):
		return "answer of another route"
	}
	return ""
}

func newFelt() *felt { return &felt{failed: map[string]int{}} }

func (f *felt) failures() (sum int) {
	for _, count := range f.failed {
		sum += count
	}
	return sum
}

// causes lists what went wrong, the most frequent first.
func (f *felt) causes() string {
	var causes []string
	for cause := range f.failed {
		causes = append(causes, cause)
	}
	slices.SortFunc(causes, func(a, b string) int { return f.failed[b] - f.failed[a] })
	for k, cause := range causes {
		causes[k] = fmt.Sprintf("%d × %s", f.failed[cause], cause)
	}
	return strings.Join(causes, ", ")
}
