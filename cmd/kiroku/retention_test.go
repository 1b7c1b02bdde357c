package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/adapters/hsm"
	"kiroku/domain/calendar"
)

// plan is what kiroku retention plan --json prints.
type plan struct {
	Today string         `json:"today"`
	Count map[string]int `json:"counts"`
	Days  []struct {
		Day, Stage, Due string
		Key             bool
		Events          uint64
	} `json:"days"`
}

func planned(t *testing.T, data string, arguments ...string) (p plan, r result) {
	t.Helper()
	r = kiroku(t, append([]string{"retention", "plan", "--json", "--data", data}, arguments...)...)
	if err := json.Unmarshal([]byte(r.out), &p); err != nil {
		t.Fatalf("%v: %s%s", err, r.out, r.err)
	}
	return p, r
}

// TestRetentionOfARunningCore: keys are made ahead, the plan names the days, and a lost key is told of.
func TestRetentionOfARunningCore(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for _, arguments := range [][]string{{"retention", "run", "--once"}, {"retention", "run", "--dry-run"}, {"retention", "plan"}} {
		if r := kiroku(t, append(arguments, "--data", data)...); r.code != 2 || !strings.Contains(r.err, "not running") || !strings.Contains(r.err, "start it with kiroku serve") {
			t.Errorf("%v without a core: %d %s", arguments, r.code, r.err)
		}
	}
	p := start(t, data, "serve", "--set", "statistics.connection=off")
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	eventually(t, "the keys of today and tomorrow are made", func() bool {
		all, _ := planned(t, data, "--all")
		return len(all.Days) == 2
	})
	kiroku(t, "hold", "add", "--from", "2020-01-01", "--to", "2020-01-31", "--until", calendar.DayOf(time.Now()).AddDays(900).String(), "--authority", "court", "--reason", "order", "--data", data).must(t)
	all, r := planned(t, data, "--all")
	if r.must(t); all.Count["kept"] != 2 || all.Days[0].Day != all.Today || !all.Days[0].Key || all.Days[0].Events == 0 || all.Days[1].Events != 0 {
		t.Errorf("%+v", all)
	}
	if some, _ := planned(t, data); len(some.Days) != 0 {
		t.Errorf("days far from their end are shown: %+v", some)
	}
	if text := kiroku(t, "retention", "plan", "--all", "--data", data).must(t).out; !strings.Contains(text, all.Today) || !strings.Contains(text, "2 days kept") {
		t.Error(text)
	}
	if text := kiroku(t, "retention", "run", "--dry-run", "--data", data).must(t).out; !strings.Contains(text, "would destroy 0 days") {
		t.Error(text)
	}
	if text := kiroku(t, "retention", "run", "--once", "--data", data).must(t).out; !strings.Contains(text, "0 destroyed") {
		t.Error(text)
	}
	if r := kiroku(t, "retention", "run", "--data", data); r.code != 2 || !strings.Contains(r.err, "--once") {
		t.Errorf("%d %s", r.code, r.err)
	}
	loseKey(t, data, all.Today)
	if _, r := planned(t, data); r.code != 1 || !strings.Contains(r.err, "lacks the key of "+all.Today) {
		t.Errorf("a lost key: %d %s", r.code, r.err)
	}
	if r := kiroku(t, "retention", "run", "--once", "--data", data); r.code != 1 || !strings.Contains(r.err, "lacks the key") {
		t.Errorf("a lost key: %d %s", r.code, r.err)
	}
	if ok, why := ready(t, data); ok || !strings.Contains(why, "retention") {
		t.Errorf("ready without the key of a day: %s", why)
	}
	if text := scrape(t, data); !strings.Contains(text, `kiroku_retention_days{stage="key missing"} 1`) || !strings.Contains(text, "kiroku_retention_failures_total 1") {
		t.Errorf("the metrics do not tell:\n%s", text)
	}
	if !strings.Contains(p.String(), `"level":"ERROR"`) {
		t.Error("the log does not tell")
	}
}

// loseKey takes a day's key out of the development token.
func loseKey(t *testing.T, data, day string) {
	t.Helper()
	config, err := hsm.Provision(datadir.Dir(data).HSM(), "kiroku")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := hsm.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if err := opened.Destroy(t.Context(), "record/"+day); err != nil {
		t.Fatal(err)
	}
}

func scrape(t *testing.T, data string) string {
	t.Helper()
	a, ok := endpoint(t, data, "admin")
	if !ok {
		t.Fatal("no admin endpoint")
	}
	answer, err := http.Get("http://" + a.Address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
