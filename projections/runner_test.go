package projections_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

const stream = "record-00"

// tally is a projection of its own: it keeps each disclosure's receipt number
// by revision, and counts what it cannot read.
type tally struct {
	rows *projections.Rows

	mu      sync.Mutex
	applied []int // sizes of the batches that were given
}

const tableReceipts = projections.FirstTable

func newTally(t testing.TB, v projections.View) *tally {
	t.Helper()
	rows, err := projections.OpenRows(v, "tally")
	if err != nil {
		t.Fatal(err)
	}
	return &tally{rows: rows}
}

func (p *tally) Name() string        { return "tally" }
func (p *tally) Wants(s string) bool { return event.IsRecordStream(s) }
func (p *tally) Reset() error        { return p.rows.Reset() }
func (p *tally) Checkpoint(s string) (projections.Checkpoint, error) {
	return p.rows.Checkpoint(s)
}

func (p *tally) Apply(s string, batch []projections.Opened, to projections.Checkpoint) error {
	p.mu.Lock()
	p.applied = append(p.applied, len(batch))
	p.mu.Unlock()
	return projections.Apply(p.rows, s, batch, to,
		func(o *projections.Opened) (projections.Fact[string], error) {
			if o.Event.Type != event.TypeRecordsDisclosed {
				return projections.Fact[string]{Skip: true}, nil
			}
			d, err := event.Decode[event.RecordsDisclosed](o.Payload)
			return projections.Fact[string]{Rows: d.Receipt, Command: &d.Command}, err
		},
		func(b *projections.Batch, o *projections.Opened, receipt string) error {
			b.Set(tableReceipts, fmt.Appendf(nil, "%s/%09d", s, o.Event.Revision), []byte(receipt))
			b.Count("receipts", 1)
			return nil
		})
}

// shadowed is a tally that can be rebuilt beside itself.
type shadowed struct{ *tally }

func (p shadowed) Shadow() (projections.Projection, error) {
	rows, err := p.rows.Shadow()
	return shadowed{&tally{rows: rows}}, err
}

func (p shadowed) Promote(other projections.Projection) error {
	return p.rows.Promote(other.(shadowed).rows)
}

func (p *tally) receipts(t testing.TB) []string {
	t.Helper()
	var all []string
	err := p.rows.Ascend(tableReceipts, nil, nil, func(_, value []byte) bool {
		all = append(all, string(value))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var start = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func disclosed(i int) projectiontest.Fact {
	return projectiontest.Fact{
		Type: event.TypeRecordsDisclosed, Time: start.Add(time.Duration(i) * time.Second), Key: "day",
		Payload: event.RecordsDisclosed{Symbol: []byte("0123456789abcdef"), Receipt: fmt.Sprint("receipt ", i)},
	}
}

func disclosures(from, to int) (facts []projectiontest.Fact) {
	for i := from; i < to; i++ {
		facts = append(facts, disclosed(i))
	}
	return facts
}

func newLedger(t testing.TB, streams map[string]int) *projectiontest.Ledger {
	t.Helper()
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	for s, n := range streams {
		for i := 0; i < n; i += 200 {
			appendTo(t, l, s, disclosures(i, min(n, i+200))...)
		}
	}
	return l
}

func appendTo(t testing.TB, l *projectiontest.Ledger, s string, facts ...projectiontest.Fact) {
	t.Helper()
	if err := l.Append(s, facts...); err != nil {
		t.Fatal(err)
	}
}

// running is a runner that a test started.
type running struct {
	*projections.Runner
	stop func()
}

func run(t testing.TB, l *projectiontest.Ledger, change func(*projections.Config), all ...projections.Projection) *running {
	t.Helper()
	c := projections.Config{
		Source: l, Opener: l, Trust: l, Projections: all,
		Streams: []string{"registry", "issuance", "record-00", "record-01"},
		Limits:  projections.Limits{MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, Patience: 20 * time.Millisecond},
	}
	if change != nil {
		change(&c)
	}
	r, err := projections.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	stop := func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return &running{r, stop}
}

func waitFor(t testing.TB, r *running, name, s string, next uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := r.WaitFor(ctx, name, s, next); err != nil {
		t.Fatal(err)
	}
}

func statusOf(t testing.TB, r *running, s string) projections.StreamStatus {
	t.Helper()
	all, err := r.Status("tally")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all.Streams {
		if one.Stream == s {
			return one
		}
	}
	t.Fatalf("no status of %s", s)
	return projections.StreamStatus{}
}

func want(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint("receipt ", i))
	}
	return all
}

func expect(t testing.TB, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("%d receipts, want %d, or in another order", len(got), len(want))
	}
}

