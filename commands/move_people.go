package commands

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

const (
	movePage = 1024
	// keysPerEvent keeps one subject-keys-stored event far below the store's limit of 1 MiB.
	keysPerEvent = 4096
)

// mover finds, in the whole register, who has to go along into a new generation. It believes no view: whom it misses is
// lost when the old root key is destroyed.
type mover struct {
	keyring *keyring.Keyring
	seen    keyring.Seen

	mu   sync.Mutex
	keys map[int][][]byte      // by bucket
	days map[calendar.Day]bool // of the deleted
}

// move wraps the keys of the people in the rotated buckets under the new bucket keys, but for the deleted, and returns
// the days of the entries of these.
func (r *rotation) move(ctx context.Context, o event.VaultOpened) (map[calendar.Day]bool, error) {
	end, err := r.barrier(ctx)
	if err != nil {
		return nil, err
	}
	m := &mover{keyring: r.d.Keyring, keys: map[int][][]byte{}, days: map[calendar.Day]bool{}}
	tell := func(done uint64) { r.tell(RotationStep{o.Generation, StepPeople, done, end}) }
	if err := r.scan(ctx, end, m, tell); err != nil {
		return nil, err
	}
	for _, bucket := range slices.Sorted(maps.Keys(m.keys)) {
		n := 0
		for keys := range slices.Chunk(m.keys[bucket], keysPerEvent) {
			s := event.SubjectKeysStored{Generation: o.Generation, Bucket: bucket, Keys: keys}
			if err := r.extendVault(ctx, event.TypeSubjectKeysStored, r.stepID(event.TypeSubjectKeysStored, bucket<<16|n), s); err != nil {
				return nil, err
			}
			r.out.Moved += len(keys)
			n++
		}
	}
	return m.days, nil
}

// barrier returns a revision of the register below which everything that an older generation sealed is durable: what is
// decided later is refused unless the new one sealed it.
func (c *Core) barrier(ctx context.Context) (uint64, error) {
	if _, err := c.issuance.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return nil, nil }); err != nil {
		return 0, err
	}
	h, ok := c.issuance.seq.Head()
	if !ok {
		return 0, sequencer.ErrNotWriter
	}
	return h.Count, nil
}

type page struct {
	events []ledger.Event
	err    error
}

// scan shows the mover the register up to revision end, the next page being read while one is looked at.
func (c *Core) scan(ctx context.Context, end uint64, m *mover, tell func(done uint64)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages := make(chan page, 2)
	go func() {
		defer close(pages)
		for next := uint64(0); next < end; {
			events, err := c.d.Store.ReadForward(ctx, event.StreamIssuance, next, int(min(movePage, end-next)))
			if err == nil && (len(events) == 0 || events[0].Revision != next) {
				err = fmt.Errorf("the store lacks %s@%d", event.StreamIssuance, next)
			}
			select {
			case pages <- page{events, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
			next += uint64(len(events))
		}
	}()
	next := uint64(0)
	for p := range pages {
		if p.err != nil {
			return fmt.Errorf("read the register: %w", p.err)
		}
		if err := m.look(p.events, next); err != nil {
			return err
		}
		next += uint64(len(p.events))
		tell(next)
	}
	if next < end {
		return fmt.Errorf("read the register: %w", context.Cause(ctx))
	}
	return nil
}

// look goes through events that begin at a revision, on several cores.
func (m *mover) look(events []ledger.Event, from uint64) error {
	workers := min(runtime.GOMAXPROCS(0), 1+len(events)/128)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(events) && errs[w] == nil; i += workers {
				errs[w] = m.take(events[i], from+uint64(i))
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *mover) take(e ledger.Event, revision uint64) error {
	h, _, _, err := ledger.DecodeMetadata(e.Metadata)
	if err == nil && (e.Revision != revision || h.Revision != revision || h.Stream != event.StreamIssuance) {
		err = fmt.Errorf("another event stands there: run `kiroku verify`")
	}
	if err != nil {
		return fmt.Errorf("%s@%d: %w", event.StreamIssuance, revision, err)
	}
	if !h.Sealed() {
		return nil
	}
	moved, moves, err := m.keyring.Move(h.KeyID, &m.seen)
	if err != nil {
		return fmt.Errorf("%s@%d: %w", event.StreamIssuance, revision, err)
	}
	if !moves {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if moved.Deleted {
		m.days[calendar.DayOf(h.Time)] = true
	}
	if moved.Key != nil {
		m.keys[moved.Bucket] = append(m.keys[moved.Bucket], moved.Key)
	}
	return nil
}
