package commands

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// follower reads the vault into the keyring, event after event.
type follower struct {
	mu          sync.Mutex
	chain       ledger.Chain
	generations map[int]generation
	rotations   approval.Rotations
	alarm       error // what no longer can be kept from happening
}

// generation is what is needed of a generation once another is in force.
type generation struct {
	id         uuid.UUID // of the event that opened it
	commitment []byte
	deleted    [][]byte
	proposals  [][]byte
	rotations  [][]byte
	days       []string
}

const vaultPage = 8 // events; each may hold 256 KiB

// FollowVault reads what the vault has since the last call into the keyring: every core does so for as long as it runs,
// also one that stands by. Nothing that does not verify gets into the keyring. keyring.ErrShredded means that the token
// does not have the root key of the generation in force.
func (c *Core) FollowVault(ctx context.Context) error {
	f := &c.following
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		events, err := c.d.Store.ReadForward(ctx, event.StreamVault, f.chain.Next(), vaultPage)
		if err != nil {
			return fmt.Errorf("read the vault: %w", err)
		}
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			if err := c.takeIn(ctx, e); err != nil {
				return fmt.Errorf("vault event %d: %w", f.chain.Next(), err)
			}
		}
	}
	if c.d.Keyring.Generation() > 0 && !c.d.Keyring.VaultReady() {
		return fmt.Errorf("the vault in force: %w: the token lacks %s: it is not the token in use, or the ledger is a copy from before a rotation of the vault", keyring.ErrShredded, keyring.RootLabel(c.d.Keyring.Generation()))
	}
	return nil
}

// vaultIsWhole reports whether what was followed of the vault is all that this process, its writer, knows to be there: a
// store that leaves out its end would have people's keys look as if nobody had stored them.
func (c *Core) vaultIsWhole() error {
	f := &c.following
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := c.vault.seq.Head()
	if !ok {
		return sequencer.ErrNotWriter
	}
	if err := f.chain.Ends(h); err != nil {
		return fmt.Errorf("the vault as the store gives it: %w", err)
	}
	return nil
}

// takeIn takes the next event in, or changes nothing.
func (c *Core) takeIn(ctx context.Context, e ledger.Event) error {
	checked, err := ledger.CheckEvent(e, c.d.Keys())
	if err != nil {
		return err
	}
	chain := c.following.chain
	if err := chain.Follow(&ledger.Link{Header: checked.Header, Leaf: checked.Leaf}); err != nil {
		return err
	}
	if err := c.load(ctx, e, checked); err != nil {
		return err
	}
	c.following.chain = chain
	return nil
}

// load takes an event that stands where it belongs into the keyring.
func (c *Core) load(ctx context.Context, e ledger.Event, checked ledger.Checked) error {
	f, k := &c.following, c.d.Keyring
	switch e.Type {
	case event.TypeVaultOpened:
		return with(e, func(o event.VaultOpened) error { return c.openGeneration(ctx, o, checked.Header) })
	case event.TypeBucketKeysStored:
		return with(e, func(s event.BucketKeysStored) error {
			_, err := k.LoadBucketKeys(s)
			return err
		})
	case event.TypeSubjectKeysStored:
		return with(e, k.LoadSubjectKeys)
	case event.TypeVaultCompleted:
		return with(e, func(v event.VaultCompleted) error {
			g := f.generations[v.Generation]
			if !slices.EqualFunc(g.deleted, v.Deleted, bytes.Equal) {
				return fmt.Errorf("vault generation %d was opened to delete others than it is completed with: %w", v.Generation, ErrRotationUnapproved)
			}
			g.days = v.Days
			f.generations[v.Generation] = g
			return k.CompleteVault(v)
		})
	}
	return nil
}

func with[T any](e ledger.Event, do func(T) error) error {
	payload, err := event.Decode[T](e.Data)
	if err != nil {
		return err
	}
	return do(payload)
}

func (c *Core) generation(n int) generation {
	c.following.mu.Lock()
	defer c.following.mu.Unlock()
	return c.following.generations[n]
}

// began returns the generation that an event with this id opened.
func (c *Core) began(id uuid.UUID) (generation, bool) {
	c.following.mu.Lock()
	defer c.following.mu.Unlock()
	for _, g := range c.following.generations {
		if g.id == id {
			return g, true
		}
	}
	return generation{}, false
}
