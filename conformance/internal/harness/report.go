package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	conformancev1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/yaml"
)

// judge reads the report, shows it, and keeps it if it is a complete one. Full
// marks mean: nothing failed, nothing was skipped, no feature left out.
//
// The report alone does not tell: the suite counts tests that run in parallel as
// passed when they have started. So `passed` is what the test program itself says.
func judge(options Options, path string, passed bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var report conformancev1.ConformanceReport
	if err := yaml.UnmarshalStrict(text, &report); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	fmt.Println()
	var complaints []string
	for _, profile := range report.ProfileReports {
		complaints = append(complaints, judgeProfile(profile, gatewayFeatures(options.Channel))...)
	}
	if missing := len(options.Profiles) - len(report.ProfileReports); missing != 0 {
		complaints = append(complaints, fmt.Sprintf("%d profiles are missing in the report", missing))
	}
	if passed {
		if err := keepReport(options, report, text); err != nil {
			return err
		}
	}
	if len(complaints) > 0 {
		return fmt.Errorf("not full marks:\n  %s", strings.Join(complaints, "\n  "))
	}
	return nil
}

func judgeProfile(profile conformancev1.ProfileReport, possible []string) (complaints []string) {
	complain := func(format string, values ...any) {
		complaints = append(complaints, profile.Name+": "+fmt.Sprintf(format, values...))
	}
	core := profile.Core
	fmt.Printf("  %-14s core %-8s %3d passed %d failed %d skipped", profile.Name, core.Result, core.Statistics.Passed, core.Statistics.Failed, core.Statistics.Skipped)
	if core.Result != conformancev1.Success {
		complain("core is %s, failed %v, skipped %v", core.Result, core.FailedTests, core.SkippedTests)
	}
	extended := profile.Extended
	if extended == nil {
		fmt.Println()
		complain("no extended feature is claimed")
		return complaints
	}
	fmt.Printf("   extended %-8s %3d passed %d failed %d skipped, %d features supported, %d not\n", extended.Result, extended.Statistics.Passed,
		extended.Statistics.Failed, extended.Statistics.Skipped, len(extended.SupportedFeatures), len(extended.UnsupportedFeatures))
	if extended.Result != conformancev1.Success {
		complain("extended is %s, failed %v, skipped %v", extended.Result, extended.FailedTests, extended.SkippedTests)
	}
	missing := slices.DeleteFunc(slices.Clone(extended.UnsupportedFeatures), func(name string) bool { return !slices.Contains(possible, name) })
	if len(missing) > 0 {
		complain("features not supported: %v", missing)
	}
	return complaints
}

// keepReport puts the report of a run of all profiles where reports are
// published, under the name that the Gateway API's repository asks for.
func keepReport(options Options, report conformancev1.ConformanceReport, text []byte) error {
	if options.Reports == "" || !slices.Equal(options.Profiles, AllProfiles) {
		return nil
	}
	folder := filepath.Join(options.Reports, report.GatewayAPIVersion)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%s-%s-report.yaml", report.GatewayAPIChannel, report.Version, report.Mode)
	fmt.Println("\n  report:", filepath.Join(folder, name))
	return os.WriteFile(filepath.Join(folder, name), text, 0o644)
}
