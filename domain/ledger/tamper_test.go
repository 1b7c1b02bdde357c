package ledger_test

import (
	"bytes"
	"crypto/elliptic"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"kiroku/domain/ledger"
)

// place is where and what a finding is; how it is worded is left free.
type place struct {
	Stream   string      `json:"stream"`
	Revision uint64      `json:"revision"`
	Kind     ledger.Kind `json:"kind"`
}

func places(findings []ledger.Finding) []place {
	out := []place{}
	for _, f := range findings {
		out = append(out, place{f.Stream, f.Revision, f.Kind})
	}
	return slices.Compact(out)
}

// scenario is a ledger that somebody has been at, and what a verifier says.
type scenario struct {
	name  string
	about string
	build func(t testing.TB) evidence
	want  []place
}

// evidence is what a verifier is given.
type evidence struct {
	events []ledger.Event
	keys   []ledger.PublicKey
	heads  []ledger.Heads
	starts []ledger.TrustedStart
}

func evidenceOf(w *writer) evidence {
	return evidence{events: w.events, keys: []ledger.PublicKey{w.key.Public()}}
}

// tampered is a scenario on the small ledger.
func tampered(change func(t testing.TB, l *tampering)) func(testing.TB) evidence {
	return func(t testing.TB) evidence {
		w := smallLedger(t)
		l := &tampering{t: t, events: cloneEvents(w.events)}
		change(t, l)
		e := evidenceOf(w)
		e.events = l.events
		return e
	}
}

func cloneEvents(events []ledger.Event) []ledger.Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].Data = bytes.Clone(out[i].Data)
		out[i].Metadata = bytes.Clone(out[i].Metadata)
	}
	return out
}

// tampering is a store in the hands of somebody who may write to it.
type tampering struct {
	t      testing.TB
	events []ledger.Event
}

func (l *tampering) index(stream string, revision uint64) int {
	l.t.Helper()
	i := slices.IndexFunc(l.events, func(e ledger.Event) bool { return e.Stream == stream && e.Revision == revision })
	if i < 0 {
		l.t.Fatalf("no event %s/%d", stream, revision)
	}
	return i
}

func (l *tampering) at(stream string, revision uint64) *ledger.Event {
	l.t.Helper()
	return &l.events[l.index(stream, revision)]
}

func (l *tampering) remove(stream string, from, to uint64) {
	l.events = slices.DeleteFunc(l.events, func(e ledger.Event) bool {
		return e.Stream == stream && e.Revision >= from && e.Revision <= to
	})
}

// split returns header and receipt of an event.
func (l *tampering) split(e *ledger.Event) (header, receipt []byte) {
	l.t.Helper()
	_, header, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		l.t.Fatal(err)
	}
	at := 1 + byteStringHead(len(header)) + len(header)
	receipt = e.Metadata[at:]
	if receipt[0] == 0x58 {
		return header, receipt[2:]
	}
	return header, receipt[3:]
}

func byteStringHead(n int) int {
	switch {
	case n < 24:
		return 1
	case n < 256:
		return 2
	}
	return 3
}

// join puts metadata together again from parts that may be anything.
func join(header, receipt []byte) []byte {
	out := []byte{0x82}
	for _, part := range [][]byte{header, receipt} {
		switch n := len(part); {
		case n < 24:
			out = append(out, 0x40|byte(n))
		case n < 256:
			out = append(out, 0x58, byte(n))
		default:
			out = append(out, 0x59, byte(n>>8), byte(n))
		}
		out = append(out, part...)
	}
	return out
}

func (l *tampering) editHeader(e *ledger.Event, edit func([]byte) []byte) {
	header, receipt := l.split(e)
	e.Metadata = join(edit(bytes.Clone(header)), receipt)
}

func (l *tampering) editReceipt(e *ledger.Event, edit func([]byte) []byte) {
	header, receipt := l.split(e)
	e.Metadata = join(header, edit(bytes.Clone(receipt)))
}

// replaced exchanges bytes that occur exactly once.
func (l *tampering) replaced(in, old, with []byte) []byte {
	l.t.Helper()
	if bytes.Count(in, old) != 1 {
		l.t.Fatalf("%x occurs %d times", old, bytes.Count(in, old))
	}
	return bytes.Replace(in, old, with, 1)
}

