package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// figures is all that was measured, as it is saved and shown.
type figures struct {
	Shape  string
	Routes int
	Begun  time.Time
	Rows   []row
}

// row is one figure, with what was wanted if anything was.
type row struct {
	Part, What, Figure string
	// Wanted is empty if there is no target.
	Wanted string `json:",omitempty"`
	Met    bool   `json:",omitempty"`
	// Values are the figure's in numbers, by name, milliseconds if they are times.
	Values map[string]float64 `json:",omitempty"`
}

// note adds a figure without target.
func (f *figures) note(part, what, figure string, values map[string]float64) {
	f.Rows = append(f.Rows, row{Part: part, What: what, Figure: figure, Values: values})
	fmt.Printf("         %s: %s\n", what, figure)
}

// judge adds a figure with its target.
func (f *figures) judge(part, what, figure, wanted string, met bool, values map[string]float64) {
	f.Rows = append(f.Rows, row{part, what, figure, wanted, met, values})
	fmt.Printf("         %s: %s (wanted: %s: %s)\n", what, figure, wanted, verdict(met))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

// markdown is the table for a README.
func (f *figures) markdown() string {
	var text strings.Builder
	fmt.Fprintf(&text, "| shape %s, %d routes | | wanted |\n|---|---|---|\n", f.Shape, f.Routes)
	for _, one := range f.Rows {
		wanted := ""
		if one.Wanted != "" {
			wanted = one.Wanted + ": " + verdict(one.Met)
		}
		fmt.Fprintf(&text, "| %s: %s | %s | %s |\n", one.Part, one.What, one.Figure, wanted)
	}
	return text.String()
}

// save writes the figures as JSON and as Markdown into the folder.
func (f *figures) save(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(folder, fmt.Sprintf("%s-%s", f.Shape, f.Begun.UTC().Format("20060102-150405")))
	if err := os.WriteFile(name+".json", text, 0o644); err != nil {
		return err
	}
	return os.WriteFile(name+".md", []byte(f.markdown()), 0o644)
}

// spread is a set of times.
type spread []time.Duration

// percentile is the smallest time that at least p percent of all do not exceed; 0 of none.
func (s spread) percentile(p float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(p / 100 * float64(len(sorted)))
	if float64(rank) < p/100*float64(len(sorted)) {
		rank++
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func (s spread) String() string {
	return fmt.Sprintf("median %s, p99 %s, max %s", shown(s.percentile(50)), shown(s.percentile(99)), shown(s.percentile(100)))
}

// values are the numbers of the spread.
func (s spread) values() map[string]float64 {
	return map[string]float64{
		"count": float64(len(s)), "p50": milliseconds(s.percentile(50)), "p99": milliseconds(s.percentile(99)), "max": milliseconds(s.percentile(100)),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// shown is a time with three digits or so.
func shown(d time.Duration) string {
	switch ms := milliseconds(d); {
	case ms >= 10_000:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f ms", ms)
	}
}
