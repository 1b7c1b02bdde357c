package crosscheck_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"

	"kiroku/domain/ledger"
)

// damaged writes ledger number n with its keys and heads files into the folder.
func damaged(t *testing.T, folder string, n uint64) vector {
	t.Helper()
	rng := rand.New(rand.NewPCG(n, 1))
	w := newWriter(t, rng)
	w.write()
	events := w.events
	if rng.IntN(2) == 0 {
		events = interleave(rng, events)
	}
	for range rng.IntN(4) {
		events = damage(rng, events)
	}
	v := vector{
		Name: fmt.Sprintf("ledger %d", n), Dump: fmt.Sprintf("%d.jsonl", n), Keys: "keys.pem",
		Heads: []string{}, Starts: w.starts(), Events: uint64(len(events)),
	}
	text := dump(t, events)
	if rng.IntN(15) == 0 {
		text = damageBytes(rng, text)
	}
	write(t, filepath.Join(folder, v.Dump), text)
	write(t, filepath.Join(folder, v.Keys), publicKeys(t))
	for i := range rng.IntN(3) {
		path := fmt.Sprintf("%d-heads-%d.json", n, i)
		write(t, filepath.Join(folder, path), w.headsFile())
		v.Heads = append(v.Heads, path)
	}
	return v
}

func dump(t *testing.T, events []ledger.Event) (text []byte) {
	t.Helper()
	for _, e := range events {
		var err error
		if text, err = ledger.AppendDumpLine(text, e); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

// headsFile is what somebody wrote down at some time, rightly or not.
func (w *writer) headsFile() []byte {
	w.t.Helper()
	id := ledger.LedgerID(leaf(w.t, w.events[0]))
	if w.chance(8) {
		id = ledger.LedgerID(w.hash())
	}
	heads := slices.Clone(w.snapshots[w.rng.IntN(len(w.snapshots))])
	text, err := ledger.Heads{Ledger: id, Heads: w.misstate(heads, 12), Time: w.now}.Encode()
	if err != nil {
		w.t.Fatalf("encoding heads: %v", err)
	}
	return text
}

// starts are beginnings that the verifier is told of, some of them true.
func (w *writer) starts() []start {
	starts := []start{}
	for range w.rng.IntN(3) {
		e := w.events[w.rng.IntN(len(w.events))]
		s := start{e.Stream, e.Revision + 1, leaf(w.t, e).String()}
		if w.chance(4) {
			s.Prev = w.hash().String()
		}
		if w.chance(6) {
			s.Stream = "unseen"
		}
		starts = append(starts, s)
	}
	return starts
}

// interleave mixes the streams anew; each stays in its order.
func interleave(rng *rand.Rand, events []ledger.Event) []ledger.Event {
	queues := map[string][]ledger.Event{}
	var names []string
	for _, e := range events {
		if queues[e.Stream] == nil {
			names = append(names, e.Stream)
		}
		queues[e.Stream] = append(queues[e.Stream], e)
	}
	var mixed []ledger.Event
	for len(names) > 0 {
		i := rng.IntN(len(names))
		queue := queues[names[i]]
		take := 1 + rng.IntN(len(queue))
		mixed = append(mixed, queue[:take]...)
		if queues[names[i]] = queue[take:]; take == len(queue) {
			names = slices.Delete(names, i, i+1)
		}
	}
	return mixed
}

// damage does to the events one of the things that may happen to them without
// the signing key.
func damage(rng *rand.Rand, events []ledger.Event) []ledger.Event {
	if len(events) == 0 {
		return events
	}
	events = slices.Clone(events)
	i, j := rng.IntN(len(events)), rng.IntN(len(events))
	at := events[i]
	switch rng.IntN(16) {
	case 0:
		return slices.Delete(events, i, min(len(events), i+1+rng.IntN(3)))
	case 1:
		events[i], events[j] = events[j], events[i]
	case 2:
		return slices.Insert(events, i, events[j])
	case 3:
		return slices.DeleteFunc(events, func(e ledger.Event) bool { return e.Stream == at.Stream && e.Revision > at.Revision })
	case 4, 5:
		return slices.DeleteFunc(events, func(e ledger.Event) bool { return e.Stream == at.Stream && e.Revision < at.Revision })
	case 6:
		events[i].Data = damageBytes(rng, events[i].Data)
	case 7, 8, 9:
		events[i].Metadata = damageBytes(rng, events[i].Metadata)
	case 10:
		events[i].Metadata, events[j].Metadata = events[j].Metadata, events[i].Metadata
	case 11:
		events[i].Data, events[j].Data = events[j].Data, events[i].Data
	case 12:
		relabel(rng, &events[i], events[j])
	case 13, 14:
		exchangeReceipts(&events[i], &events[j])
	case 15:
		return slices.DeleteFunc(events, func(e ledger.Event) bool { return e.Stream == at.Stream })
	}
	return events
}

// exchangeReceipts gives each event the receipt of the other.
func exchangeReceipts(a, b *ledger.Event) {
	endOfA, endOfB := endOfHeader(a.Metadata), endOfHeader(b.Metadata)
	if endOfA == 0 || endOfB == 0 {
		return
	}
	a.Metadata, b.Metadata = slices.Concat(a.Metadata[:endOfA], b.Metadata[endOfB:]), slices.Concat(b.Metadata[:endOfB], a.Metadata[endOfA:])
}

// endOfHeader is where the receipt begins, 0 if the metadata is damaged.
func endOfHeader(metadata []byte) int {
	_, header, _, err := ledger.DecodeMetadata(metadata)
	if err != nil {
		return 0
	}
	return bytes.Index(metadata, header) + len(header)
}

// relabel changes what the store says about an event.
func relabel(rng *rand.Rand, e *ledger.Event, other ledger.Event) {
	switch rng.IntN(5) {
	case 0:
		e.Stream = other.Stream
	case 1:
		e.Revision = other.Revision
	case 2:
		e.ID = other.ID
	case 3:
		e.Type = ledger.TypeAnchor
	case 4:
		e.ID = uuid.Nil
	}
}

// damageBytes changes, removes or adds a byte, or cuts the end off.
func damageBytes(rng *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	if len(b) == 0 {
		return []byte{byte(rng.Uint32())}
	}
	i := rng.IntN(len(b))
	switch rng.IntN(6) {
	case 0:
		return slices.Delete(b, i, i+1)
	case 1:
		return slices.Insert(b, i, byte(rng.Uint32()))
	case 2:
		return b[:i]
	case 3:
		b[i]++
	default:
		b[i] ^= 1 << rng.IntN(8)
	}
	return b
}
