// Command coredns is CoreDNS with the plugins that the conformance suite's
// Corefile names. It has a module of its own, since CoreDNS and Kubernetes
// demand different versions of the modules that they share.
package main

import (
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/whoami"

	"github.com/coredns/coredns/coremain"
)

func main() { coremain.Run() }
