package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// Anchor writes the heads of all streams into the registry, so that whoever knows it later misses nothing of
// what was there. It returns the anchor and false if nothing but anchors happened since the last one. On each Japanese
// calendar day there is one at least, also where nothing happens: the retention proves by them that time passes.
// Two anchors of one epoch prove the time between them, so a core whose clock was moved writes none (ErrClockMoved).
func (c *Core) Anchor(ctx context.Context) (ledger.Anchor, bool, error) {
	if err := c.takeRegistry(ctx); err != nil {
		return ledger.Anchor{}, false, err
	}
	defer c.leaveRegistry()
	for range attempts {
		a, written, err := c.tryAnchor(ctx)
		if !errors.Is(err, errAnchorUnderWay) {
			return a, written, err
		}
		h, ok := c.registry.seq.Head() // one whose writer did not wait for it: it is in the view before long
		if !ok {
			return ledger.Anchor{}, false, fmt.Errorf("anchor: %w", sequencer.ErrNotWriter)
		}
		if err := c.d.RegistryHas(ctx, h.Count); err != nil {
			return ledger.Anchor{}, false, fmt.Errorf("anchor: %w", err)
		}
		time.Sleep(anchorPause) // until the core has heard of it too
	}
	return ledger.Anchor{}, false, unavailable("anchor", errAnchorUnderWay)
}

// Epoch returns the epoch in which this core writes the registry; 0 if it does not, or if its clock was moved since it
// began: then nothing proves the time from the last anchor to now.
func (c *Core) Epoch() uint64 {
	h, ok := c.registry.seq.Head()
	if !ok || c.d.Steady() != nil {
		return 0
	}
	return h.Epoch
}

const anchorPause = 5 * time.Millisecond

// errAnchorUnderWay says that an anchor was written that the view does not show yet, so that the next one cannot name it.
var errAnchorUnderWay = errors.New("another anchor is on its way into the registry's view")

func (c *Core) tryAnchor(ctx context.Context) (ledger.Anchor, bool, error) {
	heads := c.Heads()
	if len(heads) != len(c.lines()) {
		return ledger.Anchor{}, false, fmt.Errorf("anchor: not the writer of every stream")
	}
	previous, found := c.d.Registry.LastAnchor()
	a := ledger.Anchor{Time: c.now(), Previous: previous.Leaf}
	if err := c.d.Steady(); err != nil {
		return a, false, fmt.Errorf("anchor: %w", err)
	}
	news := !found || calendar.DayOf(previous.Anchor.Time) != calendar.DayOf(a.Time)
	known := map[string]uint64{}
	for _, h := range previous.Anchor.Heads {
		known[h.Stream] = h.Count
	}
	known[event.StreamRegistry] = previous.Revision + 1 // the last anchor itself is no news
	for _, h := range heads {
		a.Heads = append(a.Heads, h.Anchored())
		news = news || h.Count > known[h.Stream]
	}
	if !news {
		return a, false, nil
	}
	ledger.SortHeads(a.Heads)
	payload, err := a.Encode()
	if err != nil {
		return a, false, err
	}
	id := uuid.NewSHA1(c.d.Writer, fmt.Appendf(nil, "anchor %s %d", previous.Leaf, a.Time.UnixMicro()))
	draft, err := ledger.Plain(ledger.AAD{Stream: event.StreamRegistry, ID: id, Type: event.TypeAnchor, Time: a.Time}, payload)
	if err != nil {
		return a, false, err
	}
	first, err := c.registry.seq.Submit(ctx, func(next uint64) ([]ledger.Draft, error) {
		if _, pending := c.anchors.Get(struct{}{}); pending {
			return nil, errAnchorUnderWay
		}
		if now, _ := c.d.Registry.LastAnchor(); now.Leaf != previous.Leaf {
			return nil, fmt.Errorf("another core anchored meanwhile: %w", sequencer.ErrNotWriter)
		}
		c.anchors.Put(next, struct{}{}, true)
		return []ledger.Draft{draft}, nil
	})
	if err != nil {
		return a, false, fmt.Errorf("anchor: %w", err)
	}
	return a, true, c.d.RegistryHas(ctx, first+1)
}
