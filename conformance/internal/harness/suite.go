package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// AllProfiles are the five of gateways.
var AllProfiles = []string{"GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP"}

// runSuite runs the suite's program against the cluster and judges its report.
func runSuite(ctx context.Context, options Options, kubeconfig string, step func(string)) error {
	claimed, err := waitForClass(ctx, options, kubeconfig)
	if err != nil {
		return err
	}
	step("the suite starts")
	report := filepath.Join(options.Logs, "report.yaml")
	failed, err := runTests(ctx, options, "conformance.test", kubeconfig, suiteFlags(options, claimed, report)...)
	step("the suite is through")
	if len(failed) > 0 {
		fmt.Printf("\nfailed:\n  %s\n", strings.Join(failed, "\n  "))
	}
	if options.Test != "" || ctx.Err() != nil {
		return err
	}
	return errors.Join(err, judge(options, report, len(failed) == 0 && err == nil))
}

// waitForClass gives the gateway the time to publish what it supports, which
// the suite reads once at its start, and returns it.
func waitForClass(ctx context.Context, options Options, kubeconfig string) (claimed []string, err error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	classes := client.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"})
	err = wait(ctx, classTime, "GatewayClass "+className, func(ctx context.Context) error {
		object, err := classes.Get(ctx, className, metav1.GetOptions{})
		if err != nil {
			return err
		}
		var class gatewayv1.GatewayClass
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &class); err != nil {
			return permanent{err}
		}
		claimed = nil
		for _, feature := range class.Status.SupportedFeatures {
			claimed = append(claimed, string(feature.Name))
		}
		if len(claimed) == 0 && !options.AllFeatures {
			return fmt.Errorf("status.supportedFeatures is empty")
		}
		return nil
	})
	return claimed, err
}

func suiteFlags(options Options, claimed []string, report string) []string {
	usable, unusable := options.UsableAddress, options.UnusableAddress
	if options.Kubeconfig == "" {
		usable, unusable = usableGateway, unusableAddress
		if options.Shape != Shared {
			usable = usableBalancer
		}
	}
	mode := "default"
	if options.Shape != Shared {
		mode = string(options.Shape)
	}
	flags := []string{
		"-gateway-class=" + className,
		"-conformance-profiles=" + list(options.Profiles),
		"-usable-address=" + usable,
		"-unusable-address=" + unusable,
		"-mode=" + mode,
		"-organization=gateway-rs",
		"-project=gateway",
		"-url=https://github.com/gateway-rs/gateway",
		"-version=" + options.Version,
		"-contact=https://github.com/gateway-rs/gateway/issues",
		"-report-output=" + report,
	}
	if options.AllFeatures || options.Test != "" {
		// A single test is run whether its features are claimed or not.
		options.AllFeatures, claimed = true, gatewayFeatures(options.Channel)
	}
	switch {
	case !slices.Equal(options.Profiles, AllProfiles):
		// Without a list, the suite runs the tests of all features that the
		// GatewayClass claims, whatever the profiles.
		flags = append(flags, "-supported-features="+list(ofProfiles(claimed, options.Profiles)))
	case options.AllFeatures:
		flags = append(flags, "-supported-features="+list(claimed))
	}
	if options.Test != "" {
		flags = append(flags, "-run-test="+options.Test)
	}
	return flags
}

// gatewayFeatures are all features that the definitions of the channel allow,
// but those of a mesh, which is not a gateway's affair.
func gatewayFeatures(channel string) []string {
	var names []string
	for _, feature := range features.AllFeatures.UnsortedList() {
		experimental := feature.Channel == features.FeatureChannelExperimental
		if !strings.HasPrefix(string(feature.Name), "Mesh") && (channel == features.FeatureChannelExperimental || !experimental) {
			names = append(names, string(feature.Name))
		}
	}
	slices.Sort(names)
	return names
}

// ofProfiles are the features that a test of the profiles can name.
func ofProfiles(claimed, profiles []string) []string {
	named := sets.New[features.FeatureName]()
	for _, profile := range []suite.ConformanceProfile{
		suite.GatewayHTTPConformanceProfile, suite.GatewayGRPCConformanceProfile, suite.GatewayTLSConformanceProfile,
		suite.GatewayTCPConformanceProfile, suite.GatewayUDPConformanceProfile,
	} {
		if slices.Contains(profiles, string(profile.Name)) {
			named = named.Union(profile.CoreFeatures).Union(profile.ExtendedFeatures)
		}
	}
	return slices.DeleteFunc(slices.Clone(claimed), func(name string) bool { return !named.Has(features.FeatureName(name)) })
}

// result is a line that the testing package writes when a test has ended.
var result = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): Test\w+/([^/ ]+) \(([0-9.]+s)\)`)

// runTests runs a test program, shows how each test ends and keeps the rest of
// its output in a file. It returns the tests that failed.
func runTests(ctx context.Context, options Options, program, kubeconfig string, flags ...string) (failed []string, err error) {
	file, err := os.Create(filepath.Join(options.Logs, strings.TrimSuffix(program, ".test")+".log"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// Not plain -test.v, which shows results of subtests only when all are through.
	// No limit for the whole: each wait inside has one.
	arguments := append([]string{"-test.v=test2json", "-test.timeout=0"}, flags...)
	command := exec.CommandContext(ctx, filepath.Join(options.Bin, program), arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "CONFORMANCE_BIN="+options.Bin)
	command.Dir = options.Logs
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = stopTime
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		return nil, err
	}
	failed = follow(output, file)
	if err := command.Wait(); err != nil {
		return failed, fmt.Errorf("%s: %d tests failed: %w", program, len(failed), err)
	}
	return failed, nil
}

func follow(output io.Reader, file io.Writer) (failed []string) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		// The mark that the testing package puts before its own lines.
		line := strings.TrimPrefix(lines.Text(), "\x16")
		fmt.Fprintf(file, "%s %s\n", time.Now().UTC().Format("15:04:05.000"), line)
		match := result.FindStringSubmatch(strings.TrimLeft(line, " "))
		if match == nil || match[1] == "SKIP" {
			continue
		}
		fmt.Printf("         %s %s (%s)\n", match[1], match[2], match[3])
		if match[1] == "FAIL" {
			failed = append(failed, match[2])
		}
	}
	return failed
}
