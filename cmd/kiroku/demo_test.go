package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

type demoReport struct {
	People           int            `json:"people"`
	Agencies         int            `json:"agencies"`
	SymbolsIssued    int            `json:"symbols_issued"`
	AlreadyAcquired  int            `json:"already_acquired"`
	Inquiries        int            `json:"inquiries"`
	Provided         int            `json:"provided"`
	Unanswerable     int            `json:"unanswerable"`
	Refused          map[string]int `json:"refused"`
	Lapsed           int            `json:"lapsed"`
	DisclosedRecords int            `json:"disclosed_records"`
	Events           int            `json:"events"`
	VerifiedEvents   int            `json:"verified_events"`
	ElapsedMS        int            `json:"elapsed_ms"`
}

// TestTheDemonstration runs it twice on one data directory, as a newcomer would, and lets others verify what it left.
func TestTheDemonstration(t *testing.T) {
	data, away := filepath.Join(t.TempDir(), "data"), t.TempDir()
	file := filepath.Join(away, "report.json")
	before := 0
	for run := range 2 {
		got := kiroku(t, "demo", "--data", data, "--people", "60", "--inquiries", "150", "--report", file).must(t)
		var r demoReport
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		refused := 0
		for reason, n := range r.Refused {
			if n == 0 {
				t.Errorf("run %d: nothing was refused as %s", run, reason)
			}
			refused += n
		}
		if len(r.Refused) < 6 || r.Provided == 0 || r.Unanswerable == 0 || r.Lapsed == 0 || r.AlreadyAcquired == 0 || r.DisclosedRecords == 0 || r.ElapsedMS == 0 {
			t.Errorf("run %d: an outcome is missing: %s", run, text)
		}
		if r.Provided+r.Unanswerable+refused+r.Lapsed != r.Inquiries || r.Inquiries != 150 || r.People != 60 || r.Agencies != 6 {
			t.Errorf("run %d: the counts do not add up: %s", run, text)
		}
		if r.Events != r.VerifiedEvents || r.Events <= before+r.SymbolsIssued+r.Inquiries {
			t.Errorf("run %d: %d events, %d verified, after %d", run, r.Events, r.VerifiedEvents, before)
		}
		before = r.Events
		if !strings.Contains(got.out, "what one of them saw") || !strings.Contains(got.out, "提供") {
			t.Errorf("run %d tells:\n%s", run, got.out)
		}
	}
	dump, keys, heads := filepath.Join(away, "dump.jsonl"), filepath.Join(away, "keys.pem"), filepath.Join(away, "heads.json")
	for _, arguments := range [][]string{
		{"dump", "--data", data, "--out", dump}, {"keys", "export-public", "--data", data, "--out", keys}, {"heads", "--data", data, "--out", heads},
		{"verify", "--data", data}, {"verify", "--from", dump, "--keys", keys, "--heads", heads},
	} {
		kiroku(t, arguments...).must(t)
	}
	second(t, 0, "--from", dump, "--keys", keys, "--heads", heads)
	text, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	if err := os.WriteFile(dump, []byte(strings.Join(append(lines[:len(lines)/2:len(lines)/2], lines[len(lines)/2+1:]...), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	second(t, 1, "--from", dump, "--keys", keys, "--heads", heads)
	if got := kiroku(t, "verify", "--from", dump, "--keys", keys, "--heads", heads); got.code != 1 {
		t.Errorf("an event is missing from the dump, and kiroku verify exits %d", got.code)
	}
}

// second runs the other verifier.
func second(t *testing.T, want int, arguments ...string) {
	t.Helper()
	node(t, want, append([]string{filepath.Join("..", "..", "ops", "verify.mjs")}, arguments...)...)
}

// node runs a script and expects an exit status.
func node(t *testing.T, want int, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "node", arguments...)
	out, err := command.CombinedOutput()
	if command.ProcessState == nil {
		t.Fatalf("node cannot be run; ops/setup says what to install: %v", err)
	}
	if code := command.ProcessState.ExitCode(); code != want {
		t.Errorf("node %v: exit status %d, want %d\n%s", arguments, code, want, out)
	}
}
