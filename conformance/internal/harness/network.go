package harness

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/gateway-rs/gateway/conformance/internal/node"
)

// The ranges of the cluster. All but the pods' are local to the network
// namespace: whoever binds an address of theirs serves it.
const (
	nodeAddress   = "10.244.0.1"
	podRange      = "10.244.0.0/16"
	serviceRange  = "10.96.0.0/16"
	apiService    = "10.96.0.1"
	dnsService    = "10.96.0.10"
	gatewayRange  = "10.97.0.0/24"
	balancerRange = "10.98.0.0/24"
	// usableAddress is one that a Gateway may ask for; unusableAddress is in no
	// range of the cluster (it is reserved for documentation).
	usableGateway   = "10.97.0.200"
	usableBalancer  = "10.98.0.200"
	unusableAddress = "192.0.2.1"
)

// ownNetwork makes sure that the process is in a network namespace of its own,
// and lays it out: loopback, the bridge of the pods, the local ranges.
func ownNetwork() error {
	output, err := exec.Command("ip", "-brief", "link").Output()
	if err != nil {
		return fmt.Errorf("ip link: %w", err)
	}
	if lines := strings.Fields(string(output)); len(lines) == 0 || lines[0] != "lo" || strings.Count(string(output), "\n") != 1 {
		return fmt.Errorf("expected a fresh network namespace, found the interfaces:\n%s", output)
	}
	commands := []string{"link set lo up", "link add " + node.Bridge + " type bridge", "address add " + nodeAddress + "/16 dev " + node.Bridge, "link set " + node.Bridge + " up"}
	for _, local := range []string{serviceRange, gatewayRange, balancerRange} {
		commands = append(commands, "route add local "+local+" dev lo")
	}
	command := exec.Command("ip", "-batch", "-")
	command.Stdin = strings.NewReader(strings.Join(commands, "\n"))
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("lay out the network: %w: %s", err, output)
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}
