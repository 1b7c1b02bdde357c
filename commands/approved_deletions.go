package commands

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
)

// carriedOut reports whether a rotation certified a deletion.
func (c *Core) carriedOut(proposal approval.Hash) bool {
	return slices.ContainsFunc(c.d.Rotations(), func(r event.VaultRotated) bool {
		return slices.ContainsFunc(r.Proposals, func(p []byte) bool { return bytes.Equal(p, proposal[:]) })
	})
}

// ApprovedDeletions returns the physical deletions that two officials approved and that no rotation has carried out.
func (c *Core) ApprovedDeletions() []Deletion {
	var all []Deletion
	for _, s := range c.ApprovedProposals(event.ProposalDeletion) {
		if len(s.Made.Deletion) == len(ledger.Hash{}) && !c.carriedOut(s.Hash) {
			all = append(all, Deletion{Proposal: s.Hash, Revision: s.Made.Revision, Leaf: ledger.Hash(s.Made.Deletion)})
		}
	}
	return all
}

// PendingDeletions returns how many physical deletions are approved and wait for a rotation of the vault, and since when
// the oldest of them does.
func (c *Core) PendingDeletions() (n int, since time.Time) {
	for _, d := range c.ApprovedDeletions() {
		s, _ := c.d.Retention.Proposal(d.Proposal)
		n++
		if counting := s.Counting(); len(counting) >= approval.Needed {
			if at := micros(counting[approval.Needed-1].At); since.IsZero() || at.Before(since) {
				since = at
			}
		}
	}
	return n, since
}

// ApprovedRotations returns the proposals to rotate the vault that two officials approved and that no rotation has carried
// out.
func (c *Core) ApprovedRotations() []approval.Hash {
	var all []approval.Hash
	for _, s := range c.ApprovedProposals(event.ProposalRotation) {
		if !c.rotated(s.Hash) {
			all = append(all, s.Hash)
		}
	}
	return all
}

// rotated reports whether a rotation certified a proposal to rotate.
func (c *Core) rotated(proposal approval.Hash) bool {
	return slices.ContainsFunc(c.d.Rotations(), func(r event.VaultRotated) bool {
		return slices.ContainsFunc(r.Rotations, func(p []byte) bool { return bytes.Equal(p, proposal[:]) })
	})
}

// rotations returns the proposals as a generation names them, without those that a rotation has carried out meanwhile.
func (c *Core) rotations(proposals []approval.Hash) (hashes [][]byte, err error) {
	approved := c.ApprovedRotations()
	for _, h := range proposals {
		if c.rotated(h) {
			continue
		}
		if !slices.Contains(approved, h) {
			return nil, fmt.Errorf("proposal %s: %w", h, ErrRotationNotApproved)
		}
		hashes = append(hashes, slices.Clone(h[:]))
	}
	return hashes, nil
}

// whom returns the person whose deletion was requested. The store is not believed.
func (c *Core) whom(ctx context.Context, d Deletion) (id register.SubjectID, err error) {
	events, err := c.d.Store.ReadForward(ctx, event.StreamIssuance, d.Revision, 1)
	if err != nil {
		return id, fmt.Errorf("read the request: %w", err)
	}
	if len(events) != 1 || events[0].Type != event.TypeDeletionRequested {
		return id, fmt.Errorf("no request stands at %s@%d: %w", event.StreamIssuance, d.Revision, ErrNotFound)
	}
	checked, err := ledger.CheckEvent(events[0], c.d.Keys())
	if err != nil {
		return id, err
	}
	if checked.Leaf != d.Leaf || checked.Header.Stream != event.StreamIssuance || checked.Header.Revision != d.Revision {
		return id, fmt.Errorf("another event than was approved stands at %s@%d: %w", event.StreamIssuance, d.Revision, ErrConflict)
	}
	plain, err := c.d.Keyring.Open(ctx, checked.Header, events[0].Data)
	if err != nil {
		return id, err
	}
	defer clear(plain)
	e, err := event.Decode[event.DeletionRequested](plain)
	if err != nil {
		return id, err
	}
	id, ok := register.SubjectIDFrom(e.Subject)
	if !ok {
		return id, fmt.Errorf("the request names no person: %w", event.ErrMalformed)
	}
	return id, nil
}
