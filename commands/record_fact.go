package commands

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// Compose makes the payloads of facts that the core states by itself; none: there is nothing to state, because it has been
// stated or no longer holds. The registry ends before revision next while it runs, and nobody else adds to it.
type Compose = func(ctx context.Context, next uint64) (payloads []any, err error)

var errRegistryMoved = errors.New("the registry moved on meanwhile")

// RecordFact appends to the registry what the core states by itself, in one append, if allowed still says so. The ids of
// the events derive from id: the same facts again leave no second event while the core remembers the first, and later
// allowed, which sees them in a view, has to say so. It returns the revision of the first fact when the registry's view has
// it. Errors: those of the sequencer, ErrClockMoved, and allowed's.
func (c *Core) RecordFact(ctx context.Context, id uuid.UUID, eventType string, payloads []any, allowed func() error) (uint64, error) {
	first, _, err := c.ComposeFact(ctx, id, eventType, func(context.Context, uint64) ([]any, error) {
		if allowed != nil {
			if err := allowed(); err != nil {
				return nil, err
			}
		}
		return payloads, nil
	})
	return first, err
}

// ComposeFact is RecordFact with payloads that are made at the end of the registry, by who has everything of it and holds
// all others off meanwhile: what compose does beside must be short. recorded is false if there was nothing to record.
func (c *Core) ComposeFact(ctx context.Context, id uuid.UUID, eventType string, compose Compose) (first uint64, recorded bool, err error) {
	if err := c.writer(); err != nil {
		return 0, false, err
	}
	if err := c.d.Steady(); err != nil {
		return 0, false, err
	}
	if err := c.takeRegistry(ctx); err != nil {
		return 0, false, err
	}
	defer c.leaveRegistry()
	next, err := c.registryEnd(ctx)
	if err != nil {
		return 0, false, err
	}
	if ref, ok := c.registry.refs.GetDurable(event.IDOf(id, 0)); ok {
		return ref.Revision, true, nil
	}
	payloads, err := compose(ctx, next)
	if err != nil || len(payloads) == 0 {
		return 0, false, err
	}
	drafts, err := c.factDrafts(id, eventType, payloads)
	if err != nil {
		return 0, false, err
	}
	x := call{key: id, unseen: &unseen{}}
	first, err = c.registry.seq.Submit(ctx, func(at uint64) ([]ledger.Draft, error) {
		if !c.taking.Load() {
			return nil, sequencer.ErrNotWriter
		}
		if at != next {
			return nil, fmt.Errorf("%w: %w", sequencer.ErrUnavailable, errRegistryMoved)
		}
		c.registry.remember(at, x, eventType, drafts[0].Time)
		return drafts, nil
	})
	if err != nil {
		return 0, false, err
	}
	return first, true, c.registryHas(ctx, first+uint64(len(drafts)))
}

// Writes returns why this core writes nothing, wrapping sequencer.ErrNotWriter; nil if it is the one that writes.
func (c *Core) Writes() error { return c.writer() }

// registryEnd returns where the registry ends, once this process is known to be its writer still and the view has it all.
func (c *Core) registryEnd(ctx context.Context) (uint64, error) {
	if _, err := c.registry.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return nil, nil }); err != nil {
		return 0, err
	}
	h, ok := c.registry.seq.Head()
	if !ok {
		return 0, sequencer.ErrNotWriter
	}
	return h.Count, c.registryHas(ctx, h.Count)
}

func (c *Core) registryHas(ctx context.Context, next uint64) error {
	if err := c.d.RegistryHas(ctx, next); err != nil {
		return fmt.Errorf("the registry's view has not caught up yet: %w", err)
	}
	return nil
}

func (c *Core) factDrafts(id uuid.UUID, eventType string, payloads []any) ([]ledger.Draft, error) {
	at := c.now()
	drafts := make([]ledger.Draft, 0, len(payloads))
	for i, p := range payloads {
		plain, err := encodeFact(p)
		if err != nil {
			return nil, err
		}
		d, err := ledger.Plain(ledger.AAD{Stream: event.StreamRegistry, ID: event.IDOf(id, i), Type: eventType, Time: at}, plain)
		if err != nil {
			return nil, err
		}
		drafts = append(drafts, d)
	}
	return drafts, nil
}

// encodeFact encodes a payload; those that verification reads have an encoding of their own.
func encodeFact(payload any) ([]byte, error) {
	if p, ok := payload.(interface{ Encode() ([]byte, error) }); ok {
		return p.Encode()
	}
	return event.Encode(payload)
}
