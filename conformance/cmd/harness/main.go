// Command harness runs the conformance suite: see internal/harness. The script
// `run` builds what it needs. What runs on this machine gets namespaces of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/gateway-rs/gateway/conformance/internal/harness"
)

func main() {
	arguments := os.Args[1:]
	inside := len(arguments) > 0 && arguments[0] == harness.InsideCommand
	if inside {
		arguments = arguments[1:]
	}
	options, err := parse(arguments)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	if inside || options.Kubeconfig != "" {
		err = run(options, inside)
	} else {
		code := 0
		if code, err = harness.Isolated(options.Logs, arguments); err == nil {
			os.Exit(code)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nconformance: %v\nlogs: %s\n", err, options.Logs)
		os.Exit(1)
	}
}

func run(options harness.Options, inside bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if inside {
		if err := harness.Settle(); err != nil {
			return err
		}
	}
	return harness.Run(ctx, options)
}

func parse(arguments []string) (harness.Options, error) {
	var options harness.Options
	var profiles, shape, extra string
	flags := flag.NewFlagSet("conformance/run", flag.ContinueOnError)
	flags.StringVar(&profiles, "profile", "", "run these profiles only, separated by commas (default all of a gateway)")
	flags.StringVar(&options.Test, "test", "", "run this test only; writes no report")
	flags.StringVar(&shape, "shape", string(harness.Shared), "deployment of the gateway: shared, balanced or dedicated")
	flags.StringVar(&options.Channel, "channel", "experimental", "channel of the Gateway API: experimental or standard")
	flags.BoolVar(&options.Keep, "keep", false, "keep the cluster running after the tests")
	flags.StringVar(&options.Kubeconfig, "kubeconfig", "", "test a cluster that exists, with the gateway and the GatewayClass in place")
	flags.StringVar(&options.UsableAddress, "usable-address", "", "with -kubeconfig: an address that a Gateway can ask for")
	flags.StringVar(&options.UnusableAddress, "unusable-address", "", "with -kubeconfig: an address that it cannot get")
	flags.BoolVar(&options.AllFeatures, "all-features", false, "test all features, not only those that the GatewayClass claims")
	flags.BoolVar(&options.SelfTest, "self-test", false, "test the local cluster itself, without a gateway")
	flags.StringVar(&extra, "gateway-arguments", "", "more arguments for the gateway, separated by blanks")
	flags.StringVar(&options.Bin, "bin", "", "folder of the programs (set by the script)")
	flags.StringVar(&options.Module, "module", "", "folder of the Gateway API's module (set by the script)")
	flags.StringVar(&options.Logs, "logs", "", "folder for all output (set by the script)")
	flags.StringVar(&options.Reports, "reports", "", "folder for reports (set by the script)")
	flags.StringVar(&options.Gateway, "gateway", "", "the gateway's program (set by the script)")
	flags.StringVar(&options.Version, "version", "", "the gateway's version (set by the script)")
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	options.GatewayArguments = strings.Fields(extra)
	options.Profiles = harness.AllProfiles
	if profiles != "" {
		options.Profiles = strings.Split(profiles, ",")
	}
	for _, profile := range options.Profiles {
		if !slices.Contains(harness.AllProfiles, profile) {
			return options, fmt.Errorf("-profile %s: expected some of %s", profile, strings.Join(harness.AllProfiles, ", "))
		}
	}
	options.Shape = harness.Shape(shape)
	if !slices.Contains([]harness.Shape{harness.Shared, harness.Balanced, harness.Dedicated}, options.Shape) {
		return options, fmt.Errorf("-shape %s: expected shared, balanced or dedicated", shape)
	}
	if flags.NArg() > 0 {
		return options, fmt.Errorf("%q: not an option", flags.Arg(0))
	}
	return options, nil
}
