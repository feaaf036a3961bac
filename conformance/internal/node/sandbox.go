package node

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
)

// Bridge is the interface that the pods hang on; its address is the node's own
// and the pods' router.
const Bridge = "pods0"

// addresses hands out pod addresses in turn, so that one is not used again
// soon after its pod has gone.
type addresses struct {
	mutex sync.Mutex
	pods  netip.Prefix
	last  netip.Addr
	taken map[netip.Addr]bool
}

func newAddresses(pods netip.Prefix) *addresses {
	first := pods.Masked().Addr()
	for range 9 {
		first = first.Next()
	}
	return &addresses{pods: pods, last: first, taken: map[netip.Addr]bool{}}
}

func (a *addresses) take() (netip.Addr, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	start := newAddresses(a.pods).last
	candidate := a.last
	for {
		if candidate = candidate.Next(); !a.pods.Contains(candidate.Next()) {
			candidate = start.Next()
		}
		if !a.taken[candidate] {
			a.taken[candidate] = true
			a.last = candidate
			return candidate, nil
		}
		if candidate == a.last {
			return netip.Addr{}, fmt.Errorf("all addresses of %s are taken", a.pods)
		}
	}
}

func (a *addresses) release(address netip.Addr) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	delete(a.taken, address)
}

// sandbox is the network namespace of one pod, joined to the bridge.
type sandbox struct {
	name    string
	address netip.Addr
}

// path is the file that setns takes; none for a pod on the host's network.
func (s sandbox) path() string {
	if s.name == "" {
		return ""
	}
	return "/run/netns/" + s.name
}

func newSandbox(address netip.Addr, pods netip.Prefix, router netip.Addr) (sandbox, error) {
	bytes := address.As4()
	name := fmt.Sprintf("pod-%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3])
	veth := fmt.Sprintf("veth%02x%02x", bytes[2], bytes[3])
	made := sandbox{name: name, address: address}
	err := ip(nil,
		"netns add "+name,
		fmt.Sprintf("link add %s type veth peer name eth0 netns %s", veth, name),
		fmt.Sprintf("link set %s master %s up", veth, Bridge),
	)
	if err == nil {
		err = ip([]string{"-n", name},
			fmt.Sprintf("address add %s/%d dev eth0", address, pods.Bits()),
			"link set lo up",
			"link set eth0 up",
			fmt.Sprintf("route add default via %s", router),
		)
	}
	if err != nil {
		made.remove()
		return sandbox{}, err
	}
	return made, nil
}

// remove takes the namespace away, and with it both ends of its link.
func (s sandbox) remove() {
	if s.name == "" {
		return
	}
	if err := ip(nil, "netns delete "+s.name); err != nil {
		logf("remove namespace %s: %v", s.name, err)
	}
}

// ip runs lines of ip(8) as one batch.
func ip(options []string, lines ...string) error {
	command := exec.Command("ip", append(options, "-batch", "-")...)
	command.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(lines, "; "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
