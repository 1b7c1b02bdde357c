package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// served is a running core with what a backup of it needs.
type served struct {
	*process
	data, keys, identity, recipient string
}

func serveForBackups(t *testing.T) served {
	t.Helper()
	away := t.TempDir()
	s := served{data: filepath.Join(t.TempDir(), "data"), keys: filepath.Join(away, "keys.pem"), identity: filepath.Join(away, "identity")}
	s.process = start(t, s.data, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, s.data); return ok })
	kiroku(t, "keys", "export-public", "--data", s.data, "--out", s.keys).must(t)
	s.recipient = strings.TrimSpace(kiroku(t, "backup", "identity", "--out", s.identity).must(t).out)
	return s
}

// created is what kiroku backup create --json prints.
type created struct {
	Continued bool
	Backup    struct {
		ID, Manifest string
		Events       int
		Segments     int
	}
}

func (s served) create(t *testing.T, folder string, more ...string) created {
	t.Helper()
	got := kiroku(t, append([]string{"backup", "create", folder, "--recipient", s.recipient, "--segment-mib", "1", "--data", s.data, "--json"}, more...)...).must(t)
	var c created
	if err := json.Unmarshal([]byte(got.out), &c); err != nil || c.Backup.Events == 0 {
		t.Fatalf("%v %s", err, got.out)
	}
	return c
}

// operations counts what is recorded in the audit stream, sealed.
func (s served) operations(t *testing.T) int {
	t.Helper()
	return strings.Count(kiroku(t, "dump", "--stream", "audit", "--data", s.data).must(t).out, `"type":"operation-recorded"`)
}

// TestBackupVerifyRestore goes the whole way: a backup of a core that serves, checked apart from it, restored into another
// directory, in which a core then begins with the token of the first.
func TestBackupVerifyRestore(t *testing.T) {
	s := serveForBackups(t)
	folder, elsewhere := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "elsewhere")
	before := s.operations(t)
	c := s.create(t, folder)
	if n := s.operations(t) - before; n != 2 {
		t.Errorf("%d operations are recorded, want that it was begun and that it was finished", n)
	}
	if got := kiroku(t, "backup", "create", folder, "--recipient", s.recipient, "--data", s.data); got.code != 2 || !strings.Contains(got.err, "finished backup") {
		t.Errorf("once more into the same folder: %d %s", got.code, got.err)
	}
	verified := kiroku(t, "backup", "verify", folder, "--identity", s.identity, "--keys", s.keys, "--manifest", c.Backup.Manifest).must(t).out
	for _, said := range []string{c.Backup.ID, c.Backup.Manifest, "registry", "record-03", "all is in order"} {
		if !strings.Contains(verified, said) {
			t.Errorf("%q is missing in\n%s", said, verified)
		}
	}
	if got := kiroku(t, "backup", "verify", folder, "--identity", s.identity, "--manifest", strings.Repeat("0", 64)); got.code != 1 || !strings.Contains(got.err, "manifest.jsonl") {
		t.Errorf("another manifest's digest: %d %s", got.code, got.err)
	}
	if code := s.stop(t); code != 0 {
		t.Fatal(code)
	}
	if got := kiroku(t, "backup", "restore", folder, "--identity", s.identity, "--data", elsewhere); got.code != 2 || !strings.Contains(got.err, "--keys") {
		t.Errorf("no keys to trust: %d %s", got.code, got.err)
	}
	restored := kiroku(t, "backup", "restore", folder, "--identity", s.identity, "--keys", s.keys, "--data", elsewhere).must(t).out
	if !strings.Contains(restored, "verified") || !strings.Contains(restored, "hsm") || !strings.Contains(restored, "kiroku serve") {
		t.Errorf("how to go on is missing in\n%s", restored)
	}
	if got := kiroku(t, "serve", "--data", elsewhere); got.code != 2 || !strings.Contains(got.err, "token") {
		t.Errorf("served without the token: %d %s", got.code, got.err)
	}
	if err := os.Rename(filepath.Join(s.data, "hsm"), filepath.Join(elsewhere, "hsm")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(elsewhere, "hsm", "softhsm2.conf")); err != nil { // it names the old folder, and is made anew
		t.Fatal(err)
	}
	p := start(t, elsewhere, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, elsewhere); return ok })
	kiroku(t, "verify", "--data", elsewhere, "--keys", s.keys).must(t)
	if code := p.stop(t); code != 0 {
		t.Error(code)
	}
	if got := kiroku(t, "backup", "restore", folder, "--identity", s.identity, "--keys", s.keys, "--data", elsewhere); got.code != 2 || !strings.Contains(got.err, "not empty") || !strings.Contains(got.err, "store") {
		t.Errorf("restored over a ledger: %d %s", got.code, got.err)
	}
}

