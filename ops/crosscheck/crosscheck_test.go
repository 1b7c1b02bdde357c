// Package crosscheck_test holds the two verifiers of the ledger to each other:
// domain/ledger, and ops/verify.mjs, which was written from FORMAT.md alone. It
// promises whoever relies on either that both give the same findings, on the
// test vectors and on ledgers damaged at random.
package crosscheck_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kiroku/domain/ledger"
)

const testdata = "../../domain/ledger/testdata"

// finding is what both verifiers have to agree on; how they word it is free.
type finding struct {
	Stream   string      `json:"stream"`
	Revision uint64      `json:"revision"`
	Kind     ledger.Kind `json:"kind"`
}

// start is a trusted start as in vectors.json.
type start struct {
	Stream string `json:"stream"`
	First  uint64 `json:"first"`
	Prev   string `json:"prev"`
}

// vector is an entry of vectors.json, FORMAT.md section 15. Verdict is also
// "unreadable" here.
type vector struct {
	Name     string    `json:"name"`
	Dump     string    `json:"dump"`
	Keys     string    `json:"keys"`
	Heads    []string  `json:"heads"`
	Starts   []start   `json:"starts"`
	Events   uint64    `json:"events"`
	Verdict  string    `json:"verdict"`
	Findings []finding `json:"findings"`
}

// verdicts are what ops/verify.mjs --vectors --json prints.
type verdicts struct {
	Vectors   []outcome `json:"vectors"`
	Encodings []outcome `json:"encodings"`
	Refused   []outcome `json:"refused"`
}

type outcome struct {
	Name     string    `json:"name"`
	Problem  string    `json:"problem"`
	Verdict  string    `json:"verdict"`
	Findings []finding `json:"findings"`
	Error    string    `json:"error"`
}

// node runs ops/verify.mjs and returns what it printed and its exit status.
func node(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	program, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("Node 20 or later is needed to run ops/verify.mjs, and is not installed: %v", err)
	}
	cmd := exec.Command(program, append([]string{filepath.Join("..", "verify.mjs")}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	var failed *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatalf("running %s: %v", program, err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// nodeVectors is the judgement of ops/verify.mjs on a folder of vectors.
func nodeVectors(t *testing.T, folder string) (verdicts, int) {
	t.Helper()
	stdout, stderr, status := node(t, "--vectors", folder, "--json")
	var v verdicts
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		t.Fatalf("ops/verify.mjs gave no result (status %d): %v\n%s", status, err, stderr)
	}
	return v, status
}

// judge is the judgement of domain/ledger on one vector.
func judge(t *testing.T, folder string, v vector) (verdict string, found []finding) {
	t.Helper()
	keys, err := ledger.ParseKeys(read(t, filepath.Join(folder, v.Keys)))
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	options := ledger.Options{MaxFindings: 1 << 20}
	for _, path := range v.Heads {
		heads, err := ledger.ParseHeads(read(t, filepath.Join(folder, path)))
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		options.Heads = append(options.Heads, heads)
	}
	for _, s := range v.Starts {
		options.Starts = append(options.Starts, ledger.TrustedStart{Stream: s.Stream, First: s.First, Prev: hash(t, s.Prev)})
	}
	dump := bytes.NewReader(read(t, filepath.Join(folder, v.Dump)))
	result, err := ledger.Verify(keys, options, ledger.ReadDump(dump))
	switch {
	case err != nil:
		return "unreadable", []finding{}
	case result.OK():
		return "valid", []finding{}
	}
	return "tampered", set(result.Findings)
}

// set turns sorted findings into a set, which is what FORMAT.md defines.
func set(all []ledger.Finding) []finding {
	found := make([]finding, len(all))
	for i, f := range all {
		found[i] = finding{f.Stream, f.Revision, f.Kind}
	}
	return slices.Compact(found)
}

func hash(t *testing.T, digits string) (h ledger.Hash) {
	t.Helper()
	if n, err := hex.Decode(h[:], []byte(digits)); err != nil || n != len(h) {
		t.Fatalf("%q is not a hash", digits)
	}
	return h
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// compare reports where the verifiers differ about one vector.
func compare(t *testing.T, v vector, got outcome) {
	t.Helper()
	if got.Name != v.Name || got.Verdict != v.Verdict || !slices.Equal(got.Findings, v.Findings) {
		t.Errorf("%s: domain/ledger: %s\n%s\nops/verify.mjs, %s: %s %s\n%s",
			v.Name, v.Verdict, list(v.Findings), got.Name, got.Verdict, got.Error, list(got.Findings))
	}
}

func list(found []finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "    %s %d %s\n", f.Stream, f.Revision, f.Kind)
	}
	return b.String()
}

// TestVectors holds both verifiers to each other on the published vectors, and
// the second one to the encodings and the refused inputs as well.
func TestVectors(t *testing.T) {
	vectors := readVectors(t)
	got, status := nodeVectors(t, testdata)
	if len(vectors) == 0 || len(got.Vectors) != len(vectors) || len(got.Encodings) == 0 || len(got.Refused) == 0 {
		t.Fatalf("of %d vectors ops/verify.mjs ran %d, besides %d encodings and %d refused inputs",
			len(vectors), len(got.Vectors), len(got.Encodings), len(got.Refused))
	}
	for i, v := range vectors {
		v.Verdict, v.Findings = judge(t, testdata, v)
		compare(t, v, got.Vectors[i])
	}
	for _, o := range slices.Concat(got.Vectors, got.Encodings, got.Refused) {
		if o.Problem != "" {
			t.Errorf("%s: %s", o.Name, o.Problem)
		}
	}
	if status != 0 && !t.Failed() {
		t.Errorf("exit status %d although all vectors agree", status)
	}
}

// TestDisagreementShows makes sure that TestVectors could fail: a vector that
// claims something else is named, and the status says so.
func TestDisagreementShows(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(testdata, "valid", "small"))); err != nil {
		t.Fatal(err)
	}
	wrong := []vector{{
		Name: "wrong", Dump: "dump.jsonl", Keys: "keys.pem", Heads: []string{}, Starts: []start{},
		Events: 20, Verdict: "tampered", Findings: []finding{{"registry", 1, ledger.KindMalformed}},
	}}
	text, err := json.Marshal(wrong)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "vectors.json"), text)
	stdout, _, status := node(t, "--vectors", folder)
	if status != 1 || !strings.Contains(stdout, "vectors: wrong: ") {
		t.Errorf("status %d, printed:\n%s", status, stdout)
	}
}

