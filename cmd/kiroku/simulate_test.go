package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// TestYearsAndTheirCertificates lets days live and end, and takes what proves their end to an auditor, who has nothing but
// the file, the public keys and a head.
func TestYearsAndTheirCertificates(t *testing.T) {
	t.Parallel()
	data, away := filepath.Join(t.TempDir(), "data"), t.TempDir()
	report := filepath.Join(away, "report.json")
	arguments := []string{"simulate", "years", "--data", data, "--days", "2562", "--busy", "3", "--per-day", "4", "--from", "2028-02-27", "--checks", "1", "--report", report}
	got := kiroku(t, arguments...).must(t)
	if !strings.Contains(got.out, "each with one certificate") || strings.Contains(got.err, "\r") {
		t.Errorf("%s%s", got.out, got.err)
	}
	var said struct {
		Ended int `json:"days_ended"`
		Years []struct {
			Store int64 `json:"store_bytes"`
		} `json:"years"`
	}
	if text, err := os.ReadFile(report); err != nil || json.Unmarshal(text, &said) != nil || said.Ended != 4 || len(said.Years) == 0 || said.Years[0].Store == 0 {
		t.Errorf("%v %+v", err, said)
	}
	if again := kiroku(t, arguments...); again.code != 2 || !strings.Contains(again.err, "--anew") {
		t.Errorf("over an earlier simulation: %d %s", again.code, again.err)
	}

	lived := filepath.Join(data, "simulation")
	keys, heads, bundle := filepath.Join(away, "keys.pem"), filepath.Join(away, "heads.json"), filepath.Join(away, "certificates.jsonl")
	kiroku(t, "keys", "export-public", "--data", lived, "--out", keys).must(t)
	kiroku(t, "heads", "--data", lived, "--out", heads).must(t)
	kiroku(t, "verify", "--data", lived, "--keys", keys, "--heads", heads).must(t)
	listed := kiroku(t, "retention", "certificates", "--data", lived, "--out", bundle).must(t)
	for _, says := range []string{"2028-02-27", "2028-03-01", "certified", "4 days ended"} {
		if !strings.Contains(listed.out, says) {
			t.Errorf("the list does not say %q: %s", says, listed.out)
		}
	}
	proof := func(file string) (result, certificates) {
		r := kiroku(t, "retention", "certificates", "--verify", "--from", file, "--keys", keys, "--heads", heads, "--data", filepath.Join(away, "none"), "--json")
		var c certificates
		if err := json.Unmarshal([]byte(r.out), &c); err != nil && r.code != 2 {
			t.Fatalf("%v: %s%s", err, r.out, r.err)
		}
		return r, c
	}
	if r, c := proof(bundle); r.code != 0 || !c.OK || !c.Verified || len(c.Days) != 4 || c.Days[0].Anchored == "" {
		t.Errorf("%d %s %+v", r.code, r.err, c)
	}
	tampered(t, bundle, filepath.Join(away, "tampered.jsonl"), func(events []ledger.Event) []ledger.Event {
		i := slices.IndexFunc(events, func(e ledger.Event) bool { return e.Type == event.TypeDayCertified })
		events[i].Data = bytes.Replace(events[i].Data, []byte("2028-02-27"), []byte("2028-02-28"), 1)
		return events
	})
	r, c := proof(filepath.Join(away, "tampered.jsonl"))
	if r.code != 1 || c.OK || len(c.Days) == 0 || !strings.Contains(strings.Join(c.Days[0].Flaws, " "), "there is no certificate") {
		t.Errorf("%d %s %+v", r.code, r.err, c)
	}
	tampered(t, bundle, filepath.Join(away, "cut.jsonl"), func(events []ledger.Event) []ledger.Event {
		return slices.DeleteFunc(events, func(e ledger.Event) bool {
			return bytes.Contains(e.Data, []byte("2028-02-28")) && (e.Type == event.TypeDayCertified || e.Type == event.TypeDayKeyDestroyed)
		})
	})
	if r := kiroku(t, "retention", "certificates", "--verify", "--from", filepath.Join(away, "cut.jsonl"), "--keys", keys); r.code != 1 || !strings.Contains(r.out, "2028-02-28: there is no proof") {
		t.Errorf("%d %s%s", r.code, r.out, r.err)
	}
	if r := kiroku(t, "retention", "certificates", "--from", filepath.Join(away, "nothing.jsonl"), "--keys", keys); r.code != 2 {
		t.Errorf("no such file: %d", r.code)
	}
	certificatesAgainstHeads(t, lived, bundle, keys, heads)
}

