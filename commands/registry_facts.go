package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// stateFact appends one fact to the registry that a command makes of what the registry and its views say at its end,
// where compose decides: nobody else adds to it meanwhile. It returns the payload as it stands in the ledger, and false
// if the command had made it before.
func stateFact[T any](ctx context.Context, c *Core, x call, eventType string, certificates []event.Protected, compose func(at time.Time) (T, error)) (payload T, made bool, err error) {
	release, err := c.claim(x, c.registry)
	if err != nil {
		return payload, false, err
	}
	defer release()
	if err := c.takeRegistry(ctx); err != nil {
		return payload, false, err
	}
	defer c.leaveRegistry()
	if err := c.registry.confirm(ctx, x); err != nil {
		return stated[T](ctx, c, x, err)
	}
	if err := c.recordOperation(ctx, x, eventType, certificates...); err != nil {
		return payload, false, err
	}
	for range attempts {
		payload, err = tryFact(ctx, c, x, eventType, compose)
		if !errors.Is(err, errRegistryMoved) {
			break
		}
	}
	if err != nil {
		return stated[T](ctx, c, x, err)
	}
	return payload, true, nil
}

// stated gives the payload of a command that was executed before, when the views have it, and any other error as it is.
func stated[T any](ctx context.Context, c *Core, x call, err error) (T, bool, error) {
	var again *repeated
	if !errors.As(err, &again) {
		var zero T
		return zero, false, err
	}
	payload, err := replay[T](ctx, c, x, again.ref)
	if err == nil {
		err = c.registryHas(ctx, again.ref.Revision+1)
	}
	return payload, false, err
}

func tryFact[T any](ctx context.Context, c *Core, x call, eventType string, compose func(at time.Time) (T, error)) (payload T, err error) {
	end, err := c.registryEnd(ctx)
	if err != nil {
		return payload, err
	}
	at := c.now()
	if payload, err = compose(at); err != nil {
		return payload, err
	}
	plain, err := event.Encode(payload)
	if err != nil {
		return payload, err
	}
	draft, err := ledger.Plain(x.aad(event.StreamRegistry, eventType, 0, at), plain)
	if err != nil {
		return payload, err
	}
	_, err = c.registry.submit(ctx, x, func(next uint64) ([]ledger.Draft, error) {
		if next != end { // an anchor whose writer did not wait for it
			return nil, fmt.Errorf("%w: %w", sequencer.ErrUnavailable, errRegistryMoved)
		}
		return []ledger.Draft{draft}, nil
	})
	if err != nil {
		return payload, err
	}
	return payload, c.registryHas(ctx, end+1)
}

// derived is a call's own further call, for a fact that it makes in another stream.
func (x call) derived(purpose string) call {
	own := x
	own.key = uuid.NewSHA1(x.key, []byte(purpose))
	own.unseen = &unseen{}
	return own
}