// TestDamagedLedgers compares the verifiers on ledgers that were written partly
// by dishonest holders of keys and then damaged. Ledger number n is always the
// same, so a failure can be repeated.
func TestDamagedLedgers(t *testing.T) {
	const ledgers = 400
	folder := t.TempDir()
	vectors := make([]vector, ledgers)
	verdicts := map[string]int{}
	kinds := map[ledger.Kind]int{}
	for n := range vectors {
		v := damaged(t, folder, uint64(n))
		v.Verdict, v.Findings = judge(t, folder, v)
		verdicts[v.Verdict]++
		for _, f := range v.Findings {
			kinds[f.Kind]++
		}
		vectors[n] = v
	}
	t.Logf("%v %v", verdicts, kinds)
	everythingOccurs(t, verdicts, kinds)
	hold(t, folder, vectors)
}

// hold compares what ops/verify.mjs says of the vectors with what they say.
func hold(t *testing.T, folder string, vectors []vector) {
	t.Helper()
	text, err := json.Marshal(vectors)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "vectors.json"), text)
	got, _ := nodeVectors(t, folder)
	if len(got.Vectors) != len(vectors) {
		t.Fatalf("ops/verify.mjs judged %d of %d ledgers", len(got.Vectors), len(vectors))
	}
	for n, v := range vectors {
		compare(t, v, got.Vectors[n])
	}
}

// TestEqualStarts is about a stream of which nothing is left, and which two
// starts let begin at the same revision after different events: the one given
// to the verifier counts, not the one in the registry.
func TestEqualStarts(t *testing.T) {
	folder := t.TempDir()
	w := newWriter(t, rand.New(rand.NewPCG(1, 2)))
	w.dishonest = false
	given, recorded := w.hash(), w.hash()
	payload, err := ledger.Truncation{Stream: "unseen", First: 3, Prev: recorded}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.append(ledger.RegistryStream, w.plain(ledger.RegistryStream, ledger.TypeStreamTruncated, payload))
	write(t, filepath.Join(folder, "dump.jsonl"), dump(t, w.events))
	write(t, filepath.Join(folder, "keys.pem"), publicKeys(t))
	var vectors []vector
	for name, head := range map[string]ledger.Hash{"given": given, "recorded": recorded} {
		heads := ledger.Heads{Ledger: ledger.LedgerID(leaf(t, w.events[0])), Time: w.now,
			Heads: []ledger.AnchoredHead{{Stream: "unseen", Count: 3, Leaf: head}}}
		text, err := heads.Encode()
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name), text)
		v := vector{Name: name, Dump: "dump.jsonl", Keys: "keys.pem", Heads: []string{name},
			Starts: []start{{"unseen", 3, given.String()}}, Events: uint64(len(w.events))}
		v.Verdict, v.Findings = judge(t, folder, v)
		if (v.Verdict == "valid") != (name == "given") {
			t.Errorf("%s: domain/ledger says %s", name, v.Verdict)
		}
		vectors = append(vectors, v)
	}
	hold(t, folder, vectors)
}