func TestFollowsFromBeginningToLive(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 3000})
	p := newTally(t, &projectiontest.Memory{})
	r := run(t, l, nil, p)
	waitFor(t, r, "tally", stream, 3001)
	expect(t, p.receipts(t), want(0, 3000))
	for i := 3000; i < 3005; i++ {
		appendTo(t, l, stream, disclosed(i))
		waitFor(t, r, "tally", stream, uint64(i+2))
	}
	expect(t, p.receipts(t), want(0, 3005))
	r.stop()
	if s := statusOf(t, r, stream); s.State != projections.StateStopped || s.Next != 3006 || s.Behind != 0 {
		t.Errorf("after the end: %+v", s)
	}
}

func TestContinuesAfterRestart(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 500})
	view := &projectiontest.Memory{}
	r := run(t, l, nil, newTally(t, view))
	waitFor(t, r, "tally", stream, 501)
	r.stop()
	appendTo(t, l, stream, disclosures(500, 700)...)
	p := newTally(t, view)
	r = run(t, l, nil, p)
	waitFor(t, r, "tally", stream, 701)
	expect(t, p.receipts(t), want(0, 700))
	if given := sum(p.applied); given != 200 {
		t.Errorf("%d events were applied after the restart, 200 were new", given)
	}
}

func sum(n []int) (all int) {
	for _, x := range n {
		all += x
	}
	return all
}

// TestHaltsOnFindings plants one fault in a stream: the stream stops before
// it, says where, and the other stream goes on.
func TestHaltsOnFindings(t *testing.T) {
	const at = 300
	for name, c := range map[string]struct {
		change func(l *projectiontest.Ledger, e *ledger.Event)
		kind   ledger.Kind
		at     uint64
	}{
		"payload":  {func(_ *projectiontest.Ledger, e *ledger.Event) { e.Data = append([]byte{1}, e.Data...) }, ledger.KindPayloadMismatch, at},
		"id":       {func(_ *projectiontest.Ledger, e *ledger.Event) { e.ID[0] ^= 1 }, ledger.KindFieldMismatch, at},
		"type":     {func(_ *projectiontest.Ledger, e *ledger.Event) { e.Type = "inquiry-lapsed" }, ledger.KindFieldMismatch, at},
		"metadata": {func(_ *projectiontest.Ledger, e *ledger.Event) { e.Metadata = e.Metadata[1:] }, ledger.KindMalformed, at},
		"header": {func(_ *projectiontest.Ledger, e *ledger.Event) {
			h, header, _, err := ledger.DecodeMetadata(e.Metadata)
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Replace(header, h.Nonce, bytes.Repeat([]byte{7}, len(h.Nonce)), 1)
			e.Metadata = bytes.Replace(e.Metadata, header, changed, 1)
		}, ledger.KindBadSignature, at},
		"another event": {func(l *projectiontest.Ledger, e *ledger.Event) {
			other := l.Events(stream)[at+1]
			*e = other
		}, ledger.KindOutOfOrder, at},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t, map[string]int{stream: 600, "record-01": 600})
			original := l.Events(stream)[at]
			changed := original
			changed.Data, changed.Metadata = bytes.Clone(original.Data), bytes.Clone(original.Metadata)
			c.change(l, &changed)
			l.Tamper(stream, at, func(e *ledger.Event) { *e = changed })
			r := run(t, l, nil, newTally(t, &projectiontest.Memory{}))
			waitFor(t, r, "tally", "record-01", 601)
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			err := r.WaitFor(ctx, "tally", stream, 601)
			var halt *projections.HaltError
			if !errors.As(err, &halt) || halt.Stream != stream {
				t.Fatalf("waiting for the stream gives %v, want a halt", err)
			}
			var f *ledger.Finding
			if !errors.As(err, &f) {
				t.Fatalf("no finding in %v", err)
			}
			if name != "another event" && (f.Kind != c.kind || f.Revision != c.at) {
				t.Errorf("finding %v, want %s at %d", f, c.kind, c.at)
			}
			if s := statusOf(t, r, stream); s.State != projections.StateHalted || s.Next > at || s.Err == nil {
				t.Errorf("status is %+v", s)
			}
		})
	}
}

func TestMissingEventHalts(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 600})
	p := newTally(t, &projectiontest.Memory{})
	r := run(t, dropping{l, 257}.ledger(), func(c *projections.Config) { c.Source = dropping{l, 257} }, p)
	err := r.WaitFor(t.Context(), "tally", stream, 601)
	var f *ledger.Finding
	if !errors.As(err, &f) || f.Kind != ledger.KindMissing || f.Revision != 257 {
		t.Fatalf("got %v, want revision 257 missing", err)
	}
}

// dropping is a source that withholds one event.
type dropping struct {
	*projectiontest.Ledger
	revision uint64
}

