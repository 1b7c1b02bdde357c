package ledger_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kiroku/domain/ledger"
)

// go test ./domain/ledger -update writes testdata again. Everything in it comes
// from software keys and fixed times, so it only changes with the format.
var update = flag.Bool("update", false, "write the test vectors again")

// vector is an entry of testdata/vectors.json; FORMAT.md describes it.
type vector struct {
	Name     string   `json:"name"`
	About    string   `json:"about"`
	Dump     string   `json:"dump"`
	Keys     string   `json:"keys"`
	Heads    []string `json:"heads"`
	Starts   []start  `json:"starts"`
	Events   uint64   `json:"events"`
	Verdict  string   `json:"verdict"`
	Findings []place  `json:"findings"`
}

type start struct {
	Stream string `json:"stream"`
	First  uint64 `json:"first"`
	Prev   string `json:"prev"`
}

// files of the vectors, by path below testdata.
type files map[string][]byte

func (f files) json(t *testing.T, name string, v any) {
	t.Helper()
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	f[name] = out.Bytes()
}

func dumpOf(t *testing.T, events []ledger.Event) []byte {
	t.Helper()
	var out []byte
	var err error
	for _, e := range events {
		if out, err = ledger.AppendDumpLine(out, e); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func generate(t *testing.T) files {
	f := files{}
	var vectors []vector
	for _, s := range scenarios {
		e := s.build(t)
		v := vector{Name: s.name, About: s.about, Events: uint64(len(e.events)), Verdict: "valid", Heads: []string{}, Starts: []start{}, Findings: []place{}}
		if len(s.want) > 0 {
			v.Verdict, v.Findings = "tampered", s.want
		}
		dir := v.Verdict + "/" + s.name + "/"
		v.Dump, v.Keys = dir+"dump.jsonl", dir+"keys.pem"
		f[v.Dump] = dumpOf(t, e.events)
		pem, err := keySet(t, e.keys...).MarshalPEM()
		if err != nil {
			t.Fatal(err)
		}
		f[v.Keys] = pem
		for i, h := range e.heads {
			name := fmt.Sprintf("%sheads-%d.json", dir, i+1)
			if f[name], err = h.Encode(); err != nil {
				t.Fatal(err)
			}
			v.Heads = append(v.Heads, name)
		}
		for _, s := range e.starts {
			v.Starts = append(v.Starts, start{s.Stream, s.First, s.Prev.String()})
		}
		vectors = append(vectors, v)
	}
	f.json(t, "vectors.json", vectors)
	f.json(t, "encodings.json", encodings(t))
	f.json(t, "refused.json", refused(t))
	return f
}

// The committed files are what the code writes today, no more and no less.
func TestVectorsAreUpToDate(t *testing.T) {
	f := generate(t)
	if *update {
		writeVectors(t, f)
	}
	found := 0
	err := filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel("testdata", path)
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if name == "fuzz" || name == "rapid" {
				return fs.SkipDir
			}
			return nil
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found++
		if !bytes.Equal(got, f[name]) {
			t.Errorf("%s is not what the code writes; if the format was meant to change, run with -update", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found != len(f) {
		t.Errorf("%d files in testdata, the code writes %d", found, len(f))
	}
}

func writeVectors(t *testing.T, f files) {
	t.Helper()
	for _, dir := range []string{"valid", "tampered"} {
		if err := os.RemoveAll(filepath.Join("testdata", dir)); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range f {
		path := filepath.Join("testdata", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The vectors as somebody else reads them: from the files alone.
func TestVectorsFromFiles(t *testing.T) {
	var vectors []vector
	if err := json.Unmarshal(readVector(t, "vectors.json"), &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			keys, err := ledger.ParseKeys(readVector(t, v.Keys))
			if err != nil {
				t.Fatal(err)
			}
			var options ledger.Options
			for _, name := range v.Heads {
				h, err := ledger.ParseHeads(readVector(t, name))
				if err != nil {
					t.Fatal(err)
				}
				options.Heads = append(options.Heads, h)
			}
			for _, s := range v.Starts {
				prev, err := hex.DecodeString(s.Prev)
				if err != nil {
					t.Fatal(err)
				}
				options.Starts = append(options.Starts, ledger.TrustedStart{Stream: s.Stream, First: s.First, Prev: ledger.Hash(prev)})
			}
			r, err := ledger.Verify(keys, options, ledger.ReadDump(bytes.NewReader(readVector(t, v.Dump))))
			if err != nil {
				t.Fatal(err)
			}
			if got := places(r.Findings); !slices.Equal(got, v.Findings) || r.OK() != (v.Verdict == "valid") || r.Events != v.Events {
				t.Errorf("%d events, %v\nwant %d, %v", r.Events, got, v.Events, v.Findings)
			}
		})
	}
}

func readVector(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refusal is an input that must not be read.
type refusal struct {
	Name string `json:"name"`
	Text string `json:"text,omitempty"` // of dump, keys and heads
	Hex  string `json:"hex,omitempty"`  // of payloads and metadata
}

type refusals struct {
	Dump       []refusal `json:"dump"`
	Keys       []refusal `json:"keys"`
	Heads      []refusal `json:"heads"`
	Metadata   []refusal `json:"metadata"`
	Anchor     []refusal `json:"anchor"`
	Truncation []refusal `json:"truncation"`
	DayOpened  []refusal `json:"day_opened"`
}

func TestRefused(t *testing.T) {
	r := refused(t)
	text := map[string]struct {
		cases []refusal
		read  func([]byte) error
		want  error
	}{
		"dump":       {r.Dump, readDumpError, ledger.ErrDump},
		"keys":       {r.Keys, func(b []byte) error { _, err := ledger.ParseKeys(b); return err }, nil},
		"heads":      {r.Heads, func(b []byte) error { _, err := ledger.ParseHeads(b); return err }, ledger.ErrHeads},
		"metadata":   {r.Metadata, func(b []byte) error { _, _, _, err := ledger.DecodeMetadata(b); return err }, ledger.ErrMetadata},
		"anchor":     {r.Anchor, func(b []byte) error { _, err := ledger.DecodeAnchor(b); return err }, nil},
		"truncation": {r.Truncation, func(b []byte) error { _, err := ledger.DecodeTruncation(b); return err }, nil},
		"day-opened": {r.DayOpened, func(b []byte) error { _, err := ledger.DecodeDayOpened(b); return err }, nil},
	}
	for name, part := range text {
		for _, c := range part.cases {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				in := []byte(c.Text)
				if c.Hex != "" {
					in = unhex(t, c.Hex)
				}
				if err := part.read(in); err == nil || part.want != nil && !errors.Is(err, part.want) {
					t.Errorf("got %v, want a refusal (%v)", err, part.want)
				}
			})
		}
	}
}

func readDumpError(b []byte) error {
	for _, err := range ledger.ReadDump(bytes.NewReader(b)) {
		if err != nil {
			return err
		}
	}
	return nil
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
