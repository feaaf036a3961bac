package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// memory is the resident kB of the gateway's processes, by what they do.
func memory() (map[string]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for _, path := range paths {
		// Processes that end meanwhile are left out.
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		words := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		role := roleOf(words)
		if role == "" {
			continue
		}
		resident, err := residentOf(filepath.Join(filepath.Dir(path), "status"))
		if err != nil {
			continue
		}
		found[role] = max(found[role], resident)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no process of the gateway runs")
	}
	return found, nil
}

// roleOf tells the gateway's processes from others by their command lines.
func roleOf(words []string) string {
	if len(words) < 2 || !strings.HasPrefix(filepath.Base(words[0]), "gateway") || words[1] != "run" {
		return ""
	}
	line := strings.Join(words, " ")
	switch {
	case strings.Contains(line, "--shape dedicated"), strings.Contains(line, "--shape=dedicated"):
		return "controller"
	case strings.Contains(line, "--kubernetes"):
		return "gateway"
	default:
		return "data plane"
	}
}

func residentOf(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kilobytes int
		if count, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); count == 1 {
			return kilobytes, nil
		}
	}
	return 0, fmt.Errorf("%s: no VmRSS", path)
}