func (l *tampering) editSignature(e *ledger.Event, edit func(cose []byte) []byte) {
	_, _, r, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		l.t.Fatal(err)
	}
	l.editReceipt(e, func(receipt []byte) []byte {
		at := bytes.Index(receipt, r.Signature)
		changed := edit(bytes.Clone(r.Signature))
		// The signature is the last field; its length takes two bytes.
		return append(append(receipt[:at-2], 0x58, byte(len(changed))), changed...)
	})
}

// decode fails the test rather than return an error.
func decode(t testing.TB, e ledger.Event) (ledger.Header, ledger.Hash) {
	t.Helper()
	h, header, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	return h, ledger.LeafHash(header)
}

// forge appends a batch that BuildBatch would refuse.
func (w *writer) forge(head ledger.Head, epoch uint64, drafts ...ledger.Draft) {
	w.t.Helper()
	events, next, err := ledger.BuildUnchecked(head, epoch, drafts, w.key.ID, w.key.Sign)
	if err != nil {
		w.t.Fatal(err)
	}
	w.events = append(w.events, events...)
	w.heads[head.Stream] = next
}

func TestVerifierNamesWhatIsWrong(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			e := s.build(t)
			options := ledger.Options{Heads: e.heads, Starts: e.starts}
			for _, order := range orders {
				for _, workers := range []int{1, 3} {
					options.Workers = workers
					got := places(verify(t, keySet(t, e.keys...), options, order.of(e.events)).Findings)
					if !slices.Equal(got, s.want) {
						t.Errorf("%s, %d workers:\n got %v\nwant %v", order.name, workers, got, s.want)
					}
				}
			}
		})
	}
}

// orders in which the streams of a ledger may come: the findings are the same.
var orders = []struct {
	name string
	of   func([]ledger.Event) []ledger.Event
}{
	{"as appended", func(e []ledger.Event) []ledger.Event { return e }},
	{"registry first", func(e []ledger.Event) []ledger.Event {
		return byStream(e, func(a string) int { return map[bool]int{true: 0, false: 1}[a == ledger.RegistryStream] })
	}},
	{"registry last", func(e []ledger.Event) []ledger.Event {
		return byStream(e, func(a string) int { return map[bool]int{true: 1, false: 0}[a == ledger.RegistryStream] })
	}},
}

func byStream(events []ledger.Event, rank func(string) int) []ledger.Event {
	out := slices.Clone(events)
	slices.SortStableFunc(out, func(a, b ledger.Event) int { return rank(a.Stream) - rank(b.Stream) })
	return out
}

func payloadDraft(w *writer, stream string, n int) ledger.Draft {
	return w.sealed(stream, "inquiry-submitted", fmt.Appendf(nil, "other payload %d", n))
}

// twoEpochs is a stream with epochs 1 and 5, to be continued badly.
func twoEpochs(t testing.TB) *writer {
	w := newWriter(t)
	w.records("record-0", 2)
	w.epoch = 5
	w.records("record-0", 2)
	return w
}

// truncatable is a ledger whose registry allows record-0 to begin at revision
// 3, in the middle of a batch.
func truncatable(t testing.TB) (*writer, ledger.Hash) {
	w := newWriter(t)
	w.append(w.plain(ledger.RegistryStream, "agency-registered", nil))
	records := w.records("record-0", 4)
	w.anchor()
	_, leaf := decode(t, records[1]) // the epoch event is revision 0
	payload, err := ledger.Truncation{Stream: "record-0", First: 3, Prev: leaf}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.append(w.plain(ledger.RegistryStream, ledger.TypeStreamTruncated, payload))
	w.records("record-0", 2)
	w.anchor()
	return w, leaf
}

func withoutBefore(events []ledger.Event, stream string, first uint64) []ledger.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e ledger.Event) bool {
		return e.Stream == stream && e.Revision < first
	})
}

func endOf2026() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }

// highS turns a good COSE signature into the other one that ECDSA accepts.
func highS(cose []byte) []byte {
	s := new(big.Int).SetBytes(cose[len(cose)-32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(cose[len(cose)-32:])
	return cose
}
