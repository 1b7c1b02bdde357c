package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/eventstore"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// Source is the event store that is copied.
type Source interface {
	ReadForward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error)
	Iterate(ctx context.Context, stream string, from uint64, handle func([]ledger.Event) error) error
}

// Firsts returns the first revision there is of each stream. It is read before
// the anchor of a plan and again by NewPlan: what is truncated in between is
// authorised by no event of the backup.
func Firsts(ctx context.Context, source Source, streams []string) (map[string]uint64, error) {
	firsts := map[string]uint64{}
	for _, stream := range streams {
		first, err := source.ReadForward(ctx, stream, 0, 1)
		if err != nil && !errors.Is(err, eventstore.ErrNoStream) {
			return nil, fmt.Errorf("looking where %s begins: %w", stream, err)
		}
		if len(first) > 0 {
			firsts[stream] = first[0].Revision
		}
	}
	return firsts, nil
}

// NewPlan plans a backup of the streams up to the heads that the anchor at a
// revision of the registry names; of the registry itself, up to that anchor. The
// anchor must be younger than firsts. ErrTruncatedMeanwhile: ask for both again.
func NewPlan(ctx context.Context, source Source, streams []string, firsts map[string]uint64, anchor uint64, recipients Recipients, now time.Time) (Plan, error) {
	p := Plan{Version: Version, ID: uuid.New(), Recipients: recipients.Fingerprints(), Begun: now.UTC().Truncate(time.Microsecond)}
	genesis, err := source.ReadForward(ctx, event.StreamRegistry, 0, 1)
	if err != nil || len(genesis) == 0 {
		return p, fmt.Errorf("planning the backup: reading the beginning of the registry: %w", errors.Join(err, errAbsent(len(genesis))))
	}
	_, header, _, err := ledger.DecodeMetadata(genesis[0].Metadata)
	if err != nil {
		return p, fmt.Errorf("planning the backup: %w", err)
	}
	p.Ledger = ledger.LedgerID(ledger.LeafHash(header))
	heads, registry, err := p.readAnchor(ctx, source, anchor)
	if err != nil {
		return p, fmt.Errorf("planning the backup: %w", err)
	}
	heads[event.StreamRegistry] = registry
	again, err := Firsts(ctx, source, streams)
	if err != nil {
		return p, fmt.Errorf("planning the backup: %w", err)
	}
	for _, stream := range streams {
		head, ok := heads[stream]
		if !ok {
			continue // it had no event
		}
		delete(heads, stream)
		if again[stream] != firsts[stream] {
			return p, fmt.Errorf("planning the backup: %s: %w", stream, ErrTruncatedMeanwhile)
		}
		p.Streams = append(p.Streams, Range{Stream: stream, First: again[stream], Next: head.Count, Leaf: head.Leaf.String()})
	}
	for stream := range heads {
		return p, fmt.Errorf("planning the backup: the anchor names the stream %s, which this ledger does not have", stream)
	}
	return p, p.check()
}

func errAbsent(found int) error {
	if found == 0 {
		return errors.New("there is no such event")
	}
	return nil
}

// readAnchor reads the anchor and finds the end of the batch that it is part of.
func (p *Plan) readAnchor(ctx context.Context, source Source, revision uint64) (map[string]ledger.AnchoredHead, ledger.AnchoredHead, error) {
	const batch = 4096 // events that an append may hold, at most
	heads, registry := map[string]ledger.AnchoredHead{}, ledger.AnchoredHead{Stream: event.StreamRegistry}
	events, err := source.ReadForward(ctx, event.StreamRegistry, revision, batch)
	if err != nil || len(events) == 0 || events[0].Revision != revision || events[0].Type != event.TypeAnchor {
		return nil, registry, errors.Join(err, fmt.Errorf("no anchor stands at revision %d of the registry", revision))
	}
	anchor, err := ledger.DecodeAnchor(events[0].Data)
	if err != nil {
		return nil, registry, fmt.Errorf("the anchor at revision %d of the registry: %w", revision, err)
	}
	for _, h := range anchor.Heads {
		heads[h.Stream] = h
	}
	for i, e := range events {
		_, header, receipt, err := ledger.DecodeMetadata(e.Metadata)
		if err != nil {
			return nil, registry, fmt.Errorf("event %d of the registry: %w", e.Revision, err)
		}
		leaf := ledger.LeafHash(header)
		if i == 0 {
			p.Anchor = Anchor{Revision: revision, Leaf: leaf.String(), Time: anchor.Time}
		}
		if receipt.Index == receipt.Size-1 {
			registry.Count, registry.Leaf = e.Revision+1, leaf
			return heads, registry, nil
		}
	}
	return nil, registry, fmt.Errorf("the batch of the anchor at revision %d of the registry has no end", revision)
}