func (d dropping) ledger() *projectiontest.Ledger { return d.Ledger }

func (d dropping) Subscribe(ctx context.Context, s string, from uint64,
	handler func(context.Context, []ledger.Event) error, caughtUp func()) error {
	return d.Ledger.Subscribe(ctx, s, from, func(ctx context.Context, events []ledger.Event) error {
		var kept []ledger.Event
		for _, e := range events {
			if e.Revision != d.revision {
				kept = append(kept, e)
			}
		}
		return handler(ctx, kept)
	}, caughtUp)
}

// TestViewOfAnotherLedger: a view that stands further than the ledger it is
// given, or on another event, is not continued.
func TestViewOfAnotherLedger(t *testing.T) {
	view := &projectiontest.Memory{}
	r := run(t, newLedger(t, map[string]int{stream: 10}), nil, newTally(t, view))
	waitFor(t, r, "tally", stream, 11)
	r.stop()
	other, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, other, stream, disclosures(100, 120)...)
	r = run(t, other, nil, newTally(t, view))
	err = r.WaitFor(t.Context(), "tally", stream, 21)
	var f *ledger.Finding
	if !errors.As(err, &f) || f.Kind != ledger.KindChainBreak || f.Revision != 11 {
		t.Fatalf("got %v, want a break of the chain at 11", err)
	}
}

// TestMembersThatDisagree: the projection that is ahead must have seen the
// same events as the one that is behind.
func TestMembersThatDisagree(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 10})
	view := &projectiontest.Memory{}
	ahead := newTally(t, view)
	if err := ahead.Apply(stream, nil, projections.Checkpoint{Next: 5, Leaf: ledger.Hash{1}, Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	behind := renamed{newTally(t, &projectiontest.Memory{}), "behind"}
	r := run(t, l, nil, ahead, behind)
	err := r.WaitFor(t.Context(), "behind", stream, 11)
	var f *ledger.Finding
	if !errors.As(err, &f) || f.Kind != ledger.KindHeadMismatch || f.Revision != 4 {
		t.Fatalf("got %v, want another event at 4", err)
	}
}

type renamed struct {
	*tally
	name string
}

func (r renamed) Name() string { return r.name }

// TestUnreadableEventsAreSkipped: the metrics tell how many there were, and no row does.
func TestUnreadableEventsAreSkipped(t *testing.T) {
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		f := disclosed(i)
		f.Key = fmt.Sprint("day-", i%2)
		appendTo(t, l, stream, f)
	}
	l.Destroy("day-1")
	p := newTally(t, &projectiontest.Memory{})
	told := &unreadable{}
	r := run(t, l, func(c *projections.Config) { c.Metrics = told }, p)
	waitFor(t, r, "tally", stream, 11)
	r.stop()
	expect(t, p.receipts(t), []string{"receipt 0", "receipt 2", "receipt 4", "receipt 6", "receipt 8"})
	if n := told.n.Load(); n != 5 {
		t.Errorf("%d unreadable events were told, want 5", n)
	}
}

type unreadable struct {
	counting
	n atomic.Int64
}

func (u *unreadable) Applied(_, _ string, _, n int) { u.n.Add(int64(n)) }

func TestWrongKeyHalts(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 20})
	l.FailOpen(fmt.Errorf("open: %w", keyring.ErrWrongKey))
	r := run(t, l, nil, newTally(t, &projectiontest.Memory{}))
	err := r.WaitFor(t.Context(), "tally", stream, 21)
	var halt *projections.HaltError
	if !errors.As(err, &halt) || halt.Revision != 1 || !errors.Is(err, keyring.ErrWrongKey) {
		t.Fatalf("got %v, want a halt at 1", err)
	}
}

// TestClearPersonalPayloadHalts: a signed event that should have been encrypted
// is not read into any view.
func TestClearPersonalPayloadHalts(t *testing.T) {
	l := newLedger(t, nil)
	f := disclosed(0)
	f.Key = ""
	appendTo(t, l, stream, f)
	r := run(t, l, nil, newTally(t, &projectiontest.Memory{}))
	err := r.WaitFor(t.Context(), "tally", stream, 2)
	var halt *projections.HaltError
	if !errors.As(err, &halt) || halt.Revision != 1 {
		t.Fatalf("got %v, want a halt at 1", err)
	}
}

func TestMalformedPayloadHalts(t *testing.T) {
	l := newLedger(t, nil)
	appendTo(t, l, stream, disclosed(0), projectiontest.Fact{Type: event.TypeRecordsDisclosed, Time: start, Key: "day", Payload: []byte{0xa0, 0}})
	r := run(t, l, nil, newTally(t, &projectiontest.Memory{}))
	if err := r.WaitFor(t.Context(), "tally", stream, 3); !errors.Is(err, event.ErrMalformed) {
		t.Fatalf("got %v, want a malformed payload", err)
	}
}

