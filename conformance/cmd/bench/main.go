// Command bench measures the gateway in the local cluster: see internal/bench.
// The script benches/kube/run builds what it needs. As `bench backend` it is the
// server behind the routes.
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

	"github.com/gateway-rs/gateway/conformance/internal/bench"
	"github.com/gateway-rs/gateway/conformance/internal/harness"
)

func main() {
	arguments := os.Args[1:]
	if len(arguments) > 0 && arguments[0] == "backend" {
		end(bench.ServeBackend())
	}
	inside := len(arguments) > 0 && arguments[0] == harness.InsideCommand
	if inside {
		arguments = arguments[1:]
	}
	options, err := parse(arguments)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if !inside {
		code, err := harness.Isolated(options.Harness.Logs, arguments)
		if err == nil {
			os.Exit(code)
		}
		end(err)
	}
	if err := run(options); err != nil {
		end(fmt.Errorf("%w\nlogs: %s", err, options.Harness.Logs))
	}
}

func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(options bench.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := harness.Settle(); err != nil {
		return err
	}
	return bench.Run(ctx, options)
}

func parse(arguments []string) (bench.Options, error) {
	var options bench.Options
	var parts, shape, extra string
	local := &options.Harness
	flags := flag.NewFlagSet("benches/kube/run", flag.ContinueOnError)
	flags.StringVar(&parts, "part", strings.Join(bench.Parts, ","), "parts to run, separated by commas")
	flags.StringVar(&shape, "shape", string(harness.Shared), "deployment of the gateway: shared or dedicated")
	flags.IntVar(&options.Routes, "routes", 10_000, "HTTPRoutes on the Gateway")
	flags.IntVar(&options.Appliers, "appliers", 8, "clients that apply them at a time")
	flags.IntVar(&options.Changes, "changes", 200, "changes of each kind whose reaction is measured")
	flags.IntVar(&options.Rate, "rate", 2000, "requests a second during failures")
	flags.IntVar(&options.Connections, "connections", 32, "connections that carry them")
	flags.IntVar(&options.RouteChanges, "route-changes", 1000, "changes of routes under load")
	flags.IntVar(&options.Rollovers, "rollovers", 100, "roll-overs of the backends under load")
	flags.IntVar(&options.Abrupt, "abrupt", 10, "backends killed under load")
	flags.StringVar(&options.Results, "results", "", "folder for the figures (default: that of the logs)")
	flags.StringVar(&extra, "gateway-arguments", "", "more arguments for the gateway (for gateway install, in shape dedicated), separated by blanks")
	flags.StringVar(&local.Bin, "bin", "", "folder of the programs (set by the script)")
	flags.StringVar(&local.Module, "module", "", "folder of the Gateway API's module (set by the script)")
	flags.StringVar(&local.Logs, "logs", "", "folder for all output (set by the script)")
	flags.StringVar(&local.Gateway, "gateway", "", "the gateway's program (set by the script)")
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	local.Channel, local.GatewayArguments = "experimental", strings.Fields(extra)
	local.Shape = harness.Shape(shape)
	if local.Shape == harness.Shared {
		// It would be a part of gateway.log.
		local.GatewayArguments = append([]string{"--access-log", "off"}, local.GatewayArguments...)
	}
	if local.Shape != harness.Shared && local.Shape != harness.Dedicated {
		return options, fmt.Errorf("-shape %s: expected shared or dedicated", shape)
	}
	options.Parts = strings.Split(parts, ",")
	for _, part := range options.Parts {
		if !slices.Contains(bench.Parts, part) {
			return options, fmt.Errorf("-part %s: expected some of %s", part, strings.Join(bench.Parts, ","))
		}
	}
	if options.Routes < 1 || options.Appliers < 1 || options.Connections < 1 || options.Rate < 1 {
		return options, fmt.Errorf("-routes, -appliers, -connections and -rate are 1 at least")
	}
	if options.Results == "" {
		options.Results = local.Logs
	}
	if flags.NArg() > 0 {
		return options, fmt.Errorf("%q: not an option", flags.Arg(0))
	}
	return options, nil
}
