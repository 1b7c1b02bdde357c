package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
)

// approvalNamespace makes the id of the one fact that approvals can bring about.
var approvalNamespace = uuid.MustParse("4f0c1a52-83a5-5f5e-9d6b-2b7c6f0e9a31")

// CarryOutApprovals states what two officials have approved and is not stated yet: holds that are released, authorities
// that are replaced, copies that are no more, days that are unrecoverable. (A physical deletion is carried out by the rotation of the vault.) It goes on where an earlier call was
// interrupted; called again it states nothing twice.
func (c *Core) CarryOutApprovals(ctx context.Context) error {
	if err := c.writer(); err != nil {
		return err
	}
	var errs []error
	for _, s := range c.Proposals(event.ProposalHoldRelease) {
		if hold, ok := c.releasable(s); ok {
			errs = append(errs, c.release(ctx, hold, s.Hash))
		}
	}
	for _, s := range c.Proposals(event.ProposalAuthorities) {
		if replaces(s, c.now()) == nil {
			errs = append(errs, c.replaceAuthorities(ctx, s.Hash))
		}
	}
	for _, s := range c.Proposals(event.ProposalCopyRemoval) {
		if c.removable(s) {
			errs = append(errs, c.removeCopy(ctx, s.Hash))
		}
	}
	return errors.Join(append(errs, c.callUnrecoverable(ctx))...)
}

// releasable returns the hold that a proposal ends, and true if it does so now.
func (c *Core) releasable(s approval.Standing) (uuid.UUID, bool) {
	id, err := uuid.FromBytes(s.Made.Hold)
	if err != nil {
		return id, false
	}
	h, ok := c.d.Retention.Hold(id)
	return id, ok && !h.Released && s.Releases(id)
}

func (c *Core) release(ctx context.Context, hold uuid.UUID, proposal approval.Hash) error {
	id := uuid.NewSHA1(approvalNamespace, append([]byte("hold-released"), hold[:]...))
	_, _, err := c.ComposeFact(ctx, id, event.TypeHoldReleased, func(context.Context, uint64) ([]any, error) {
		s, known := c.d.Retention.Proposal(proposal)
		if _, now := c.releasable(s); !known || !now {
			return nil, nil
		}
		return []any{event.HoldReleased{Hold: hold, Proposal: proposal[:], At: c.now().UnixMicro()}}, nil
	})
	if err != nil {
		return fmt.Errorf("release hold %s: %w", hold, err)
	}
	return nil
}

func (c *Core) callUnrecoverable(ctx context.Context) error {
	found := c.unrecoverable(c.now())
	if len(found) == 0 {
		return nil
	}
	first := found[0].From
	id := uuid.NewSHA1(approvalNamespace, []byte("day-unrecoverable "+first))
	_, _, err := c.ComposeFact(ctx, id, event.TypeDayUnrecoverable, func(context.Context, uint64) ([]any, error) {
		now := c.unrecoverable(c.now())
		if len(now) == 0 || now[0].From != first {
			return nil, nil // stated meanwhile; what else there is comes next time
		}
		payloads := make([]any, len(now))
		for i, e := range now {
			payloads[i] = e
		}
		return payloads, nil
	})
	if err != nil {
		return fmt.Errorf("call days from %s unrecoverable: %w", first, err)
	}
	return nil
}

// unrecoverable returns the stretches of days, rising, that became unrecoverable and are not called so yet: certified, and
// attested for every copy that may hold their keys, which are the same for all days of a stretch. Only what the ledger holds nothing of may lie between two days of a stretch.
func (c *Core) unrecoverable(at time.Time) []event.DayUnrecoverable {
	ends := c.d.Retention.Days(calendar.Day{}, calendar.DayOf(at))
	candidate := func(d DayEnd) bool { return d.Certified && !d.Unrecoverable }
	if !slices.ContainsFunc(ends, candidate) {
		return nil
	}
	attested, copies := c.ApprovedProposals(event.ProposalAttestation), c.d.Retention.Copies()
	var out []event.DayUnrecoverable
	adjoins := false
	for _, d := range ends {
		proposals, all := covering(attested, copies, d)
		if !candidate(d) || !all || len(d.Copies) == 0 {
			adjoins = false
			continue
		}
		if !adjoins || !slices.Equal(out[len(out)-1].Copies, d.Copies) {
			out = append(out, event.DayUnrecoverable{From: d.Day.String(), Copies: d.Copies, At: at.UnixMicro()})
		}
		last := &out[len(out)-1]
		last.To = d.Day.String()
		for _, h := range proposals {
			if !slices.ContainsFunc(last.Proposals, func(p []byte) bool { return approval.Hash(p) == h }) {
				last.Proposals = append(last.Proposals, h[:])
			}
		}
		adjoins = true
	}
	return out
}

// covering returns the oldest of the approved attestations of a day for each copy that may hold its key, and whether there is one for every
// copy.
func covering(attested []approval.Standing, copies retention.Copies, d DayEnd) (proposals []approval.Hash, all bool) {
	for _, name := range d.Copies {
		i := slices.IndexFunc(attested, func(s approval.Standing) bool { return copies.Concerns(&s, name, d.Day) })
		if i < 0 {
			return nil, false
		}
		proposals = append(proposals, attested[i].Hash)
	}
	return proposals, true
}
