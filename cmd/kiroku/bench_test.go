package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"kiroku/cmd/kiroku/internal/bench"
)

// TestBenchmarksMeasureAndLeaveNothing runs each benchmark with little to do. How fast anything was is nobody's business here.
func TestBenchmarksMeasureAndLeaveNothing(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]struct {
		arguments []string
		token     bool // the measures cost calls of the token
	}{
		"append":    {[]string{"--events", "64", "--in-flight", "8", "--alone", "8"}, true},
		"issue":     {[]string{"--people", "120"}, true},
		"inquire":   {[]string{"--people", "20", "--inquiries", "64", "--in-flight", "8", "--alone", "8"}, true},
		"replay":    {[]string{"--people", "20", "--inquiries", "64"}, true},
		"disclose":  {[]string{"--people", "20", "--records", "40", "--disclosures", "10"}, true},
		"verify":    {[]string{"--events", "1024"}, false},
		"retention": {[]string{"--events", "8,24", "--people", "12", "--deletions", "2", "--asked-of", "5"}, true},
		"stats":     {[]string{"--rows", "400", "--per-day", "40", "--asks", "2"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			got := kiroku(t, append([]string{"bench", name, "--data", data, "--json"}, b.arguments...)...).must(t)
			var report bench.Report
			if err := json.Unmarshal([]byte(got.out), &report); err != nil || report.Benchmark != name || len(report.Measures) == 0 {
				t.Fatalf("%v: %s%s", err, got.out, got.err)
			}
			for _, m := range report.Measures {
				if m.Name == "" || m.Units == 0 || m.Rate <= 0 || b.token && (m.Cost == nil || m.Cost.HSMPerUnit <= 0) {
					t.Errorf("%+v", m)
				}
			}
			if _, err := os.Stat(data); !os.IsNotExist(err) {
				t.Errorf("%s is still there", data)
			}
		})
	}
}
