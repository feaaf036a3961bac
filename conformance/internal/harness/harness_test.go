package harness

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFollowNamesWhatFailed(t *testing.T) {
	output := "\x16=== RUN   TestConformance/A\n\x16--- PASS: TestConformance/A (0.10s)\n" +
		"    \x16--- FAIL: TestConformance/B/sub_case (0.10s)\n\x16--- FAIL: TestConformance/B (1.00s)\n--- FAIL: TestConformance (2.00s)\n"
	require.Equal(t, []string{"B"}, follow(strings.NewReader(output), io.Discard))
}

func TestFeaturesOfProfilesAndChannels(t *testing.T) {
	all := gatewayFeatures("experimental")
	require.Contains(t, all, "HTTPRouteRetry")
	require.NotContains(t, gatewayFeatures("standard"), "HTTPRouteRetry")
	for _, name := range all {
		require.False(t, strings.HasPrefix(name, "Mesh"), name)
	}
	udp := ofProfiles(all, []string{"GATEWAY-UDP"})
	require.Contains(t, udp, "UDPRoute")
	require.NotContains(t, udp, "TCPRoute")
}

const reportText = `
apiVersion: gateway.networking.k8s.io/v1
kind: ConformanceReport
date: "2026-01-01T00:00:00Z"
gatewayAPIVersion: v1.6.1
gatewayAPIChannel: experimental
mode: default
implementation: {organization: o, project: p, url: u, version: v1, contact: [c]}
profiles:
- name: GATEWAY-UDP
  summary: s
  core: {result: success, statistics: {Passed: 20, Failed: 0, Skipped: 0}}
  extended: {result: success, statistics: {Passed: 10, Failed: 0, Skipped: 0}, supportedFeatures: [ListenerSet]}
`

func TestJudge(t *testing.T) {
	for name, one := range map[string]struct {
		change   func(string) string
		complain string
	}{
		"full marks": {func(text string) string { return text }, ""},
		"failure": {func(text string) string {
			return strings.Replace(text, "result: success", "result: failure, failedTests: [A]", 1)
		}, "core is failure, failed [A]"},
		"feature left out": {func(text string) string {
			return strings.Replace(text, "[ListenerSet]", "[ListenerSet], unsupportedFeatures: [GatewayPort8080]", 1)
		}, "features not supported: [GatewayPort8080]"},
		"profile left out": {func(text string) string { return strings.Split(text, "profiles:")[0] + "profiles: []" }, "1 profiles are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "report.yaml")
			require.NoError(t, os.WriteFile(path, []byte(one.change(reportText)), 0o644))
			err := judge(Options{Profiles: []string{"GATEWAY-UDP"}, Channel: "experimental"}, path, true)
			if one.complain == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, one.complain)
			}
		})
	}
}

func TestOnlyCompleteReportsOfPassedRunsAreKept(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "report.yaml")
	require.NoError(t, os.WriteFile(path, []byte(reportText), 0o644))
	kept := filepath.Join(folder, "reports", "v1.6.1", "experimental-v1-default-report.yaml")
	options := Options{Profiles: AllProfiles, Channel: "experimental", Reports: filepath.Join(folder, "reports")}
	_ = judge(options, path, false)
	require.NoFileExists(t, kept)
	_ = judge(options, path, true)
	require.FileExists(t, kept)
}
