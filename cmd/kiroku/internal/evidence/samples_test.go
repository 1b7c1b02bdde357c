package evidence_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"kiroku/domain/ledger"
)

// damage is one thing done to an event of a dump, and which events verification may name for it.
type damage struct {
	name string
	do   func(r *rand.Rand, lines []ledger.Event, at int) []ledger.Event
	next bool // the event after it may be named instead
}

func changed(b []byte, r *rand.Rand) []byte {
	b = bytes.Clone(b)
	b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	return b
}

var damages = []damage{
	{"a bit of the data", func(r *rand.Rand, l []ledger.Event, at int) []ledger.Event {
		l[at].Data = changed(l[at].Data, r)
		return l
	}, false},
	{"a bit of the metadata", func(r *rand.Rand, l []ledger.Event, at int) []ledger.Event {
		l[at].Metadata = changed(l[at].Metadata, r)
		return l
	}, false},
	{"removed", func(_ *rand.Rand, l []ledger.Event, at int) []ledger.Event { return slices.Delete(l, at, at+1) }, false},
	{"twice", func(_ *rand.Rand, l []ledger.Event, at int) []ledger.Event { return slices.Insert(l, at, l[at]) }, false},
	{"exchanged with the next", func(_ *rand.Rand, l []ledger.Event, at int) []ledger.Event {
		l[at], l[at+1] = l[at+1], l[at]
		return l
	}, true},
	{"content of the next", func(_ *rand.Rand, l []ledger.Event, at int) []ledger.Event {
		l[at].Data, l[at].Metadata = l[at+1].Data, l[at+1].Metadata
		return l
	}, false},
}

const (
	samples  = 300
	together = 10 // samples in one damaged dump
	seed     = 20_261_122
)

// TestTheProgramNamesDamage damages dumps of the demonstration's ledger in places drawn by chance, and asks the program,
// with nothing but the dump, the public keys and the heads.
func TestTheProgramNamesDamage(t *testing.T) {
	program(t)
	if code, said := kiroku("verify", "--from", file("ledger.jsonl"), "--keys", file("keys.pem"), "--heads", file("heads.json")); code != 0 {
		t.Fatalf("undamaged: exit status %d\n%s", code, said)
	}
	whole := dumped(t)
	parallel(samples/together, func(n int) {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		events := slices.Clone(whole)
		var expected [][]string // any of each
		var what []string
		for _, at := range places(r, events) {
			e, d := events[at], damages[r.IntN(len(damages))]
			what = append(what, fmt.Sprintf("%s@%d %s", e.Stream, e.Revision, d.name))
			lines := []string{fmt.Sprintf("%s, event %d: ", e.Stream, e.Revision)}
			if d.next || e.Revision == 0 { // a beginning that is gone shows in the event that begins in its place
				lines = append(lines, fmt.Sprintf("%s, event %d: ", e.Stream, e.Revision+1))
			}
			expected = append(expected, lines)
			events = d.do(r, events, at)
		}
		code, said := verifyDump(t, n, events)
		if code != 1 {
			t.Errorf("%v: exit status %d\n%s", what, code, said)
		}
		for i, lines := range expected {
			if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains("\n"+said, "\n"+line) }) {
				t.Errorf("%s: not named in\n%s", what[i], said)
			}
		}
	})
}

// places draws events to damage, the last first, none next to another.
func places(r *rand.Rand, events []ledger.Event) (at []int) {
	for len(at) < together {
		n := r.IntN(len(events) - 1)
		near := slices.ContainsFunc(at, func(m int) bool { return m-3 < n && n < m+3 })
		if !near && events[n].Stream == events[n+1].Stream {
			at = append(at, n)
		}
	}
	slices.Sort(at)
	slices.Reverse(at)
	return at
}

func verifyDump(t *testing.T, n int, events []ledger.Event) (code int, said string) {
	var dump []byte
	for _, e := range events {
		var err error
		if dump, err = ledger.AppendDumpLine(dump, e); err != nil {
			t.Error(err)
		}
	}
	name := file(fmt.Sprintf("damaged-%d.jsonl", n))
	if err := os.WriteFile(name, dump, 0o600); err != nil {
		t.Error(err)
	}
	defer os.Remove(name)
	return kiroku("verify", "--from", name, "--keys", file("keys.pem"), "--heads", file("heads.json"))
}

// TestTheProgramNamesACutTail cuts dumps off, stream by stream.
func TestTheProgramNamesACutTail(t *testing.T) {
	program(t)
	whole := dumped(t)
	streams := split(whole)
	var names []string
	for name := range streams {
		names = append(names, name)
	}
	parallel(len(names), func(i int) {
		stream := names[i]
		for _, left := range []int{len(streams[stream]) - 1, 0} {
			events := slices.DeleteFunc(slices.Clone(whole), func(e ledger.Event) bool { return e.Stream == stream && e.Revision >= uint64(left) })
			code, said := verifyDump(t, 1000+i, events)
			if code != 1 || !strings.Contains("\n"+said, fmt.Sprintf("\n%s, event %d: ", stream, left)) {
				t.Errorf("%s cut to %d events: exit status %d\n%s", stream, left, code, said)
			}
		}
	})
}
