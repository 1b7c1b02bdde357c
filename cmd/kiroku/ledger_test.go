package main_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// ledgerDirectory is a data directory with a ledger that was opened and closed.
func ledgerDirectory(t *testing.T) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, data, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	if code := p.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	return data
}

// TestAnAuditorsDay takes what an auditor takes away, and then tampers with it
// in the ways an auditor is there to notice.
func TestAnAuditorsDay(t *testing.T) {
	data, away := ledgerDirectory(t), t.TempDir()
	keys, heads, dump := filepath.Join(away, "keys.pem"), filepath.Join(away, "heads.json"), filepath.Join(away, "ledger.jsonl")
	kiroku(t, "keys", "export-public", "--data", data, "--out", keys).must(t)
	kiroku(t, "heads", "--data", data, "--out", heads).must(t)
	kiroku(t, "dump", "--data", data, "--out", dump).must(t)

	for _, arguments := range [][]string{
		{"verify", "--data", data}, {"verify", "--data", data, "--keys", keys, "--heads", heads}, {"verify", "--from", dump, "--keys", keys, "--heads", heads},
	} {
		got := kiroku(t, append(arguments, "--json")...).must(t)
		var v struct {
			OK     bool
			Events int
		}
		if err := json.Unmarshal([]byte(got.out), &v); err != nil || !v.OK || v.Events == 0 {
			t.Errorf("%v: %v %s", arguments, err, got.out)
		}
	}

	text, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimSpace(text), []byte("\n"))
	lines[len(lines)-1] = append(lines[len(lines)-1], '\n')
	last := len(lines) - 1
	for name, tampered := range map[string][][]byte{
		"an event removed":     append(append([][]byte{}, lines[:1]...), lines[2:]...),
		"the end cut off":      lines[:last],
		"two events exchanged": append([][]byte{lines[1], lines[0]}, lines[2:]...),
		"an event twice":       append(append([][]byte{}, lines...), lines[last]),
	} {
		forged := filepath.Join(away, "forged.jsonl")
		if err := os.WriteFile(forged, bytes.Join(tampered, nil), 0o600); err != nil {
			t.Fatal(err)
		}
		got := kiroku(t, "verify", "--from", forged, "--keys", keys, "--heads", heads)
		if got.code != 1 || !strings.Contains(got.out, ", event ") {
			t.Errorf("%s: exit status %d\n%s%s", name, got.code, got.out, got.err)
		}
	}
	cut := filepath.Join(away, "cut.jsonl")
	if err := os.WriteFile(cut, text[:len(text)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	if got := kiroku(t, "verify", "--from", cut, "--keys", keys); got.code != 2 {
		t.Errorf("cut in the middle of a line: exit status %d\n%s", got.code, got.err)
	}
	if err := os.WriteFile(cut, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := kiroku(t, "verify", "--from", cut, "--keys", keys); got.code != 2 {
		t.Errorf("an empty dump: exit status %d\n%s", got.code, got.err)
	}
	other := ledgerDirectory(t)
	if got := kiroku(t, "verify", "--data", other, "--keys", keys); got.code != 1 {
		t.Errorf("a ledger signed with other keys: %d", got.code)
	}
}

// TestAnOlderStoreIsNoticed puts a copy of the store back, as after a careless
// restore.
func TestAnOlderStoreIsNoticed(t *testing.T) {
	data := ledgerDirectory(t)
	store, copied := filepath.Join(data, "store"), filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(copied, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	p := start(t, data, "serve") // a new epoch in every stream, anchored when it stops
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	if code := p.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(store, os.DirFS(copied)); err != nil {
		t.Fatal(err)
	}
	if got := kiroku(t, "verify", "--data", data); got.code != 1 {
		t.Errorf("verify: %d\n%s%s", got.code, got.out, got.err)
	}
	if got := kiroku(t, "serve", "--data", data); got.code != 2 || !strings.Contains(got.err, "older copy") {
		t.Errorf("serve: %d\n%s", got.code, got.err)
	}
}

func TestReadModelsOfARunningCore(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if got := kiroku(t, "projections", "status", "--data", data); got.code != 2 || !strings.Contains(got.err, "not running") {
		t.Errorf("%d %s", got.code, got.err)
	}
	p := start(t, data, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	shown := kiroku(t, "projections", "status", "--data", data).must(t).out
	for _, name := range []string{"registry", "dedup", "mediation", "disclosure"} {
		if !strings.Contains(shown, name) {
			t.Errorf("%s is missing in\n%s", name, shown)
		}
		kiroku(t, "projections", "rebuild", name, "--data", data).must(t)
	}
	if got := kiroku(t, "projections", "rebuild", "dedupe", "--data", data); got.code != 2 || !strings.Contains(got.err, "dedupe") {
		t.Errorf("%d %s", got.code, got.err)
	}
	kiroku(t, "verify", "--data", data).must(t) // while it serves
	if code := p.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// TestEverythingIsPrivate looks at what a day of work leaves on the disk.
func TestEverythingIsPrivate(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	data := ledgerDirectory(t)
	info, err := os.Stat(data)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory has mode %v, %v", info.Mode(), err)
	}
	for _, folder := range []string{"run", "tls", "hsm"} {
		err := filepath.WalkDir(filepath.Join(data, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
