package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

// Issuances returns what reads the issuances of a day from the ledger again, for whoever counts them.
func (n *Node) Issuances() statistics.Register { return issuances{n} }

type issuances struct{ n *Node }

// Generation implements statistics.Register.
func (i issuances) Generation() int { return i.n.Keyring.Generation() }

// Recorded implements statistics.Register. Times in a stream rise, but for sequencer.ClockTolerance, so the day is looked
// for by halves, and read from there on, event by event.
func (i issuances) Recorded(ctx context.Context, generation int, day calendar.Day, next uint64, visit func(*projections.Opened) error) (closed bool, err error) {
	if now := i.Generation(); now < generation {
		return false, fmt.Errorf("generation %d of the vault is in force here, %d is waited for", now, generation)
	}
	first, err := i.notBefore(ctx, day.Start().Add(-sequencer.ClockTolerance), next)
	if err != nil || first == next {
		return false, err
	}
	r := issuanceReader{n: i.n, day: day, next: first, end: next, proof: ledger.NewVerifier(i.n.trust.SigningKeys(), ledger.Options{AnyStart: true}), visit: visit}
	err = i.n.c.Store.Iterate(ctx, event.StreamIssuance, first, func(batch []ledger.Event) error {
		for j := range batch {
			if err := r.take(ctx, &batch[j]); err != nil {
				return err
			}
		}
		return nil
	})
	result := r.proof.Finish()
	switch {
	case err != nil && !errors.Is(err, errStopped):
		return false, fmt.Errorf("read %s from revision %d: %w", event.StreamIssuance, first, err)
	case !result.OK():
		return false, fmt.Errorf("verify %s: %s", event.StreamIssuance, result.Findings[0].Error())
	case err == nil && r.next < next:
		return false, fmt.Errorf("%s@%d: %w", event.StreamIssuance, r.next, errMissing)
	}
	return r.closed, nil
}

// notBefore returns a revision, next if there is none before it, such that everything below it was recorded before a time,
// but for the clock's tolerance.
func (i issuances) notBefore(ctx context.Context, at time.Time, next uint64) (uint64, error) {
	low, high := uint64(0), next
	for low < high {
		middle := low + (high-low)/2
		events, err := i.n.store.ReadForward(ctx, event.StreamIssuance, middle, 1)
		if err != nil {
			return 0, err
		}
		if len(events) != 1 || events[0].Revision != middle {
			return 0, fmt.Errorf("%s@%d: %w", event.StreamIssuance, middle, errMissing)
		}
		h, _, _, err := ledger.DecodeMetadata(events[0].Metadata)
		if err != nil {
			return 0, fmt.Errorf("%s@%d: %w", event.StreamIssuance, middle, err)
		}
		if h.Time.Before(at) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// issuanceReader opens the issuances of one day as they stream by.
type issuanceReader struct {
	n         *Node
	day       calendar.Day
	next, end uint64
	proof     *ledger.Verifier
	visit     func(*projections.Opened) error
	closed    bool // the day lies wholly behind
}

func (r *issuanceReader) take(ctx context.Context, e *ledger.Event) error {
	if r.next == r.end {
		return errStopped
	}
	if e.Revision != r.next {
		return fmt.Errorf("%s@%d: %w", event.StreamIssuance, r.next, errMissing)
	}
	h, header, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		return fmt.Errorf("%s@%d: %w", event.StreamIssuance, e.Revision, err)
	}
	if r.closed = !h.Time.Before(r.day.End().Add(sequencer.ClockTolerance)); r.closed {
		return errStopped
	}
	r.proof.Add(*e)
	r.next++
	counts := e.Type == event.TypeSymbolIssued || e.Type == event.TypeSymbolAlreadyAcquired
	if !counts || calendar.DayOf(h.Time) != r.day {
		return nil
	}
	o := projections.Opened{Event: *e, Header: h, HeaderBytes: header}
	o.Payload, err = r.n.Keyring.Open(ctx, h, e.Data)
	if o.Unreadable = errors.Is(err, keyring.ErrShredded); err != nil && !o.Unreadable {
		return fmt.Errorf("open %s@%d: %w", event.StreamIssuance, e.Revision, err)
	}
	defer clear(o.Payload)
	return r.visit(&o)
}
