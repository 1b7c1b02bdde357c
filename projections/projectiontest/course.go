package projectiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/projections"
)

// Course is every event of a ledger as projections are given them.
type Course map[string][]projections.Opened

// Read opens the streams of a ledger without verifying them.
func Read(ctx context.Context, l *Ledger, streams ...string) (Course, error) {
	c := Course{}
	for _, s := range streams {
		for _, e := range l.Events(s) {
			h, header, _, err := ledger.DecodeMetadata(e.Metadata)
			if err != nil {
				return nil, err
			}
			o := projections.Opened{Event: e, Header: h, HeaderBytes: header, Payload: e.Data}
			if h.Sealed() {
				o.Payload, err = l.Open(ctx, h, e.Data)
				o.Unreadable = errors.Is(err, keyring.ErrShredded)
			}
			if err != nil && !o.Unreadable {
				return nil, err
			}
			c[s] = append(c[s], o)
		}
	}
	return c, nil
}

// Apply gives a projection up to n events of a stream from revision from on,
// and the checkpoint after them. It does nothing at the end of the stream.
func (c Course) Apply(p projections.Projection, stream string, from, n int) error {
	all := c[stream]
	to := min(len(all), from+n)
	if from >= to || !p.Wants(stream) {
		return nil
	}
	last := all[to-1]
	err := p.Apply(stream, slices.Clone(all[from:to]), projections.Checkpoint{
		Next: last.Event.Revision + 1, Leaf: ledger.LeafHash(last.HeaderBytes), Epoch: last.Header.Epoch,
	})
	if err != nil {
		return fmt.Errorf("apply %s from %d to %d: %w", stream, from, to, err)
	}
	return nil
}

// ApplyAll gives a projection all events, each stream in one batch.
func (c Course) ApplyAll(p projections.Projection) error {
	for _, s := range Streams {
		if err := c.Apply(p, s, 0, len(c[s])); err != nil {
			return err
		}
	}
	return nil
}

// Wander gives a projection all events in batches of chosen sizes, the streams
// mixed, now and then some again that it has, with restarts, crashes and kills:
// reopen opens the projection on a view; a crash goes back to an earlier state of it, a kill comes between two commits.
func (c Course) Wander(choose func(n int) int, view *Memory, reopen func(projections.View) (projections.Projection, error)) (*Memory, projections.Projection, error) {
	p, err := reopen(view)
	if err != nil {
		return nil, nil, err
	}
	saved := view.Clone()
	for {
		open, err := c.unfinished(p)
		if err != nil || len(open) == 0 {
			return view, p, err
		}
		switch choose(12) {
		case 0: // restart
			p, err = reopen(view)
		case 1: // crash
			view = saved
			saved = view.Clone()
			p, err = reopen(view)
		case 2:
			saved = view.Clone()
		case 3: // killed
			s := open[choose(len(open))]
			if err := killed(view, choose(4), func() error { return c.step(choose, p, s) }); err != nil {
				return nil, nil, err
			}
			p, err = reopen(view)
		default:
			s := open[choose(len(open))]
			err = c.step(choose, p, s)
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

var errKilled = errors.New("killed")

// killed has step stop before one of its commits, if it makes so many.
func killed(view *Memory, commits int, step func() error) error {
	view.Fail = func() error {
		if commits--; commits < 0 {
			return errKilled
		}
		return nil
	}
	err := step()
	view.Fail = nil
	if errors.Is(err, errKilled) {
		return nil
	}
	return err
}

func (c Course) step(choose func(n int) int, p projections.Projection, stream string) error {
	at, err := p.Checkpoint(stream)
	if err != nil {
		return err
	}
	again := choose(4) // some that it has already
	from := max(0, int(at.Next)-again)
	return c.Apply(p, stream, from, 1+choose(40))
}

func (c Course) unfinished(p projections.Projection) (open []string, err error) {
	for _, s := range Streams {
		at, err := p.Checkpoint(s)
		if err != nil {
			return nil, err
		}
		if p.Wants(s) && at.Next < uint64(len(c[s])) {
			open = append(open, s)
		}
	}
	return open, nil
}
