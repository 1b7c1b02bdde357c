package main_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"kiroku/adapters/clickhouse/embedded"
)

// outcomesOf asks the running statistics how exchanges ended; nil while they do not answer.
func outcomesOf(t *testing.T, data string) map[string]int {
	t.Helper()
	got := kiroku(t, "stats", "show", "by_outcome", "--json", "--data", data)
	if got.code != 0 {
		return nil
	}
	var table struct{ Rows [][]any }
	if err := json.Unmarshal([]byte(got.out), &table); err != nil {
		t.Fatalf("%v in %s", err, got.out)
	}
	outcomes := map[string]int{}
	for _, row := range table.Rows {
		outcomes[row[0].(string)] += int(row[2].(float64))
		outcomes[row[1].(string)] += int(row[2].(float64))
	}
	return outcomes
}

func (r demoReport) agreesWith(outcomes map[string]int) bool {
	refused := 0
	for reason, n := range r.Refused {
		refused += n
		if outcomes[reason] != n {
			return false
		}
	}
	return outcomes["provided"] == r.Provided && outcomes["no-such-information"]+outcomes["cannot-provide"] == r.Unanswerable &&
		outcomes["lapsed"] == r.Lapsed && outcomes["refused"] == refused
}

func metricsOf(t *testing.T, data string) string {
	t.Helper()
	a, _ := endpoint(t, data, "admin")
	answer, err := http.Get("http://" + a.Address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// statisticsBehind is how many events the statistics have not counted, as the metrics tell.
func statisticsBehind(t *testing.T, data string) (events int) {
	t.Helper()
	for line := range strings.Lines(metricsOf(t, data)) {
		if labels, value, ok := strings.Cut(line, "} "); ok && strings.HasPrefix(labels, `kiroku_projection_behind_events{projection="statistics",`) {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			events += n
		}
	}
	return events
}

// TestStatisticsCatchUp runs a demonstration without an engine, and then a core whose engine comes later and is killed.
func TestStatisticsCatchUp(t *testing.T) {
	data, file := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "report.json")
	away := kirokuIn(t, append(clean(), "KIROKU_CHDB="+filepath.Join(data, "nothing-here")), "demo", "--data", data, "--people", "60", "--inquiries", "150", "--report", file).must(t)
	if !strings.Contains(away.out, "statistics are off; run ops/setup") {
		t.Errorf("without an engine the demonstration says\n%s", away.out)
	}
	var report demoReport
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil {
		t.Fatal(err)
	}

	library := filepath.Join(t.TempDir(), "libchdb.so") // that no engine can be made of, for now
	if err := os.WriteFile(library, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	core := startIn(t, append(clean(), "KIROKU_CHDB="+library), data, "serve")
	eventually(t, "the core is ready without an engine, and says that its statistics are behind all events", func() bool {
		ok, _ := ready(t, data)
		return ok && statisticsBehind(t, data) >= report.SymbolsIssued+report.Inquiries
	})
	whole, err := embedded.Find()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(library), os.Symlink(whole, library)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the statistics are those of the demonstration", func() bool { return report.agreesWith(outcomesOf(t, data)) })
	eventually(t, "nothing is left to be counted", func() bool { return statisticsBehind(t, data) == 0 })
	if !strings.Contains(metricsOf(t, data), `kiroku_projection_lag_seconds{projection="statistics",stream="record-00"} 0`) {
		t.Error("the lag of the statistics is no metric, or not 0")
	}
	engine, _ := endpoint(t, data, "clickhouse")
	if err := syscall.Kill(engine.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another engine runs", func() bool {
		next, _ := endpoint(t, data, "clickhouse")
		return next.PID != engine.PID
	})
	eventually(t, "the statistics are there again", func() bool { return report.agreesWith(outcomesOf(t, data)) })

	kiroku(t, "projections", "rebuild", "statistics", "--data", data).must(t)
	eventually(t, "the statistics are built again", func() bool { return report.agreesWith(outcomesOf(t, data)) })

	page := filepath.Join(t.TempDir(), "report.html")
	kiroku(t, "stats", "report", "--out", page, "--data", data).must(t)
	html, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(html), "<svg") || !strings.Contains(string(html), "見本") || strings.Contains(string(html), "http") {
		t.Errorf("the page has no charts, no names, or needs the network: %v", err)
	}
	kiroku(t, "stats", "report", "--public", "--out", page, "--data", data).must(t)
	if html, err := os.ReadFile(page); err != nil || strings.Contains(string(html), "Not for publication") || strings.Contains(string(html), "機関別件数") {
		t.Errorf("the page for publication holds what is not, %v", err)
	}
	for statement, code := range map[string]int{"SELECT 1": 0, "DROP TABLE statistics.exchanges": 2, "SELECT * FROM statistics_state.positions": 2} {
		if got := kiroku(t, "stats", "sql", statement, "--data", data); got.code != code {
			t.Errorf("%s: exit status %d\n%s%s", statement, got.code, got.out, got.err)
		}
	}
	if code := core.stop(t); code != 0 {
		t.Errorf("the core ended with %d", code)
	}
	last, _ := endpoint(t, data, "clickhouse")
	eventually(t, "the engine ended with its core", func() bool { return gone(last.PID) })
}

// TestStatsBeforeThereAreAny says what to do.
func TestStatsBeforeThereAreAny(t *testing.T) {
	got := kiroku(t, "stats", "show", "by_month", "--data", t.TempDir())
	if got.code != 2 || !strings.Contains(got.err, "kiroku serve fills them") {
		t.Errorf("exit status %d: %s", got.code, got.err)
	}
	got = kiroku(t, "stats", "show", "by_year", "--data", t.TempDir())
	if got.code != 2 || !strings.Contains(got.err, "kiroku stats list") {
		t.Errorf("exit status %d: %s", got.code, got.err)
	}
}

// TestStatsWithABrokenEngine says what the engine said, and what to do.
func TestStatsWithABrokenEngine(t *testing.T) {
	library := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(library, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := kirokuIn(t, append(clean(), "KIROKU_CHDB="+library), "stats", "show", "by_month", "--data", t.TempDir())
	if got.code == 0 || !strings.Contains(got.err, "file too short") || !strings.Contains(got.err, "run ops/setup") {
		t.Errorf("exit status %d: %s", got.code, got.err)
	}
}

// TestAFormatIsRefused says how to get another one.
func TestAFormatIsRefused(t *testing.T) {
	got := kiroku(t, "stats", "sql", "SELECT 1 format CSV;", "--data", t.TempDir())
	if got.code == 0 || !strings.Contains(got.err, "--json") {
		t.Errorf("exit status %d: %s%s", got.code, got.out, got.err)
	}
}
