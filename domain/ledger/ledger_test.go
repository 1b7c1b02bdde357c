package ledger_test

import (
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/ledger"
	"kiroku/domain/ledger/ledgertest"
)

var (
	testTime = time.Date(2026, 11, 22, 9, 0, 0, 123456000, time.UTC)
	// dataKey seals the payloads of the tests.
	dataKey   = []byte("0123456789abcdef0123456789abcdef")
	idSpace   = uuid.MustParse("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
	recordKey = ledger.DataKeyID("2026-11-22", "record-0", 1)
)

func signer(t testing.TB, id string) ledgertest.Key {
	t.Helper()
	k, err := ledgertest.NewKey(id)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keySet(t testing.TB, keys ...ledger.PublicKey) ledger.KeySet {
	t.Helper()
	set, err := ledger.NewKeySet(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// writer builds a ledger the way the sequencer does, batch by batch.
type writer struct {
	t     testing.TB
	key   ledgertest.Key
	epoch uint64
	time  time.Time
	heads map[string]ledger.Head
	// events of all streams in the order of appending
	events     []ledger.Event
	lastAnchor ledger.Hash
}

func newWriter(t testing.TB) *writer {
	return &writer{t: t, key: signer(t, "sign/1"), epoch: 1, time: testTime, heads: map[string]ledger.Head{}}
}

func (w *writer) plain(stream, typ string, payload []byte) ledger.Draft {
	w.t.Helper()
	d, err := ledger.Plain(w.aad(stream, typ, ""), payload)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *writer) sealed(stream, typ string, payload []byte) ledger.Draft {
	w.t.Helper()
	a := w.aad(stream, typ, recordKey)
	nonce := fmt.Appendf(nil, "%012d", a.Time.UnixMicro()%1e12)
	d, err := ledger.SealWithNonce(dataKey, nonce, a, payload)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// aad makes up an id that depends on the place only, and lets the clock run on.
func (w *writer) aad(stream, typ, keyID string) ledger.AAD {
	w.time = w.time.Add(1500 * time.Microsecond)
	id := uuid.NewSHA1(idSpace, fmt.Appendf(nil, "%s %s %d", stream, typ, w.time.UnixMicro()))
	return ledger.AAD{Stream: stream, ID: id, Type: typ, Time: w.time, KeyID: keyID}
}

func (w *writer) append(drafts ...ledger.Draft) []ledger.Event {
	w.t.Helper()
	stream := drafts[0].Stream
	head, found := w.heads[stream]
	if !found {
		head.Stream = stream
	}
	if head.Epoch < w.epoch {
		head = w.build(head, w.plain(stream, ledger.TypeEpochStarted, nil))
	}
	before := len(w.events)
	w.heads[stream] = w.build(head, drafts...)
	return w.events[before:]
}

func (w *writer) build(head ledger.Head, drafts ...ledger.Draft) ledger.Head {
	w.t.Helper()
	events, next, err := ledger.BuildBatch(head, w.epoch, drafts, w.key.ID, w.key.Sign)
	if err != nil {
		w.t.Fatal(err)
	}
	w.events = append(w.events, events...)
	return next
}

// records appends a batch of n sealed events.
func (w *writer) records(stream string, n int) []ledger.Event {
	w.t.Helper()
	drafts := make([]ledger.Draft, n)
	for i := range drafts {
		drafts[i] = w.sealed(stream, "inquiry-submitted", fmt.Appendf(nil, "payload %d", i))
	}
	return w.append(drafts...)
}

func (w *writer) anchoredHeads() []ledger.AnchoredHead {
	var heads []ledger.AnchoredHead
	for _, h := range w.heads {
		heads = append(heads, h.Anchored())
	}
	ledger.SortHeads(heads)
	return heads
}

func (w *writer) anchor() {
	w.t.Helper()
	payload, err := ledger.Anchor{Time: w.time, Previous: w.lastAnchor, Heads: w.anchoredHeads()}.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(w.plain(ledger.RegistryStream, ledger.TypeAnchor, payload))
	w.lastAnchor = w.heads[ledger.RegistryStream].Leaf
}

// headsFile is what an auditor would keep now.
func (w *writer) headsFile() ledger.Heads {
	w.t.Helper()
	for _, e := range w.events {
		if e.Stream == ledger.RegistryStream && e.Revision == 0 {
			_, header, _, err := ledger.DecodeMetadata(e.Metadata)
			if err != nil {
				w.t.Fatal(err)
			}
			return ledger.Heads{Ledger: ledger.LedgerID(ledger.LeafHash(header)), Heads: w.anchoredHeads(), Time: w.time}
		}
	}
	w.t.Fatal("the ledger has no registry")
	return ledger.Heads{}
}

func sequence(events []ledger.Event) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func verify(t testing.TB, keys ledger.KeySet, options ledger.Options, events []ledger.Event) ledger.Result {
	t.Helper()
	r, err := ledger.Verify(keys, options, sequence(events))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// smallLedger has a registry (0 epoch, 1 agency, 2 anchor, 3 epoch, 4 anchor,
// 5 agency), record-0 (0 epoch, 1-3, 4-8, 9 epoch, 10) and record-1 (0 epoch,
// 1-2). The anchors know 4 and 11 events of record-0.
func smallLedger(t testing.TB) *writer {
	w := newWriter(t)
	w.append(w.plain(ledger.RegistryStream, "agency-registered", []byte("plain")))
	w.records("record-0", 3)
	w.anchor()
	w.records("record-0", 5)
	w.records("record-1", 2)
	w.epoch = 2
	w.records("record-0", 1)
	w.anchor()
	w.append(w.plain(ledger.RegistryStream, "agency-registered", []byte("more")))
	return w
}

func TestVerifyAcceptsWhatBuildBatchWrites(t *testing.T) {
	w := smallLedger(t)
	r := verify(t, keySet(t, w.key.Public()), ledger.Options{Heads: []ledger.Heads{w.headsFile()}}, w.events)
	if !r.OK() {
		t.Fatalf("findings in a good ledger: %v", r.Findings)
	}
	if r.Events != uint64(len(w.events)) || r.Anchors != 2 || r.HeadsUnchecked != 0 || len(r.Streams) != 3 {
		t.Fatalf("result does not describe the ledger: %+v", r)
	}
	for _, h := range r.Streams {
		if h != w.heads[h.Stream] {
			t.Errorf("head of %s: got %+v, want %+v", h.Stream, h, w.heads[h.Stream])
		}
	}
	for _, e := range w.events {
		if _, err := ledger.CheckEvent(e, keySet(t, w.key.Public())); err != nil {
			t.Errorf("event alone: %v", err)
		}
	}
}
