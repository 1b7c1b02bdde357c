package ledger_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"kiroku/domain/ledger"
)

// Every bit of every byte that the store holds, one at a time: the event is
// named, with its stream and revision.
func TestEveryChangedBitIsFound(t *testing.T) {
	w := newWriter(t)
	w.append(w.plain(registry, "agency-registered", []byte("plain")))
	w.records(record, 3)
	keys := keySet(t, w.key.Public())
	for i, e := range w.events {
		for name, field := range map[string][]byte{"data": e.Data, "metadata": e.Metadata} {
			for bit := range 8 * len(field) {
				changed := bytes.Clone(field)
				changed[bit/8] ^= 1 << (bit % 8)
				bad := e
				if name == "data" {
					bad.Data = changed
				} else {
					bad.Metadata = changed
				}
				mustBeFound(t, keys, bad, name, bit)
			}
		}
		for bit := range 8 * len(e.ID) {
			bad := w.events[i]
			bad.ID[bit/8] ^= 1 << (bit % 8)
			mustBeFound(t, keys, bad, "id", bit)
		}
		for bit := range 64 {
			bad := w.events[i]
			bad.Revision ^= 1 << bit
			mustBeFound(t, keys, bad, "revision", bit)
		}
	}
}

func mustBeFound(t *testing.T, keys ledger.KeySet, bad ledger.Event, field string, bit int) {
	t.Helper()
	_, err := ledger.CheckEvent(bad, keys)
	var finding *ledger.Finding
	if !errors.As(err, &finding) {
		t.Errorf("%s/%d: bit %d of its %s changed and nobody noticed: %v", bad.Stream, bad.Revision, bit, field, err)
		return
	}
	if finding.Stream != bad.Stream || finding.Revision != bad.Revision {
		t.Errorf("%s/%d: finding is about %s/%d", bad.Stream, bad.Revision, finding.Stream, finding.Revision)
	}
}

// A ledger of any shape verifies; a byte changed, an event removed, repeated
// or exchanged with another is found in the stream where it happened.
func TestAnyLedgerAndAnyDamage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWriter(t)
		w.append(w.plain(registry, "agency-registered", nil))
		for _, n := range rapid.SliceOfN(rapid.IntRange(1, 300), 1, 4).Draw(rt, "batches") {
			if rapid.Bool().Draw(rt, "new epoch") {
				w.epoch++
			}
			w.records(rapid.SampledFrom([]string{"record-0", "record-1"}).Draw(rt, "stream"), n)
		}
		w.anchor()
		options := ledger.Options{Heads: []ledger.Heads{w.headsFile()}, Workers: rapid.IntRange(1, 4).Draw(rt, "workers")}
		keys := keySet(t, w.key.Public())
		if r := verify(t, keys, options, w.events); !r.OK() {
			rt.Fatalf("good ledger: %v", r.Findings)
		}
		events := cloneEvents(w.events)
		i := rapid.IntRange(0, len(events)-1).Draw(rt, "event")
		stream := events[i].Stream
		events = damage(rt, events, i)
		r := verify(t, keys, options, events)
		if !slices.ContainsFunc(r.Findings, func(f ledger.Finding) bool { return f.Stream == stream }) {
			rt.Fatalf("damage in %s was not found: %v", stream, r.Findings)
		}
	})
}

func damage(rt *rapid.T, events []ledger.Event, i int) []ledger.Event {
	flip := byte(1) << rapid.IntRange(0, 7).Draw(rt, "bit")
	kind := rapid.SampledFrom([]string{"data", "metadata", "remove", "repeat", "exchange"}).Draw(rt, "damage")
	switch kind {
	case "remove":
		return slices.Delete(events, i, i+1)
	case "repeat":
		return slices.Insert(events, i, events[i])
	case "exchange":
		if j := slices.IndexFunc(events[i+1:], func(e ledger.Event) bool { return e.Stream == events[i].Stream }); j >= 0 {
			events[i], events[i+1+j] = events[i+1+j], events[i]
			return events
		}
	case "data":
		if n := len(events[i].Data); n > 0 {
			events[i].Data[rapid.IntRange(0, n-1).Draw(rt, "byte")] ^= flip
			return events
		}
	}
	meta := events[i].Metadata
	meta[rapid.IntRange(0, len(meta)-1).Draw(rt, "byte")] ^= flip
	return events
}