// TestComesBack makes each neighbour fail for a while.
func TestComesBack(t *testing.T) {
	broken := errors.New("out of order")
	for name, c := range map[string]func(*projectiontest.Ledger, *projectiontest.Memory) (mend func()){
		"hsm": func(l *projectiontest.Ledger, _ *projectiontest.Memory) func() {
			l.FailOpen(broken)
			return func() { l.FailOpen(nil) }
		},
		"store": func(l *projectiontest.Ledger, _ *projectiontest.Memory) func() {
			l.FailRead(broken)
			return func() { l.FailRead(nil) }
		},
		"view": func(_ *projectiontest.Ledger, v *projectiontest.Memory) func() {
			var mu sync.Mutex
			failing := true
			v.Fail = func() error {
				mu.Lock()
				defer mu.Unlock()
				if failing {
					return broken
				}
				return nil
			}
			return func() { mu.Lock(); defer mu.Unlock(); failing = false }
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(t, map[string]int{stream: 700})
			view := &projectiontest.Memory{}
			p := newTally(t, view)
			mend := c(l, view)
			tried := make(chan struct{}, 1000)
			r := run(t, l, func(c *projections.Config) { c.Metrics = counting{retried: tried} }, p)
			for range 3 {
				<-tried
			}
			if s := statusOf(t, r, stream); s.State == projections.StateHalted || s.Next != 0 {
				t.Errorf("meanwhile: %+v", s)
			}
			mend()
			waitFor(t, r, "tally", stream, 701)
			expect(t, p.receipts(t), want(0, 700))
		})
	}
}

type counting struct{ retried chan struct{} }

func (counting) Applied(string, string, int, int) {}
func (counting) Halted(string)                    {}
func (c counting) Retried(string)                 { c.retried <- struct{}{} }

func TestSigningKeyIsWaitedFor(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 10})
	l.Distrust()
	tried := make(chan struct{}, 10000)
	r := run(t, l, func(c *projections.Config) {
		c.Metrics = counting{tried}
		c.Patience = time.Hour
	}, newTally(t, &projectiontest.Memory{}))
	<-tried
	if err := l.Trust(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, r, "tally", stream, 11)
}

func TestUnknownSigningKeyHaltsInTheEnd(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 10})
	l.Distrust()
	r := run(t, l, nil, newTally(t, &projectiontest.Memory{}))
	err := r.WaitFor(t.Context(), "tally", stream, 11)
	var f *ledger.Finding
	if !errors.As(err, &f) || f.Kind != ledger.KindUnknownKey || f.Revision != 0 {
		t.Fatalf("got %v, want an unknown key at 0", err)
	}
}

func TestTruncatedStream(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 20})
	events := l.Events(stream)
	_, header, _, err := ledger.DecodeMetadata(events[9].Metadata)
	if err != nil {
		t.Fatal(err)
	}
	l.Truncate(stream, 10)
	p := newTally(t, &projectiontest.Memory{})
	r := run(t, l, nil, p)
	var f *ledger.Finding
	if err := r.WaitFor(t.Context(), "tally", stream, 21); !errors.As(err, &f) || f.Kind != ledger.KindStartNotTrusted {
		t.Fatalf("a beginning that nothing authorises: %v", err)
	}
	r.stop()
	l.Authorise(stream, 10, ledger.LeafHash(header))
	waitFor(t, run(t, l, nil, p), "tally", stream, 21)
	expect(t, p.receipts(t), want(9, 20))
}

// TestOnApplied: the hook sees where the projection stands, then every step, rising.
func TestOnApplied(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 1000})
	r := run(t, l, nil, newTally(t, &projectiontest.Memory{}))
	waitFor(t, r, "tally", stream, 1001)
	var mu sync.Mutex
	var seen []uint64
	if err := r.OnApplied("tally", stream, func(next uint64) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, next)
	}); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, stream, disclosed(1000))
	waitFor(t, r, "tally", stream, 1002)
	r.stop()
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2 || seen[0] != 1001 || seen[1] != 1002 {
		t.Errorf("the hook saw %v", seen)
	}
}

func TestUnknownNames(t *testing.T) {
	r := run(t, newLedger(t, nil), nil, newTally(t, &projectiontest.Memory{}))
	_, status := r.Status("other")
	for what, err := range map[string]error{
		"status": status, "wait": r.WaitFor(t.Context(), "other", stream, 0),
		"hook": r.OnApplied("tally", "registry", func(uint64) {}), "rebuild": r.Rebuild(t.Context(), "other", nil),
	} {
		if !errors.Is(err, projections.ErrUnknownProjection) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
