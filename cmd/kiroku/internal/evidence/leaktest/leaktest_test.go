package leaktest_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"kiroku/cmd/kiroku/internal/evidence/leaktest"
	"kiroku/domain/secret"
)

func secrets(t *testing.T) map[string][]byte {
	t.Helper()
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return b
	}
	return map[string][]byte{"code": []byte("48213905577"), "symbol": random(16), "key": random(32), "pin": []byte("correct-horse-1")}
}

func scanner(t *testing.T, all map[string][]byte) *leaktest.Scanner {
	t.Helper()
	var list []leaktest.Secret
	for name, value := range all {
		list = append(list, leaktest.Secret{Name: name, Value: value})
	}
	s, err := leaktest.New(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// found reports whether exactly the named secret is among the findings.
func found(all []leaktest.Finding, name string) bool {
	for _, f := range all {
		if f.Secret != name {
			return false
		}
	}
	return len(all) > 0
}

// ways are how software of every kind writes bytes; none of them uses the forms of the scan.
func ways(b []byte) map[string][]byte {
	out := map[string][]byte{
		"raw": b, "hex": []byte(hex.EncodeToString(b)), "HEX": fmt.Appendf(nil, "%X", b), "dump": fmt.Appendf(nil, "% x", b),
		"fmt": fmt.Appendf(nil, "%v", b), "Go": fmt.Appendf(nil, "%#v", b), "quoted": fmt.Appendf(nil, "%q", b), "quoted ASCII": fmt.Appendf(nil, "%+q", b),
	}
	array := make([]int, len(b))
	for i, c := range b {
		array[i] = int(c)
	}
	out["JSON of an array"], _ = json.Marshal(array)
	out["JSON of bytes"], _ = json.Marshal(b)
	var text bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "k", b)
	out["slog of bytes"] = text.Bytes()
	for before := range 7 {
		for after := range 4 {
			wide := append(append(bytes.Repeat([]byte{0xa7}, before), b...), bytes.Repeat([]byte{0x5b}, after)...)
			for name, e := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.URLEncoding, "raw std": base64.RawStdEncoding, "raw url": base64.RawURLEncoding} {
				out[fmt.Sprintf("base64 %s, %d before, %d after", name, before, after)] = []byte(e.EncodeToString(wide))
			}
		}
	}
	return out
}

func TestEverySecretIsFoundInEveryForm(t *testing.T) {
	all := secrets(t)
	s := scanner(t, all)
	for name, secret := range all {
		for way, written := range ways(secret) {
			for _, around := range []string{"", "x", "some text before it "} {
				text := append(append([]byte(around), written...), " and after"...)
				if !found(s.Scan("text", text), name) {
					t.Errorf("%s, written as %s, is not found, or another is", name, way)
				}
			}
		}
	}
	number, err := hex.DecodeString(fmt.Sprintf("%016x", 48213905353))
	if err != nil {
		t.Fatal(err)
	}
	code := fmt.Appendf(nil, "%d", 48213905353)
	s = scanner(t, map[string][]byte{"code": code})
	utf16 := strings.Join(strings.Split(string(code), ""), "\x00") + "\x00"
	for way, text := range map[string][]byte{"integer": number, "UTF-16LE": []byte(utf16), "UTF-16BE": []byte("\x00" + utf16), "JSON number": fmt.Appendf(nil, `{"n":%d}`, 48213905353)} {
		if !found(s.Scan("text", text), "code") {
			t.Errorf("a code as %s is not found", way)
		}
	}
}

func TestHalfOfAKeyIsFound(t *testing.T) {
	all := secrets(t)
	s := scanner(t, all)
	for _, half := range [][]byte{all["key"][:16], all["key"][16:]} {
		if !found(s.Scan("text", append([]byte("only "), half...)), "key") {
			t.Error("half of a key is not found")
		}
	}
}

func TestNothingIsFoundWhereNothingIs(t *testing.T) {
	s := scanner(t, secrets(t))
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise)
	for _, text := range [][]byte{noise, fmt.Appendf(nil, "%x", noise), make([]byte, 4096), nil, []byte("short")} {
		if f := s.Scan("noise", text); len(f) > 0 {
			t.Errorf("%v", f)
		}
	}
}

func TestAFindingShowsNoSecret(t *testing.T) {
	all := secrets(t)
	s := scanner(t, all)
	f := s.Scan("text", all["key"])
	if shown := fmt.Sprintf("%v %+v %q", f, f, leaktest.Summary(f)); len(s.Scan("finding", []byte(shown))) > 0 {
		t.Error("the finding shows what it found")
	}
}

