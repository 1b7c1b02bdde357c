package projections_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/domain/ledger"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

// TestRebuildOnline: the old rows answer while the new ones are made, the ledger grows meanwhile, and
// nothing is missing at any moment.
func TestRebuildOnline(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 2000, "record-01": 500})
	view := &projectiontest.Memory{}
	p := shadowed{newTally(t, view)}
	r := run(t, l, nil, p)
	waitFor(t, r, "tally", stream, 2001)
	waitFor(t, r, "tally", "record-01", 501)

	stop, stopped := make(chan struct{}), make(chan struct{})
	var appended atomic.Int64
	appended.Store(2000)
	go func() { // somebody works on
		defer close(stopped)
		for i := 2000; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if l.Append(stream, disclosed(i)) != nil || r.WaitFor(context.Background(), "tally", stream, uint64(i+2)) != nil {
				return
			}
			appended.Store(int64(i + 1))
		}
	}()
	fewest := int64(1 << 62)
	done := make(chan error, 1)
	go func() { done <- r.Rebuild(context.Background(), "tally", nil) }()
	for building := true; building; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			building = false
		default:
		}
		known := appended.Load()
		n, err := p.rows.Count("receipts")
		if err != nil {
			t.Fatal(err)
		}
		fewest = min(fewest, n-known-500)
	}
	close(stop)
	<-stopped
	if fewest < 0 {
		t.Errorf("during the rebuild %d events were missing", -fewest)
	}
	total := int(appended.Load())
	waitFor(t, r, "tally", stream, uint64(total+1))
	expect(t, p.receipts(t), append(want(0, total), want(0, 500)...))

	fresh := newTally(t, &projectiontest.Memory{})
	waitFor(t, run(t, l, nil, fresh), "tally", stream, uint64(total+1))
	r.stop()
	reopened := newTally(t, view)
	expect(t, reopened.receipts(t), append(want(0, total), want(0, 500)...))
}

// TestRebuildWithoutShadow begins empty and is full again when it returns.
func TestRebuildWithoutShadow(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 700, "record-01": 300})
	p := newTally(t, &projectiontest.Memory{})
	r := run(t, l, nil, p)
	waitFor(t, r, "tally", stream, 701)
	waitFor(t, r, "tally", "record-01", 301)
	told := 0
	if err := r.Rebuild(t.Context(), "tally", func(projections.Progress) { told++ }); err != nil {
		t.Fatal(err)
	}
	expect(t, p.receipts(t), append(want(0, 700), want(0, 300)...))
	if told == 0 {
		t.Error("no progress was told")
	}
	appendTo(t, l, stream, disclosed(700))
	waitFor(t, r, "tally", stream, 702)
}

// TestRebuildEndsAHalt: a view of another ledger halts the stream; rebuilt, it is followed again.
func TestRebuildEndsAHalt(t *testing.T) {
	view := &projectiontest.Memory{}
	r := run(t, newLedger(t, map[string]int{stream: 50}), nil, newTally(t, view))
	waitFor(t, r, "tally", stream, 51)
	r.stop()
	other, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, other, stream, disclosures(100, 200)...)
	p := shadowed{newTally(t, view)}
	r = run(t, other, nil, p)
	var halt *projections.HaltError
	if err := r.WaitFor(t.Context(), "tally", stream, 101); !errors.As(err, &halt) {
		t.Fatalf("got %v, want a halt", err)
	}
	if err := r.Rebuild(t.Context(), "tally", nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, r, "tally", stream, 101)
	expect(t, p.receipts(t), want(100, 200))
	appendTo(t, other, stream, disclosed(200))
	waitFor(t, r, "tally", stream, 102)
}

// TestRebuildOfForgedLedgerFails, and the old rows stay.
func TestRebuildOfForgedLedgerFails(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 50})
	p := shadowed{newTally(t, &projectiontest.Memory{})}
	r := run(t, l, nil, p)
	waitFor(t, r, "tally", stream, 51)
	l.Tamper(stream, 20, func(e *ledger.Event) { e.Data = []byte("forged") })
	var f *ledger.Finding
	if err := r.Rebuild(t.Context(), "tally", nil); !errors.As(err, &f) || f.Revision != 20 {
		t.Fatalf("got %v, want a finding at 20", err)
	}
	expect(t, p.receipts(t), want(0, 50))
	appendTo(t, l, stream, disclosed(50))
	waitFor(t, r, "tally", stream, 52)
}

func TestRebuildCanBeGivenUp(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 50})
	p := shadowed{newTally(t, &projectiontest.Memory{})}
	r := run(t, l, nil, p)
	waitFor(t, r, "tally", stream, 51)
	l.FailOpen(errors.New("no answer"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.Rebuild(ctx, "tally", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	l.FailOpen(nil)
	if err := r.Rebuild(t.Context(), "tally", nil); err != nil {
		t.Fatal(err)
	}
	expect(t, p.receipts(t), want(0, 50))
}