// TestBackupsOfNothingAndForNobody are refused before anything is written.
func TestBackupsOfNothingAndForNobody(t *testing.T) {
	data, folder := ledgerDirectory(t), filepath.Join(t.TempDir(), "backup")
	identity := filepath.Join(t.TempDir(), "identity")
	recipient := strings.TrimSpace(kiroku(t, "backup", "identity", "--out", identity).must(t).out)
	if got := kiroku(t, "backup", "identity", "--out", identity); got.code != 2 || !strings.Contains(got.err, "exists") {
		t.Errorf("an identity was overwritten: %d %s", got.code, got.err)
	}
	for what, c := range map[string]struct {
		arguments []string
		said      string
	}{
		"no core runs":  {[]string{"--recipient", recipient}, "not running"},
		"no recipient":  {nil, "recipients"},
		"not a key":     {[]string{"--recipient", "age1x"}, "public key"},
		"no such file":  {[]string{"--recipients-file", filepath.Join(data, "none")}, "no such file"},
		"segments of 0": {[]string{"--recipient", recipient, "--segment-mib", "0"}, "segment-mib"},
	} {
		got := kiroku(t, append([]string{"backup", "create", folder, "--data", data}, c.arguments...)...)
		if got.code != 2 || !strings.Contains(got.err, c.said) {
			t.Errorf("%s: %d %s", what, got.code, got.err)
		}
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}
}