func TestWhatCannotBeLookedForIsRefused(t *testing.T) {
	for name, value := range map[string][]byte{"short": []byte("1234567"), "nothing": nil, "zeros": make([]byte, 16)} {
		if _, err := leaktest.New(leaktest.Secret{Name: name, Value: value}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// TestTreeOpensStores plants a secret where the bytes of no file show it: in a row that is compressed, and in one that was
// overwritten there.
func TestTreeOpensStores(t *testing.T) {
	all := secrets(t)
	s := scanner(t, all)
	// The halves come first, in the other order, so that compression writes the whole as two references to them.
	wide := func(secret []byte) []byte {
		return bytes.Join([][]byte{secret[8:], []byte("between"), secret[:8], bytes.Repeat([]byte("-"), 100), secret, bytes.Repeat([]byte("-"), 100)}, nil)
	}
	opts := pebble.NoSync
	for where, plant := range map[string]func(*pebble.DB) error{
		"value in a table": func(db *pebble.DB) error {
			return first(db.Set([]byte("a"), wide(all["symbol"]), opts), db.Flush())
		},
		"key in a table": func(db *pebble.DB) error {
			return first(db.Set(append([]byte("k"), all["symbol"]...), []byte("v"), opts), db.Flush())
		},
		"row in the log": func(db *pebble.DB) error { return db.Set([]byte("a"), wide(all["symbol"]), pebble.Sync) },
		"row deleted": func(db *pebble.DB) error {
			return first(db.Set([]byte("a"), wide(all["symbol"]), opts), db.Flush(), db.Delete([]byte("a"), opts), db.Flush())
		},
	} {
		dir := t.TempDir()
		db, err := pebble.Open(filepath.Join(dir, "below", "store"), &pebble.Options{FormatMajorVersion: pebble.FormatNewest, DisableAutomaticCompactions: true, DisableWAL: where != "row in the log", Logger: quiet{}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			if err := db.Set(fmt.Appendf(nil, "b%03d", i), bytes.Repeat([]byte("row "), 50), opts); err != nil {
				t.Fatal(err)
			}
		}
		if err := first(plant(db), db.Close()); err != nil {
			t.Fatal(err)
		}
		all, n, err := s.Tree(dir)
		if err != nil || !found(all, "symbol") || n.Rows < 200 {
			t.Errorf("%s: %d rows, found %v, %v", where, n.Rows, all, err)
		}
		inFiles := slices.ContainsFunc(all, func(f leaktest.Finding) bool { return strings.HasPrefix(f.Where, "file ") })
		if compressed := strings.HasPrefix(where, "value"); compressed && inFiles {
			t.Errorf("%s: the bytes of a file show it: nothing was compressed", where)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pin"), all["pin"], 0o600); err != nil {
		t.Fatal(err)
	}
	if f, _, err := s.Tree(dir); err != nil || !found(f, "pin") {
		t.Errorf("in a file: %v, %v", f, err)
	}
	if err := os.Rename(filepath.Join(dir, "pin"), filepath.Join(dir, hex.EncodeToString(all["symbol"]))); err != nil {
		t.Fatal(err)
	}
	if f, _, err := s.Tree(dir); err != nil || len(f) != 2 {
		t.Errorf("in the name of a file: %v, %v", f, err)
	}
}

// What this process holds is found in its memory, on the heap and in what is kept out of core dumps; what it does not hold
// is not.
func TestMemoryFindsWhatAProcessHolds(t *testing.T) {
	held := secret.New(32)
	defer held.Destroy()
	_, _ = rand.Read(held.Expose())
	onHeap := make([]byte, 32)
	_, _ = rand.Read(onHeap)
	names := func(s *leaktest.Scanner) (all []string) {
		found, n, err := s.Memory(os.Getpid())
		if err != nil || n.Files < 5 || n.Bytes < 1<<20 {
			t.Fatalf("%+v, %v", n, err)
		}
		for _, f := range found {
			all = append(all, f.Secret)
		}
		return all
	}
	if all := names(scanner(t, map[string][]byte{"held": held.Expose(), "on the heap": onHeap})); !slices.Contains(all, "held") || !slices.Contains(all, "on the heap") {
		t.Errorf("found %v", all)
	}
	if _, _, err := scanner(t, secrets(t)).Memory(1 << 30); err == nil {
		t.Error("a process that is none has memory")
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// first returns the first error.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
