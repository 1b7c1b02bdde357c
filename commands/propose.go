package commands

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/text"
)

// For how long a proposal can be approved.
const (
	LeastApprovable = time.Hour
	MostApprovable  = 90 * 24 * time.Hour
	maxReason       = 200 // characters
)

// Asked is what every proposal says besides its matter.
type Asked struct {
	Reason string        // 1 to 200 characters, that name no person: everybody may read them
	Within time.Duration // it can be approved for so long: LeastApprovable to MostApprovable
}

// Proposed is a proposal that stands in the registry. Its hash is what officials sign.
type Proposed struct {
	Hash approval.Hash
	Made event.ProposalMade
}

// deletion names the request for a physical deletion (物理削除要求電文) that officials are asked to approve.
type deletion struct {
	leaf     ledger.Hash // of deletion-requested
	revision uint64      // where that stands in issuance
}

// proposeDeletion proposes a physical deletion. The call's own event is the request; the proposal is derived from it.
func (c *Core) proposeDeletion(ctx context.Context, x call, d deletion, a Asked) (Proposed, error) {
	p := event.ProposalMade{Kind: event.ProposalDeletion, Deletion: d.leaf[:], Revision: d.revision}
	return c.propose(ctx, x.derived("proposal"), p, a, func(time.Time) error { return nil })
}

// propose writes a proposal; allowed runs when the views have everything of the registry. The command again is the same
// proposal.
func (c *Core) propose(ctx context.Context, x call, p event.ProposalMade, a Asked, allowed func(at time.Time) error) (Proposed, error) {
	return c.proposeShowing(ctx, x, p, a, nil, allowed)
}

// proposeShowing is propose with certificates of officials, which it keeps sealed in the audit stream.
func (c *Core) proposeShowing(ctx context.Context, x call, p event.ProposalMade, a Asked, shown []event.Protected, allowed func(at time.Time) error) (Proposed, error) {
	if err := a.check(); err != nil {
		return Proposed{}, fmt.Errorf("proposal: %w", err)
	}
	p.ID, p.Command = uuid.NewSHA1(x.key, []byte("proposal")), c.openCommand(x)
	made, _, err := stateFact(ctx, c, x, event.TypeProposalMade, shown, func(at time.Time) (event.ProposalMade, error) {
		p.Reason, p.At, p.Until = a.Reason, at.UnixMicro(), at.Add(a.Within).UnixMicro()
		return p, allowed(at)
	})
	if err != nil {
		return Proposed{}, err
	}
	plain, err := event.Encode(made)
	return Proposed{Hash: approval.HashOf(plain), Made: made}, err
}

func (a *Asked) check() (err error) {
	if a.Reason, err = text.Line("reason", a.Reason, maxReason); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if a.Within < LeastApprovable || a.Within > MostApprovable {
		return fmt.Errorf("it must be possible to approve it for %s to %s: %w", LeastApprovable, MostApprovable, ErrInvalid)
	}
	return nil
}

// parts are what of it goes into a command's digest.
func (a Asked) parts(more ...[]byte) [][]byte {
	return append(more, []byte(a.Reason), binary.BigEndian.AppendUint64(nil, uint64(a.Within)))
}

// Proposals returns every proposal of a kind (event.ProposalDeletion and the others) with its approvals, oldest first; of
// every kind for "".
func (c *Core) Proposals(kind string) []approval.Standing {
	var all []approval.Standing
	for _, s := range c.d.Retention.Proposals() {
		if kind == "" || s.Made.Kind == kind {
			all = append(all, s)
		}
	}
	return all
}

// ApprovedProposals is Proposals of those that two different officials approved in time.
func (c *Core) ApprovedProposals(kind string) []approval.Standing {
	var approved []approval.Standing
	for _, s := range c.Proposals(kind) {
		if s.Approved() {
			approved = append(approved, s)
		}
	}
	return approved
}
