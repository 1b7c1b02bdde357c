package evidence_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// TestTamperingIsNamed does to a ledger everything that can be done to one, and expects each time that verification names
// the stream and the event.
func TestTamperingIsNamed(t *testing.T) {
	h := newHistory(t)
	for _, c := range []struct {
		name string
		do   func(*history, *testing.T)
	}{
		{"every byte changed", (*history).everyByte},
		{"one byte changed, in its place", (*history).oneByteInPlace},
		{"receipts of other events", (*history).otherReceipts},
		{"events removed", (*history).removed},
		{"events twice", (*history).twice},
		{"neighbours exchanged", (*history).exchanged},
		{"events moved to another stream", (*history).moved},
		{"fields beside the metadata", (*history).fields},
		{"batches signed again", (*history).signedAgain},
		{"a forged middle between true ends", (*history).forgedMiddle},
		{"forged to the end", (*history).forgedEnd},
		{"tails cut off", (*history).cutTails},
		{"older copies", (*history).olderCopies},
		{"a core on an older copy or a cut store", (*history).coreOnLess},
	} {
		t.Run(c.name, func(t *testing.T) { c.do(h, t) })
	}
}

// parallel calls do for 0 … n−1 on every processor.
func parallel(n int, do func(int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

// verify looks at a ledger with heads written down before.
func (h *history) verify(events []ledger.Event, heads ...ledger.Heads) ledger.Result {
	r, err := ledger.Verify(h.keys, ledger.Options{Heads: heads, Workers: 1}, nodetest.Seq(events))
	if err != nil {
		h.TB.Fatal(err)
	}
	return r
}

// names expects a finding at one of the revisions of a stream, and none that blames another stream, unless an anchor was
// forged that tells a lie about that one.
func names(t *testing.T, what string, r ledger.Result, stream string, from, to uint64) {
	t.Helper()
	named := false
	for _, f := range r.Findings {
		if lying := stream == ledger.RegistryStream && strings.HasPrefix(f.Detail, "anchor at revision"); f.Stream != stream && !lying {
			t.Errorf("%s: %s@%d: blamed was %v", what, stream, from, &f)
		}
		named = named || f.Stream == stream && from <= f.Revision && f.Revision <= to
	}
	if !named {
		t.Errorf("%s: %s@%d is not named, found was %v", what, stream, from, r.Findings)
	}
}

// each verifies variants of one event, one after another, and expects that each is named. An event is judged by itself
// before its place is, so nothing need stand around it: oneByteInPlace shows the same among all events.
func (h *history) each(t *testing.T, e ledger.Event, what func(int) string, variants iter.Seq[ledger.Event]) (named int) {
	n := 0
	if r, err := ledger.Verify(h.keys, ledger.Options{AnyStart: true}, nodetest.Seq([]ledger.Event{e})); err != nil ||
		slices.ContainsFunc(r.Findings, func(f ledger.Finding) bool { return f.Revision == e.Revision }) {
		t.Errorf("%s, unchanged, is named: %v %v", place(e), r.Findings, err)
	}
	for v := range variants {
		r, err := ledger.Verify(h.keys, ledger.Options{AnyStart: true, Workers: 1}, nodetest.Seq([]ledger.Event{v}))
		if err != nil || len(r.Findings) == 0 || r.Findings[0].Stream != e.Stream || r.Findings[0].Revision != e.Revision {
			t.Errorf("%s: %s: found was %v, %v", place(e), what(n), r.Findings, err)
		} else {
			named++
		}
		n++
	}
	return named
}

// changes are what is done to a byte.
var changes = []func(b byte, at int) byte{
	func(b byte, at int) byte { return b ^ 1<<(at%8) },
	func(b byte, _ int) byte { return b + 1 },
	func(b byte, _ int) byte { return ^b },
}

func (h *history) everyByte(t *testing.T) {
	var done atomic.Int64
	parallel(len(h.events), func(i int) {
		e := h.events[i]
		done.Add(int64(h.each(t, e, func(n int) string { return fmt.Sprintf("change %d", n) }, func(yield func(ledger.Event) bool) {
			for at := range len(e.Data) + len(e.Metadata) {
				for n, change := range changes {
					if n > 0 && (at+4*n)%8 > 0 { // a bit of every byte, and every fourth byte in one of the other ways too
						continue
					}
					v := e
					if at < len(e.Data) {
						v.Data = bytes.Clone(e.Data)
						v.Data[at] = change(v.Data[at], at)
					} else {
						v.Metadata = bytes.Clone(e.Metadata)
						v.Metadata[at-len(e.Data)] = change(v.Metadata[at-len(e.Data)], at)
					}
					if !yield(v) {
						return
					}
				}
			}
			for _, v := range []ledger.Event{
				{Data: append(bytes.Clone(e.Data), 0), Metadata: e.Metadata}, {Data: e.Data, Metadata: append(bytes.Clone(e.Metadata), 0)},
				{Data: e.Data, Metadata: e.Metadata[:len(e.Metadata)-1]}, {Data: e.Data}, {Data: e.Metadata, Metadata: e.Data},
				{Data: append([]byte{0}, e.Data...), Metadata: e.Metadata},
			} {
				v.Stream, v.Revision, v.ID, v.Type = e.Stream, e.Revision, e.ID, e.Type
				if !yield(v) {
					return
				}
			}
		})))
	})
	t.Logf("%d changes", done.Load())
}

func (h *history) oneByteInPlace(t *testing.T) {
	parallel(len(h.events), func(i int) {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		for _, inData := range []bool{true, false} {
			all := slices.Clone(h.events)
			e := all[i]
			b := &e.Data
			if !inData {
				b = &e.Metadata
			}
			*b = bytes.Clone(*b)
			(*b)[random.IntN(len(*b))] ^= 1 << random.IntN(8)
			all[i] = e
			names(t, "a byte changed", h.verify(all, h.heads), e.Stream, e.Revision, e.Revision)
		}
	})
}

func (h *history) otherReceipts(t *testing.T) {
	parts := make([][][]byte, len(h.events))
	for i, e := range h.events {
		if err := cbor.Unmarshal(e.Metadata, &parts[i]); err != nil || len(parts[i]) != 2 {
			t.Fatal(err)
		}
	}
	parallel(len(h.events), func(i int) {
		e := h.events[i]
		what := func(n int) string { return "the receipt of " + place(h.events[n]) }
		h.each(t, e, what, func(yield func(ledger.Event) bool) {
			for j := range h.events {
				if j == i {
					continue
				}
				v := e
				v.Metadata, _ = cbor.Marshal([][]byte{parts[i][0], parts[j][1]})
				if !yield(v) {
					return
				}
			}
		})
	})
}

func (h *history) removed(t *testing.T) {
	parallel(len(h.events), func(i int) {
		e := h.events[i]
		names(t, "removed", h.verify(slices.Delete(slices.Clone(h.events), i, i+1), h.heads), e.Stream, e.Revision, e.Revision+1)
	})
}

func (h *history) twice(t *testing.T) {
	parallel(len(h.events), func(i int) {
		e := h.events[i]
		names(t, "twice", h.verify(slices.Insert(slices.Clone(h.events), i, e), h.heads), e.Stream, e.Revision, e.Revision)
		stream := h.streams[e.Stream]
		again := e
		again.Revision = uint64(len(stream)) // appended once more
		r := h.verify(h.with(e.Stream, append(slices.Clone(stream), again)), h.heads)
		names(t, "appended once more", r, e.Stream, again.Revision, again.Revision)
	})
}

func (h *history) exchanged(t *testing.T) {
	parallel(len(h.events), func(i int) {
		e := h.events[i]
		if i+1 == len(h.events) || h.events[i+1].Stream != e.Stream {
			return
		}
		all := slices.Clone(h.events)
		all[i], all[i+1] = all[i+1], all[i]
		names(t, "given in another order", h.verify(all, h.heads), e.Stream, e.Revision, e.Revision+1)
		all[i].Revision, all[i+1].Revision = e.Revision, e.Revision+1
		r := h.verify(all, h.heads)
		names(t, "exchanged, the first", r, e.Stream, e.Revision, e.Revision)
		names(t, "exchanged, the second", r, e.Stream, e.Revision+1, e.Revision+1)
	})
}

func (h *history) moved(t *testing.T) {
	parallel(len(h.events), func(i int) {
		e := h.events[i]
		for to, stream := range h.streams {
			if to == e.Stream || (i+len(to)+int(to[len(to)-1]))%2 > 0 { // every second of them
				continue
			}
			over := min(e.Revision, uint64(len(stream)-1))
			for n, at := range []uint64{uint64(len(stream)), over} { // at the end, or over another
				if n == 1 && i%3 > 0 {
					continue
				}
				moved := e
				moved.Stream, moved.Revision = to, at
				all := h.with(to, append(slices.Clone(stream[:at]), append([]ledger.Event{moved}, stream[min(at+1, uint64(len(stream))):]...)...))
				names(t, "moved to "+to, h.verify(all, h.heads), to, at, at)
			}
		}
	})
}

func (h *history) fields(t *testing.T) {
	parallel(len(h.events), func(i int) {
		e := h.events[i]
		for what, change := range map[string]func(*ledger.Event){
			"another id": func(v *ledger.Event) { v.ID = uuid.New() }, "no id": func(v *ledger.Event) { v.ID = uuid.Nil },
			"another type": func(v *ledger.Event) { v.Type += "x" }, "an anchor's type": func(v *ledger.Event) {
				v.Type = map[bool]string{true: event.TypeEpochStarted, false: event.TypeAnchor}[v.Type == event.TypeAnchor]
			},
		} {
			all := slices.Clone(h.events)
			change(&all[i])
			names(t, what, h.verify(all, h.heads), e.Stream, e.Revision, e.Revision)
		}
	})
}

// alter makes other drafts of a batch, each of which signs without complaint.
var alter = map[string]func([]ledger.Draft) []ledger.Draft{
	"other content": func(d []ledger.Draft) []ledger.Draft {
		last := &d[len(d)-1]
		last.Data[len(last.Data)/2] ^= 4
		last.Digest = sha256.Sum256(last.Data)
		return d
	},
	"another id": func(d []ledger.Draft) []ledger.Draft { d[0].ID = uuid.New(); return d },
	"one fewer": func(d []ledger.Draft) []ledger.Draft {
		if len(d) == 1 {
			return nil
		}
		return d[:len(d)-1]
	},
	"one more": func(d []ledger.Draft) []ledger.Draft {
		more := d[len(d)-1]
		if more.Type == event.TypeEpochStarted {
			return nil
		}
		more.ID = uuid.New()
		return append(d, more)
	},
}

func (h *history) signedAgain(t *testing.T) {
	batches := h.batches()
	parallel(len(batches), func(i int) {
		b := batches[i]
		stream := h.streams[b.head.Stream]
		for what, change := range alter {
			d := change(drafts(b.events))
			if d == nil {
				continue
			}
			events, _ := h.forged(b.head, b.epoch, d)
			for _, e := range events {
				if _, err := ledger.CheckEvent(e, h.keys); err != nil {
					t.Fatalf("the forgery is not a good one: %v", err)
				}
			}
			all := h.with(b.head.Stream, slices.Concat(stream[:b.head.Count], events, stream[b.end():]))
			names(t, "signed again, "+what, h.verify(all, h.heads), b.head.Stream, b.head.Count, b.end())
		}
	})
}

// forgedMiddle signs several batches anew, one after another, each following the one before it.
func (h *history) forgedMiddle(t *testing.T) {
	h.forgeries(t, func(first, last, of int) bool { return last > first && last < of-1 && last-first < 5 })
}

// forgedEnd signs everything anew from a batch to the end: the stream by itself is in order.
func (h *history) forgedEnd(t *testing.T) {
	h.forgeries(t, func(_, last, of int) bool { return last == of-1 })
}

func (h *history) forgeries(t *testing.T, want func(first, last, of int) bool) {
	byStream := map[string][]batch{}
	for _, b := range h.batches() {
		byStream[b.head.Stream] = append(byStream[b.head.Stream], b)
	}
	var done atomic.Int64
	for stream, batches := range byStream {
		parallel(len(batches), func(first int) {
			for last := first; last < len(batches); last++ {
				if !want(first, last, len(batches)) {
					continue
				}
				head := batches[first].head
				events := slices.Clone(h.streams[stream][:head.Count])
				for i, b := range batches[first : last+1] {
					d := drafts(b.events)
					if i == 0 {
						d = alter["other content"](d)
					}
					var more []ledger.Event
					more, head = h.forged(head, b.epoch, d)
					events = append(events, more...)
				}
				events = append(events, h.streams[stream][head.Count:]...)
				r := h.verify(h.with(stream, events), h.heads)
				names(t, fmt.Sprintf("forged from %d to %d", batches[first].head.Count, head.Count), r, stream, batches[first].head.Count, head.Count)
				done.Add(1)
			}
		})
	}
	t.Logf("%d forgeries", done.Load())
}

func (h *history) cutTails(t *testing.T) {
	for stream, events := range h.streams {
		anchored := uint64(0)
		for _, e := range h.streams[event.StreamRegistry] {
			if a, err := ledger.DecodeAnchor(e.Data); e.Type == event.TypeAnchor && err == nil {
				for _, head := range a.Heads {
					if head.Stream == stream {
						anchored = max(anchored, head.Count)
					}
				}
			}
		}
		parallel(len(events), func(cut int) {
			left := h.with(stream, events[:cut])
			names(t, "cut", h.verify(left, h.heads), stream, uint64(cut), uint64(cut))
			if uint64(cut) < anchored && stream != event.StreamRegistry { // the ledger itself knows
				names(t, "cut, no heads", h.verify(left), stream, uint64(cut), uint64(cut))
			}
		})
	}
}

// olderCopies verifies the ledger as it was after each chapter with the heads of each later one.
func (h *history) olderCopies(t *testing.T) {
	for i, old := range h.chapters {
		if r := h.verify(old.events, old.heads); !r.OK() {
			t.Fatalf("chapter %d by its own heads: %v", i, r.Findings)
		}
		counts := split(old.events)
		for _, later := range h.chapters[i+1:] {
			r := h.verify(old.events, later.heads)
			for _, head := range later.heads.Heads {
				had := uint64(len(counts[head.Stream]))
				named := slices.ContainsFunc(r.Findings, func(f ledger.Finding) bool { return f.Stream == head.Stream && f.Revision == had })
				if named != (head.Count > had) {
					t.Errorf("chapter %d has %d of %d events of %s, named: %v", i, had, head.Count, head.Stream, named)
				}
			}
		}
	}
}
