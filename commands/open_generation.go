package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
)

// ErrRotationUnapproved: the vault holds a generation that deletes people, or only ends a root key, without the approval of
// two officials for each. A core that can still read the one before does not take it in.
var ErrRotationUnapproved = errors.New("a rotation of the vault does what two officials did not approve")

// registryWait is how long the vault is not followed on because the registry's view may lack approvals.
const registryWait = 10 * time.Second

// openGeneration takes a vault-opened in, if two officials approved what it does. Where the root key of the generation
// before is gone, nothing can be kept from happening any more: it is taken in, and VaultAlarm tells.
func (c *Core) openGeneration(ctx context.Context, o event.VaultOpened, h ledger.Header) error {
	f, k := &c.following, c.d.Keyring
	rotations, err := c.approvedRotation(ctx, o, h.Time)
	if err == nil && o.Generation > 1 && k.VaultReady() {
		err = c.deletesWhomItSays(ctx, o)
	}
	if err != nil && (k.VaultReady() || !errors.Is(err, ErrRotationUnapproved)) {
		return err
	}
	if err := k.OpenVault(ctx, o); err != nil && !errors.Is(err, keyring.ErrShredded) {
		return err // it is followed again: nothing of it may be remembered
	}
	// Of an old one the root key was destroyed, or else the end of the vault tells.
	f.alarm = errors.Join(f.alarm, err)
	f.rotations = rotations
	f.generations[o.Generation] = generation{id: h.ID, commitment: o.Commitment, deleted: o.Deleted, proposals: o.Proposals, rotations: o.Rotations}
	return nil
}

// approvedRotation holds a generation against the approvals that the registry has of what it does.
func (c *Core) approvedRotation(ctx context.Context, o event.VaultOpened, at time.Time) (approval.Rotations, error) {
	find := func(h approval.Hash) *approval.Standing {
		if s, ok := c.d.Retention.Proposal(h); ok {
			return &s
		}
		return nil
	}
	rotations := c.following.rotations.Clone()
	found := rotations.Opened(o, at, find)
	if len(found) > 0 { // the view may be behind
		waiting, cancel := context.WithTimeout(ctx, registryWait)
		defer cancel()
		if err := c.d.RegistryNow(waiting); err != nil {
			return rotations, fmt.Errorf("the registry's view has not caught up yet: %w", err)
		}
		rotations = c.following.rotations.Clone()
		found = rotations.Opened(o, at, find)
	}
	errs := make([]error, len(found))
	for i, f := range found {
		errs[i] = f
	}
	if len(errs) > 0 {
		return rotations, fmt.Errorf("%w: %w", ErrRotationUnapproved, errors.Join(errs...))
	}
	return rotations, nil
}

// deletesWhomItSays compares the people whom a generation deletes with those of the requests that were approved.
func (c *Core) deletesWhomItSays(ctx context.Context, o event.VaultOpened) error {
	var asked []register.SubjectID
	for _, p := range o.Proposals {
		s, ok := c.d.Retention.Proposal(approval.Hash(p))
		if !ok || len(s.Made.Deletion) != len(ledger.Hash{}) {
			return fmt.Errorf("proposal %s names no request: %w", s.Hash, ErrRotationUnapproved)
		}
		id, err := c.whom(ctx, Deletion{Proposal: s.Hash, Revision: s.Made.Revision, Leaf: ledger.Hash(s.Made.Deletion)})
		if errors.Is(err, keyring.ErrShredded) {
			continue // deleted before
		}
		if err != nil {
			return fmt.Errorf("physical deletion %s: %w", s.Hash, err)
		}
		if !slices.Contains(asked, id) {
			asked = append(asked, id)
		}
	}
	deleted, err := c.d.Keyring.Locate(o.Generation, o.Deleted)
	if err != nil {
		return fmt.Errorf("people deleted with vault generation %d: %w", o.Generation, err)
	}
	same := len(deleted) == len(asked)
	for _, id := range deleted {
		same = same && slices.Contains(asked, id)
	}
	if !same {
		return fmt.Errorf("vault generation %d deletes others than whose deletion was approved: %w", o.Generation, ErrRotationUnapproved)
	}
	return nil
}

// VaultAlarm returns what two officials did not approve of the rotations that there were; nil if there is nothing.
func (c *Core) VaultAlarm() error {
	c.following.mu.Lock()
	defer c.following.mu.Unlock()
	return c.following.alarm
}