// certificatesAgainstHeads holds a store and a bundle against heads that are theirs and that are not.
func certificatesAgainstHeads(t *testing.T, lived, bundle, keys, heads string) {
	t.Helper()
	away := t.TempDir()
	cut := filepath.Join(away, "cut.jsonl")
	tampered(t, bundle, cut, func(events []ledger.Event) []ledger.Event {
		last := len(events) - 1
		for events[last].Stream != event.StreamRegistry {
			last--
		}
		return slices.Delete(events, last, last+1)
	})
	text, err := os.ReadFile(heads)
	if err != nil {
		t.Fatal(err)
	}
	known, err := ledger.ParseHeads(text)
	if err != nil {
		t.Fatal(err)
	}
	root := slices.IndexFunc(known.Heads, func(h ledger.AnchoredHead) bool { return h.Stream == event.StreamRegistry })
	written := func(name string, change func(*ledger.Heads)) string {
		h := known
		h.Heads = slices.Clone(known.Heads)
		change(&h)
		text, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(away, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	store, file, none := []string{"--data", lived}, []string{"--from", bundle}, []string{"--from", cut}
	for _, row := range []struct {
		name  string
		from  []string
		heads string
		code  int
		says  string
	}{
		{"a store", store, heads, 0, fmt.Sprintf("%d of %d heads compared", len(known.Heads), len(known.Heads))},
		{"a bundle", file, heads, 0, "4 certificates, 4 chain positions compared"},
		{"a bundle that was cut off", none, heads, 1, "what followed is missing"},
		{"a store that ends before", store, written("later.json", func(h *ledger.Heads) { h.Heads[root].Count += 7 }), 1, "the registry ends after"},
		{"another event", store, written("other.json", func(h *ledger.Heads) { h.Heads[root].Leaf[0] ^= 1 }), 1, "another event stands there"},
		{"another ledger", store, written("foreign.json", func(h *ledger.Heads) { h.Ledger = strings.Repeat("0", 64) }), 1, "another ledger"},
		{"a stream that ends before", store, written("stream.json", func(h *ledger.Heads) { h.Heads[0].Count += 7 }), 1, "is not there"},
		{"none that a bundle has", file, written("none.json", func(h *ledger.Heads) {
			h.Heads, h.Time = []ledger.AnchoredHead{{Stream: "issuance", Count: 1 << 40}}, h.Time.AddDate(50, 0, 0)
		}), 1, "none of the heads"},
	} {
		r := kiroku(t, append([]string{"retention", "certificates", "--verify", "--keys", keys, "--heads", row.heads}, row.from...)...)
		if r.code != row.code || !strings.Contains(r.out, row.says) {
			t.Errorf("%s: %d %s%s", row.name, r.code, r.out, r.err)
		}
	}
}

// certificates is what kiroku retention certificates --json prints.
type certificates struct {
	OK       bool `json:"ok"`
	Verified bool `json:"verified"`
	Days     []struct {
		Day      string   `json:"day"`
		Anchored string   `json:"anchored"`
		Flaws    []string `json:"flaws"`
	} `json:"days"`
}

// tampered writes a dump with its events changed.
func tampered(t *testing.T, from, to string, change func([]ledger.Event) []ledger.Event) {
	t.Helper()
	file, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var events []ledger.Event
	for e, err := range ledger.ReadDump(file) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	var out []byte
	for _, e := range change(events) {
		if out, err = ledger.AppendDumpLine(out, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(to, out, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A folder that no simulation made is left alone, and what cannot be simulated is said.
func TestASimulationRemovesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	kept := filepath.Join(data, "simulation", "letter")
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := kiroku(t, "simulate", "years", "--data", data, "--days", "1", "--anew"); r.code != 2 || !strings.Contains(r.err, "no simulation made") {
		t.Errorf("%d %s", r.code, r.err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	if r := kiroku(t, "simulate", "years", "--data", data, "--per-day", "1"); r.code != 2 {
		t.Errorf("%d %s", r.code, r.err)
	}
}
