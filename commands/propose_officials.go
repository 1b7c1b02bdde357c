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
	Authorities approval.Officials   // all that shall count from then on
	Shown       []approval.Certified // of two different officials, at least, whom they certify
	Asked
}

// ProposeAuthorities returns the proposal; the set changes when two different officials of the set in force have approved
// it. The certificates that are shown with it stand sealed in the audit stream. Errors: ErrInvalid, approval.ErrNoAuthorities,
// ErrSameSet, ErrDevelopment, ErrEnding, ErrNobodyShown, ErrCertificate, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) ProposeAuthorities(ctx context.Context, cmd ProposeAuthorities) (Proposed, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return Proposed{}, err
	}
	if !cmd.Authorities.Known() {
		return Proposed{}, fmt.Errorf("authorities: there must be one at least: %w", ErrInvalid)
	}
	if err := c.canFollow(cmd, c.now()); err != nil { // before anything is recorded
		return Proposed{}, fmt.Errorf("authorities: %w", err)
	}
	if err := c.TakeConfigured(ctx); err != nil {
		return Proposed{}, err
	}
	ders := cmd.Authorities.Certificates()
	shown := certificatesOf(cmd.Shown)
	parts := slices.Clone(ders)
	for _, der := range shown {
		parts = append(parts, der)
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("propose-authorities", cmd.parts(parts...)...))
	last, any := c.d.Retention.Authorities().Last()
	if !any {
		return Proposed{}, fmt.Errorf("authorities: %w: none is in force that could be replaced; set officials.ca_file and start the core anew", approval.ErrNoAuthorities)
	}
	p := event.ProposalMade{Kind: event.ProposalAuthorities, Authorities: ders, Replaces: last.Set.Hash()}
	return c.proposeShowing(ctx, x, p, cmd.Asked, shown, func(at time.Time) error {
		if err := c.canFollow(cmd, at); err != nil {
			return fmt.Errorf("authorities: %w", err)
		}
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

// canFollow refuses authorities that could not be in force, or under which perhaps nobody could approve anything.
func (c *Core) canFollow(cmd ProposeAuthorities, at time.Time) error {
	if err := c.mayBeInForce(cmd.Authorities, at); err != nil {
		return err
	}
	return cmd.Authorities.Shown(cmd.Shown, at)
}

func certificatesOf(shown []approval.Certified) (ders []event.Protected) {
	for _, c := range shown {
		ders = append(append(ders, c.Certificate), c.Chain...)
	}
	return ders
}

// replaces says whether a proposal puts other authorities in force at a time: two officials approved it, nothing came in
// between, and the new ones last.
func replaces(s approval.Standing, at time.Time) error {
	if err := s.Replaces(); err != nil {
		return err
	}
	return lasts(s, at)
}

// lasts refuses what would put authorities in force that end soon, or cannot be any.
func lasts(s approval.Standing, at time.Time) error {
	if s.Made.Kind != event.ProposalAuthorities {
		return nil
	}
	o, err := approval.NewOfficials(s.Made.Authorities)
	if err == nil {
		err = o.Lasts(micros(at.UnixMicro()))
	}
	if err != nil {
		return fmt.Errorf("proposal %s: %w", s.Hash, err)
	}
	return nil
}

func (c *Core) replaceAuthorities(ctx context.Context, proposal approval.Hash) error {
	id := uuid.NewSHA1(approvalNamespace, append([]byte(event.TypeAuthoritiesSet), proposal[:]...))
	_, _, err := c.ComposeFact(ctx, id, event.TypeAuthoritiesSet, func(context.Context, uint64) ([]any, error) {
		now := c.now()
		s, known := c.d.Retention.Proposal(proposal)
		if !known || replaces(s, now) != nil {
			return nil, nil
		}
		return []any{event.AuthoritiesSet{Authorities: s.Made.Authorities, Proposal: proposal[:], At: now.UnixMicro()}}, nil
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
	return !slices.Contains(c.d.Copies, s.Made.Copy) && c.d.Retention.Copies().Removes(&s)
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