// everythingOccurs keeps the comparison from becoming empty: each verdict and
// each kind of finding of FORMAT.md has to be among what is compared.
func everythingOccurs(t *testing.T, verdicts map[string]int, kinds map[ledger.Kind]int) {
	t.Helper()
	for _, verdict := range []string{"valid", "tampered", "unreadable"} {
		if verdicts[verdict] == 0 {
			t.Errorf("no ledger is %s", verdict)
		}
	}
	for _, kind := range strings.Fields(`malformed field-mismatch payload-mismatch receipt-mismatch unknown-key
		key-not-valid bad-signature out-of-order missing chain-break batch-break epoch-order batch-incomplete
		start-not-trusted tail-missing head-mismatch record-invalid anchor-chain anchor-regressed other-ledger`) {
		if kinds[ledger.Kind(kind)] == 0 {
			t.Errorf("no ledger has the finding %s", kind)
		}
	}
}

// TestExitStatus tries what an auditor runs: the status is the verdict, and what
// could not be done is said.
func TestExitStatus(t *testing.T) {
	small := filepath.Join(testdata, "valid", "small")
	dump, keys := filepath.Join(small, "dump.jsonl"), filepath.Join(small, "keys.pem")
	cut := filepath.Join(t.TempDir(), "cut.jsonl")
	write(t, cut, bytes.TrimSuffix(read(t, dump), []byte("\n")))
	removed := filepath.Join(testdata, "tampered", "removed", "dump.jsonl")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"good", []string{"--from", dump, "--keys", keys}, 0, "all is in order"},
		{"good, as JSON", []string{"--from", dump, "--keys", keys, "--json"}, 0, `"ok":true`},
		{"no heads", []string{"--from", dump, "--keys", keys}, 0, "no --heads given"},
		{"wrong", []string{"--from", removed, "--keys", keys}, 1, ": missing: "},
		{"wrong, as JSON", []string{"--from", removed, "--keys", keys, "--json"}, 1, `"kind":"missing"`},
		{"last line cut", []string{"--from", cut, "--keys", keys}, 2, "line "},
		{"no such dump", []string{"--from", cut + "x", "--keys", keys}, 2, "cut.jsonlx"},
		{"folder as dump", []string{"--from", small, "--keys", keys}, 2, "directory"},
		{"dump as keys", []string{"--from", dump, "--keys", dump}, 2, "dump.jsonl, line 1: not a public key"},
		{"keys as heads", []string{"--from", dump, "--keys", keys, "--heads", keys}, 2, "keys.pem, line 1: { expected"},
		{"no keys", []string{"--from", dump}, 2, "--keys FILE.pem is missing"},
		{"no dump", []string{"--keys", keys}, 2, "--from FILE.jsonl is missing"},
		{"unknown option", []string{"--form", dump}, 2, "--form"},
		{"start that is none", []string{"--from", dump, "--keys", keys, "--start", "record-0"}, 2, "STREAM,FIRST,PREVIOUS"},
		{"both", []string{"--vectors", testdata, "--from", dump}, 2, "--vectors"},
		{"no vectors", []string{"--vectors", small}, 2, "vectors.json"},
		{"help", []string{"--help"}, 0, "Exit status: 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, status := node(t, c.args...)
			if status != c.status || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("status %d instead of %d, or %q is not in:\n%s%s", status, c.status, c.says, stdout, stderr)
			}
			if said := stdout != ""; said == (c.status == 2) {
				t.Errorf("results belong on standard output, failures to run on standard error:\n%s", stdout)
			}
		})
	}
}

// TestTrustedStart is for whoever verifies a stream without the registry that
// says where it may begin.
func TestTrustedStart(t *testing.T) {
	for _, v := range readVectors(t) {
		if v.Name != "trusted-start" {
			continue
		}
		args := []string{"--from", filepath.Join(testdata, v.Dump), "--keys", filepath.Join(testdata, v.Keys)}
		if _, _, status := node(t, args...); status != 1 {
			t.Errorf("status %d for a stream without its beginning", status)
		}
		for _, s := range v.Starts {
			args = append(args, "--start", fmt.Sprintf("%s,%d,%s", s.Stream, s.First, s.Prev))
		}
		if stdout, stderr, status := node(t, args...); status != 0 {
			t.Errorf("status %d although the start is trusted:\n%s%s", status, stdout, stderr)
		}
		return
	}
	t.Error("no vector has the name trusted-start")
}

func readVectors(t *testing.T) (vectors []vector) {
	t.Helper()
	if err := json.Unmarshal(read(t, filepath.Join(testdata, "vectors.json")), &vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}
