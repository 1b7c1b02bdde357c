package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"time"

	"kiroku/adapters/eventstore"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// errNoLedger is returned for a store in which no ledger was begun.
var errNoLedger = errors.New("there is no ledger in this store yet; kiroku serve begins one")

// ledgerStreams are the names of all streams of the ledger, the registry
// first. How many there are was fixed in its first event that is a fact.
func ledgerStreams(ctx context.Context, store *eventstore.Store) ([]string, error) {
	const first = 64 // events among which it must be; a first start that was interrupted leaves a few epochs
	events, err := store.ReadForward(ctx, event.StreamRegistry, 0, first)
	if errors.Is(err, eventstore.ErrNoStream) {
		return nil, errNoLedger
	}
	if err != nil {
		return nil, fmt.Errorf("reading the registry: %w", err)
	}
	for _, e := range events {
		if e.Type != event.TypeLedgerOpened {
			continue
		}
		opened, err := event.Decode[event.LedgerOpened](e.Data)
		if err != nil {
			return nil, fmt.Errorf("reading the registry: event %d: %w", e.Revision, err)
		}
		return event.Streams(opened.RecordShards), nil
	}
	return nil, errNoLedger
}

// publishedKeys are the signing keys that the ledger names in its registry.
// Whoever forged a whole ledger would have named keys of their own there.
func publishedKeys(ctx context.Context, store *eventstore.Store) (ledger.KeySet, error) {
	return keysAmong(storedEvents(ctx, store, []string{event.StreamRegistry}))
}

// keysAmong picks the published signing keys out of events.
func keysAmong(events iter.Seq2[ledger.Event, error]) (ledger.KeySet, error) {
	byID := map[string]ledger.PublicKey{}
	for e, err := range events {
		if err != nil {
			return ledger.KeySet{}, fmt.Errorf("looking for signing keys: %w", err)
		}
		if e.Stream != event.StreamRegistry || e.Type != event.TypeSigningKeyPublished {
			continue
		}
		key, err := publishedKey(e)
		if err != nil {
			return ledger.KeySet{}, fmt.Errorf("looking for signing keys: %s, event %d: %w", e.Stream, e.Revision, err)
		}
		byID[key.ID] = key // a later one tells the end of its use
	}
	keys := make([]ledger.PublicKey, 0, len(byID))
	for _, key := range byID {
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return ledger.KeySet{}, fmt.Errorf("looking for signing keys: %w", errNoLedger)
	}
	return ledger.NewKeySet(keys...)
}

func publishedKey(e ledger.Event) (ledger.PublicKey, error) {
	published, err := event.Decode[event.SigningKeyPublished](e.Data)
	if err != nil {
		return ledger.PublicKey{}, err
	}
	parsed, err := x509.ParsePKIXPublicKey(published.SPKI)
	if err != nil {
		return ledger.PublicKey{}, fmt.Errorf("public key %s: %w", published.KeyID, err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return ledger.PublicKey{}, fmt.Errorf("public key %s is %T, not ECDSA", published.KeyID, parsed)
	}
	public := ledger.PublicKey{ID: published.KeyID, Key: key, ValidFrom: time.UnixMicro(published.ValidFrom).UTC().Truncate(time.Second)}
	if published.ValidTo != 0 {
		public.ValidTo = time.UnixMicro(published.ValidTo).UTC().Truncate(time.Second)
	}
	return public, nil
}

// errStopped ends a reading that its reader does not want to go on.
var errStopped = errors.New("stopped")

// storedEvents yields the events of streams, one stream after the other, as
// they are stored. Streams that do not exist yet have none.
func storedEvents(ctx context.Context, store *eventstore.Store, streams []string) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for _, stream := range streams {
			err := store.Iterate(ctx, stream, 0, func(batch []ledger.Event) error {
				for _, e := range batch {
					if !yield(e, nil) {
						return errStopped
					}
				}
				return nil
			})
			switch {
			case err == nil, errors.Is(err, eventstore.ErrNoStream):
			case errors.Is(err, errStopped):
				return
			default:
				yield(ledger.Event{}, fmt.Errorf("reading the stream %s: %w", stream, err))
				return
			}
		}
	}
}
