package commands

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// ProposeAuthorities asks two officials to replace the authorities whose word counts on who is an official.
type ProposeAuthorities struct {
	Meta
	Authorities approval.Officials // all that shall count from then on
	Asked
}

// ProposeAuthorities returns the proposal; the set changes when two different officials of the set in force have approved
// it. Errors: ErrInvalid, approval.ErrNoAuthorities, approval.ErrSameSet, approval.ErrDevelopment, ErrConflict, ErrTooOld,
// and those of the sequencer.
func (c *Core) ProposeAuthorities(ctx context.Context, cmd ProposeAuthorities) (Proposed, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return Proposed{}, err
	}
	if err := c.mayBeInForce(cmd.Authorities); err != nil {
		return Proposed{}, fmt.Errorf("authorities: %w", err)
	}
	if !cmd.Authorities.Known() {
		return Proposed{}, fmt.Errorf("authorities: there must be one at least: %w", ErrInvalid)
	}
	if err := c.TakeConfigured(ctx); err != nil {
		return Proposed{}, err
	}
	ders := cmd.Authorities.Certificates()
	x := newCall(cmd.Meta, c.d.Keyring.Digest("propose-authorities", cmd.parts(ders...)...))
	last, any := c.d.Retention.Authorities().Last()
	if !any {
		return Proposed{}, fmt.Errorf("authorities: %w: none is in force that could be replaced; set officials.ca_file and start the core anew", approval.ErrNoAuthorities)
	}
	p := event.ProposalMade{Kind: event.ProposalAuthorities, Authorities: ders, Replaces: last.Set.Hash()}
	return c.propose(ctx, x, p, cmd.Asked, func(time.Time) error {
		now, _ := c.d.Retention.Authorities().Last()
		switch {
		case !bytes.Equal(now.Set.Hash(), p.Replaces):
			return fmt.Errorf("authorities: %w", approval.ErrNotInForce)
		case slices.Equal(now.Set, cmd.Authorities.Set()):
			return fmt.Errorf("authorities: %w", approval.ErrSameSet)
		}
		return nil
	})
}

func (c *Core) replaceAuthorities(ctx context.Context, proposal approval.Hash) error {
	id := uuid.NewSHA1(approvalNamespace, append([]byte(event.TypeAuthoritiesSet), proposal[:]...))
	_, _, err := c.ComposeFact(ctx, id, event.TypeAuthoritiesSet, func(context.Context, uint64) ([]any, error) {
		s, known := c.d.Retention.Proposal(proposal)
		if !known || s.Replaces() != nil {
			return nil, nil
		}
		return []any{event.AuthoritiesSet{Authorities: s.Made.Authorities, Proposal: proposal[:], At: c.now().UnixMicro()}}, nil
	})
	if err != nil {
		return fmt.Errorf("replace the authorities of officials: %w", err)
	}
	return nil
}

// ProposeCopyRemoval asks two officials to say that a copy of the HSM's keys is none any more. Days that were destroyed
// while it was declared need an attestation for it nevertheless.
type ProposeCopyRemoval struct {
	Meta
	Copy string
	Asked
}

// ProposeCopyRemoval returns the proposal; the copy leaves the list when two different officials have approved it. Errors:
// ErrInvalid, ErrUnknownCopy, ErrCopyConfigured, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) ProposeCopyRemoval(ctx context.Context, cmd ProposeCopyRemoval) (Proposed, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return Proposed{}, err
	}
	if err := c.TakeConfigured(ctx); err != nil {
		return Proposed{}, err
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("propose-copy-removal", cmd.parts([]byte(cmd.Copy))...))
	p := event.ProposalMade{Kind: event.ProposalCopyRemoval, Copy: cmd.Copy}
	return c.propose(ctx, x, p, cmd.Asked, func(time.Time) error {
		switch {
		case !slices.Contains(c.Copies(), cmd.Copy):
			return fmt.Errorf("removal of copy %q: %w: %w", cmd.Copy, ErrUnknownCopy, c.knownCopies())
		case slices.Contains(c.d.Copies, cmd.Copy):
			return fmt.Errorf("removal of copy %q: %w", cmd.Copy, ErrCopyConfigured)
		}
		return nil
	})
}

// removable reports whether a proposal removes a copy now.
func (c *Core) removable(s approval.Standing) bool {
	copies := c.d.Retention.Copies()
	return s.Made.Kind == event.ProposalCopyRemoval && slices.Contains(copies.InForce(), s.Made.Copy) && !slices.Contains(c.d.Copies, s.Made.Copy) &&
		!copies.CarriedOut(s.Hash) && s.Approved()
}

func (c *Core) removeCopy(ctx context.Context, proposal approval.Hash) error {
	id := uuid.NewSHA1(approvalNamespace, append([]byte(event.TypeCopiesDeclared), proposal[:]...))
	_, _, err := c.ComposeFact(ctx, id, event.TypeCopiesDeclared, func(context.Context, uint64) ([]any, error) {
		s, known := c.d.Retention.Proposal(proposal)
		if !known || !c.removable(s) {
			return nil, nil
		}
		left := slices.DeleteFunc(slices.Clone(c.Copies()), func(name string) bool { return name == s.Made.Copy })
		return []any{event.CopiesDeclared{Copies: left, Proposal: proposal[:], At: c.now().UnixMicro()}}, nil
	})
	if err != nil {
		return fmt.Errorf("remove a copy from those that are declared: %w", err)
	}
	return nil
}
