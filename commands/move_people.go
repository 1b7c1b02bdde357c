package commands

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// keysPerEvent keeps one subject-keys-stored event far below the store's limit of 1 MiB.
const keysPerEvent = 4096

// ErrRegisterDiffers: the register as the store gives it, its view and the vault do not name the same people. Whoever is
// missing would be lost for good, so nothing is destroyed.
var ErrRegisterDiffers = errors.New("the register in the store, its view and the vault do not name the same people; nothing was destroyed: run `kiroku verify` and `kiroku projections rebuild dedup`; the rotation is tried again by itself")

// mover finds, in the whole register, who has to go along into a new generation. It believes neither view nor store: whom
// it misses is lost when the old root key is destroyed.
type mover struct {
	keyring *keyring.Keyring
	seen    keyring.Seen

	mu   sync.Mutex
	keys map[int][][]byte      // by bucket
	days map[calendar.Day]bool // of the deleted
}

// move wraps the keys of the people in the rotated buckets under the new bucket keys, but for the deleted, and returns
// the days of the entries of these. It returns only if nobody else is missing.
func (r *rotation) move(ctx context.Context, o event.VaultOpened) (map[calendar.Day]bool, error) {
	end, err := r.barrier(ctx)
	if err != nil {
		return nil, err
	}
	m := &mover{keyring: r.d.Keyring, keys: map[int][][]byte{}, days: map[calendar.Day]bool{}}
	err = r.readRegister(ctx, end, m.take, func(done uint64) { r.tell(RotationStep{o.Generation, StepPeople, done, end.Count}) })
	if err != nil {
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
	return m.days, r.nobodyIsMissing(ctx, o.Generation, end, m.seen.Len())
}

// barrier returns a head of the register below which everything that an older generation sealed is durable: what is
// decided later is refused unless the new one sealed it.
func (c *Core) barrier(ctx context.Context) (ledger.Head, error) {
	if _, err := c.issuance.seq.Submit(ctx, func(uint64) ([]ledger.Draft, error) { return nil, nil }); err != nil {
		return ledger.Head{}, err
	}
	h, ok := c.issuance.seq.Head()
	if !ok {
		return ledger.Head{}, sequencer.ErrNotWriter
	}
	return h, nil
}

// take looks at one event of the register.
func (m *mover) take(h *ledger.Header) error {
	if !h.Sealed() {
		return nil
	}
	moved, moves, err := m.keyring.Move(h.KeyID, &m.seen)
	if err != nil || !moves {
		return err
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

// nobodyIsMissing compares three lists of those who move, that come about in different ways: of the register as it was read
// now, found people; of the vault's events; and of the register's view. Of everybody it compares the key that the vault
// holds now with the one before.
func (r *rotation) nobodyIsMissing(ctx context.Context, generation int, end ledger.Head, found int) error {
	if err := r.vaultIsWhole(); err != nil {
		return err
	}
	if err := r.d.RegisterHas(ctx, event.StreamIssuance, end.Count); err != nil {
		return fmt.Errorf("the register's view has not caught up yet: %w", err)
	}
	var known count
	err := r.eachPerson(ctx, func(keyID string) error {
		moves, err := r.d.Keyring.Carried(keyID)
		if moves {
			known.add()
		}
		if errors.Is(err, keyring.ErrNotCarried) {
			err = fmt.Errorf("%w: %w", ErrRegisterDiffers, err)
		}
		return err
	}, func(done uint64) { r.tell(RotationStep{Generation: generation, Step: StepCompare, Done: done}) })
	if err != nil {
		return fmt.Errorf("compare the people of vault generation %d: %w", generation, err)
	}
	if stored := r.d.Keyring.CarriedSoFar(); known.n != found || stored != found {
		return fmt.Errorf("%d people move by the register, %d by its view, %d by the vault: %w", found, known.n, stored, ErrRegisterDiffers)
	}
	return nil
}

// everybodyOpens goes, before an old root key is destroyed, through the people whom the register's view knows: the
// generation in force must open the key of each.
func (r *rotation) everybodyOpens(ctx context.Context, generation int) error {
	if r.opens.Load() == int64(generation) {
		return nil // seen already; only the destruction is tried again
	}
	if err := r.vaultIsWhole(); err != nil {
		return err
	}
	end, err := r.barrier(ctx)
	if err != nil {
		return err
	}
	if err := r.d.RegisterHas(ctx, event.StreamIssuance, end.Count); err != nil {
		return fmt.Errorf("the register's view has not caught up yet: %w", err)
	}
	err = r.eachPerson(ctx, func(keyID string) error {
		s, err := r.d.Keyring.SubjectOf(keyID)
		switch {
		case errors.Is(err, keyring.ErrShredded), errors.Is(err, keyring.ErrWrongKey):
			return fmt.Errorf("%w: %w", ErrRegisterDiffers, err)
		case err != nil:
			return err
		}
		s.Destroy()
		return nil
	}, func(done uint64) { r.tell(RotationStep{Generation: generation, Step: StepOpens, Done: done}) })
	if err != nil {
		return fmt.Errorf("open everybody's key under vault generation %d: %w", generation, err)
	}
	r.opens.Store(int64(generation))
	return nil
}

// count is counted up by several goroutines.
type count struct {
	mu sync.Mutex
	n  int
}

func (c *count) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}
