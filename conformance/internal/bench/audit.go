package bench

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gateway-rs/gateway/conformance/internal/harness"
)

// auditPolicy has every write logged, when it is done.
const auditPolicy = `{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
"rules": [{"level": "Metadata", "verbs": ["create", "update", "patch", "delete"]}, {"level": "None"}]}`

// write is one that the API server has carried out or refused.
type write struct {
	User                 string
	Verb, Resource, Name string
	Subresource          string
	Code                 int
	// At is when the API server received it.
	At time.Time
}

// byGateway tells whether the gateway has made it, in whatever shape.
func (w write) byGateway() bool {
	return w.User == harness.GatewayUser || strings.HasPrefix(w.User, "system:serviceaccount:gateway-system:")
}

// ofRoute tells whether it is a write of a route's status.
func (w write) ofRoute() bool { return w.Resource == "httproutes" && w.Subresource == "status" }

// ofGateway tells whether it is a write of a Gateway's status.
func (w write) ofGateway() bool { return w.Resource == "gateways" && w.Subresource == "status" }

// audit reads the API server's log as it grows.
type audit struct {
	path   string
	offset int64
}

// mark forgets what was logged until now.
func (a *audit) mark() error {
	_, err := a.read()
	return err
}

// read returns the writes that were logged since the last time.
func (a *audit) read() ([]write, error) {
	file, err := os.Open(a.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(a.offset, io.SeekStart); err != nil {
		return nil, err
	}
	var writes []write
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			// The last line may be half written: it is read again.
			return writes, nil
		}
		if err != nil {
			return nil, err
		}
		a.offset += int64(len(line))
		one, err := parseWrite(line)
		if err != nil {
			return nil, err
		}
		writes = append(writes, one)
	}
}

func parseWrite(line []byte) (write, error) {
	var event struct {
		Verb      string
		User      struct{ Username string }
		ObjectRef struct {
			Resource, Name, Subresource string
		}
		ResponseStatus           struct{ Code int }
		RequestReceivedTimestamp time.Time
	}
	if err := json.Unmarshal(line, &event); err != nil {
		return write{}, err
	}
	of := event.ObjectRef
	return write{
		User: event.User.Username, Verb: event.Verb, Resource: of.Resource, Name: of.Name, Subresource: of.Subresource,
		Code: event.ResponseStatus.Code, At: event.RequestReceivedTimestamp,
	}, nil
}

// writesOf are those that the gateway has made of one kind.
func writesOf(writes []write, kind func(write) bool) []write {
	return slices.DeleteFunc(slices.Clone(writes), func(w write) bool { return !w.byGateway() || !kind(w) })
}

// perObject counts writes by the name of their object.
func perObject(writes []write) map[string]int {
	counts := map[string]int{}
	for _, one := range writes {
		counts[one.Name]++
	}
	return counts
}

// mostIn is the greatest number of writes that begin within any span of that length.
func mostIn(span time.Duration, writes []write) int {
	times := make([]time.Time, 0, len(writes))
	for _, one := range writes {
		times = append(times, one.At)
	}
	slices.SortFunc(times, time.Time.Compare)
	most, first := 0, 0
	for last := range times {
		for times[last].Sub(times[first]) >= span {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}