// TestADamagedBackupIsNamed by verify and by restore, which then writes nothing.
func TestADamagedBackupIsNamed(t *testing.T) {
	s := serveForBackups(t)
	folder, elsewhere := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "elsewhere")
	s.create(t, folder)
	stranger := filepath.Join(t.TempDir(), "stranger")
	kiroku(t, "backup", "identity", "--out", stranger).must(t)
	both := func(what, identity string, code int, said ...string) {
		t.Helper()
		for _, arguments := range [][]string{{"verify"}, {"restore", "--data", elsewhere}} {
			arguments = append([]string{"backup", arguments[0], folder, "--identity", identity, "--keys", s.keys}, arguments[1:]...)
			got := kiroku(t, arguments...)
			for _, words := range said {
				if got.code != code || !strings.Contains(got.out+got.err, words) {
					t.Errorf("%s, %s: %d, %q is missing in\n%s%s", what, arguments[1], got.code, words, got.out, got.err)
				}
			}
		}
		if _, err := os.Stat(elsewhere); !os.IsNotExist(err) {
			t.Errorf("%s: something was restored: %v", what, err)
		}
	}
	for name, said := range map[string]string{"segment-000002.age": "vault", "manifest.jsonl": "line"} {
		path := filepath.Join(folder, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		harmed := bytes.Clone(text)
		harmed[len(text)/2] ^= 1
		if err := os.WriteFile(path, harmed, 0o600); err != nil {
			t.Fatal(err)
		}
		both("a flipped byte", s.identity, 1, name, said)
		if got := kiroku(t, "backup", "restore", folder, "--identity", s.identity, "--data", elsewhere); got.code != 1 || !strings.Contains(got.out+got.err, name) {
			t.Errorf("without a token or keys the damage is not named first: %d\n%s%s", got.code, got.out, got.err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	both("another's identity", stranger, 2, "none of the backup's recipients")
	if err := os.Chmod(s.identity, 0o644); err != nil {
		t.Fatal(err)
	}
	both("an identity that others can read", s.identity, 2, "chmod 600")
	if err := os.Chmod(s.identity, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(folder, "segment-000001.age"), filepath.Join(folder, "segment-900001.age")); err != nil {
		t.Fatal(err)
	}
	both("a file renamed", s.identity, 1, "segment-000001.age: it is missing", "segment-900001.age: the manifest knows no such segment")
}

// TestABackupKilledWhileItIsMadeGoesOn kills it at each of several segments: where the next file would be opened stands a
// pipe that nobody reads, so it waits there.
func TestABackupKilledWhileItIsMadeGoesOn(t *testing.T) {
	s := serveForBackups(t)
	folder := filepath.Join(t.TempDir(), "backup")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	manifest := func() string {
		text, _ := os.ReadFile(filepath.Join(folder, "manifest.jsonl"))
		return string(text)
	}
	before := s.operations(t)
	arguments := []string{"backup", "create", folder, "--recipient", s.recipient, "--segment-mib", "1"}
	for _, at := range []int{1, 3, 4} {
		name := fmt.Sprintf("%06d", at)
		pipe := filepath.Join(folder, ".segment-"+name+".age.part")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		p := start(t, s.data, arguments...)
		eventually(t, "it waits at segment "+name, func() bool { return strings.Count(manifest(), "\n") == at })
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.exited
		if err := os.Remove(pipe); err != nil {
			t.Fatal(err)
		}
	}
	first, _, _ := strings.Cut(manifest(), "\n")
	c := s.create(t, folder)
	if !c.Continued || !strings.HasPrefix(manifest(), first+"\n") || !strings.Contains(first, c.Backup.ID) {
		t.Errorf("%+v is not the backup that was begun: %s", c, first)
	}
	if n := s.operations(t) - before; n != 5 {
		t.Errorf("%d operations are recorded; it was begun, continued three times and finished", n)
	}
	kiroku(t, "backup", "verify", folder, "--identity", s.identity, "--keys", s.keys).must(t)
}

// TestARestoreThatWasKilledGoesOn, and before it has, no core begins there. The restore is made to wait in the middle of a
// segment, which it reads from a pipe.
func TestARestoreThatWasKilledGoesOn(t *testing.T) {
	s := serveForBackups(t)
	folder, elsewhere := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "elsewhere")
	s.create(t, folder)
	segment, kept := filepath.Join(folder, "segment-000003.age"), filepath.Join(t.TempDir(), "kept")
	if err := os.Rename(segment, kept); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(segment, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{"backup", "restore", folder, "--identity", s.identity, "--keys", s.keys}
	p := start(t, elsewhere, arguments...)
	feed := func(part []byte) io.Closer {
		pipe, err := os.OpenFile(segment, os.O_WRONLY, 0) // waits for the reader
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pipe.Write(part); err != nil {
			t.Fatal(err)
		}
		return pipe
	}
	if err := feed(text).Close(); err != nil { // the check of the files
		t.Fatal(err)
	}
	eventually(t, "it writes", func() bool {
		state, _ := os.ReadFile(filepath.Join(elsewhere, "restore.json"))
		return strings.Contains(string(state), `"writing":true`)
	})
	pipe := feed(text[:len(text)/2])
	defer pipe.Close()
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if err := os.Rename(kept, segment); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store has ended", func() bool {
		a, ok := endpoint(t, elsewhere, "store")
		return !ok || gone(a.PID)
	})
	if got := kiroku(t, "serve", "--data", elsewhere); got.code != 2 || !strings.Contains(got.err, "not finished") {
		t.Errorf("a core began on half a ledger: %d %s", got.code, got.err)
	}
	other := filepath.Join(t.TempDir(), "other")
	s.create(t, other)
	if got := kiroku(t, "backup", "restore", other, "--identity", s.identity, "--keys", s.keys, "--data", elsewhere); got.code != 2 || !strings.Contains(got.err, "another backup") {
		t.Errorf("another backup over it: %d %s", got.code, got.err)
	}
	kiroku(t, append(arguments, "--data", elsewhere)...).must(t)
	kiroku(t, "verify", "--data", elsewhere, "--keys", s.keys).must(t)
}

// TestABackupOfAnotherLedgerIsNotServed: whoever made it, only what the given keys signed counts.
func TestABackupOfAnotherLedgerIsNotServed(t *testing.T) {
	s, keys := serveForBackups(t), filepath.Join(t.TempDir(), "keys.pem")
	kiroku(t, "keys", "export-public", "--data", ledgerDirectory(t), "--out", keys).must(t)
	folder, elsewhere := filepath.Join(t.TempDir(), "backup"), filepath.Join(t.TempDir(), "elsewhere")
	s.create(t, folder)
	if got := kiroku(t, "backup", "verify", folder, "--identity", s.identity, "--keys", keys); got.code != 1 || !strings.Contains(got.out, "registry, event 0") {
		t.Errorf("verify: %d %s%s", got.code, got.out, got.err)
	}
	got := kiroku(t, "backup", "restore", folder, "--identity", s.identity, "--keys", keys, "--data", elsewhere)
	if got.code != 1 || !strings.Contains(got.err, "does not verify") {
		t.Errorf("restore: %d %s%s", got.code, got.out, got.err)
	}
	if got := kiroku(t, "serve", "--data", elsewhere); got.code != 2 || !strings.Contains(got.err, "not finished") {
		t.Errorf("serve: %d %s", got.code, got.err)
	}
}

// TestRestoredIntoANamedStore fills a store that the configuration names, once.
func TestRestoredIntoANamedStore(t *testing.T) {
	s := serveForBackups(t)
	folder := filepath.Join(t.TempDir(), "backup")
	s.create(t, folder)
	stores := filepath.Join(t.TempDir(), "stores")
	start(t, stores, "store")
	eventually(t, "the store runs", func() bool { _, ok := endpoint(t, stores, "store"); return ok })
	a, _ := endpoint(t, stores, "store")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(a.Passwords["kiroku"]), 0o600); err != nil {
		t.Fatal(err)
	}
	named := []string{"--set", "store.connection=esdb://" + a.Address, "--set", "store.user=kiroku", "--set", "store.password_file=" + password,
		"--set", "store.ca_file=" + filepath.Join(stores, "tls", "ca.pem")}
	restore := func() result {
		arguments := []string{"backup", "restore", folder, "--identity", s.identity, "--keys", s.keys, "--data", filepath.Join(t.TempDir(), "data")}
		return kiroku(t, append(arguments, named...)...)
	}
	restore().must(t)
	kiroku(t, append([]string{"verify", "--keys", s.keys, "--data", filepath.Join(t.TempDir(), "data")}, named...)...).must(t)
	if got := restore(); got.code != 2 || !strings.Contains(got.err, "registry exists") || !strings.Contains(got.err, "not empty") {
		t.Errorf("into a store that is full: %d %s", got.code, got.err)
	}
}
