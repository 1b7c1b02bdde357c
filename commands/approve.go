package commands

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// Approve gives one official's approval of a proposal. Whoever is signed in brings it; what counts is the official's
// certificate and signature.
type Approve struct {
	Meta
	Proposal approval.Hash
	Kind     string // of the proposal, as the official understood it
	Given    approval.Given
}

// Approved is what came of an approval.
type Approved struct {
	Approvals int // that count, with this one
	Needed    int
}

// ErrOtherKind: the official meant to approve something else.
var ErrOtherKind = errors.New("the proposal is of another kind")

// Approve records the approval. The certificate itself, which names the official, stands sealed in the audit stream; the
// registry has its hash and its public key, by which everybody can prove the signature. Errors: ErrNotFound, ErrOtherKind,
// approval's, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) Approve(ctx context.Context, cmd Approve) (Approved, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return Approved{}, err
	}
	given := [][]byte{cmd.Proposal[:], []byte(cmd.Kind), cmd.Given.Signature}
	certificates := append([]event.Protected{cmd.Given.Certificate}, cmd.Given.Chain...)
	for _, der := range certificates {
		given = append(given, der)
	}
	if err := c.TakeConfigured(ctx); err != nil {
		return Approved{}, err
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("approve", given...))
	if _, err := c.mayCount(cmd, c.now()); err != nil && c.registry.before(x) == nil {
		return Approved{}, err // before anything is recorded; a repeated command is answered as it was
	}
	recorded, _, err := stateFact(ctx, c, x, event.TypeProposalApproved, certificates, func(at time.Time) (event.ProposalApproved, error) {
		a, err := c.mayCount(cmd, at)
		a.Command = c.openCommand(x)
		return a, err
	})
	if err != nil {
		return Approved{}, err
	}
	outcome := c.outcomeOf(recorded)
	if outcome.Approvals >= outcome.Needed {
		_ = c.CarryOutApprovals(ctx) // what fails here is carried out by whoever calls it at intervals
	}
	return outcome, nil
}

// mayCount proves an approval as of a time and makes its fact, or says why it cannot count.
func (c *Core) mayCount(cmd Approve, at time.Time) (event.ProposalApproved, error) {
	var none event.ProposalApproved
	s, ok := c.d.Retention.Proposal(cmd.Proposal)
	switch {
	case !ok:
		return none, fmt.Errorf("proposal %s: %w", cmd.Proposal, ErrNotFound)
	case s.Made.Kind != cmd.Kind:
		return none, fmt.Errorf("proposal %s of a %s, not of a %s: %w", s.Hash, s.Made.Kind, cmd.Kind, ErrOtherKind)
	}
	known, err := c.officialsInForce()
	if err != nil {
		return none, fmt.Errorf("approve: %w", err)
	}
	signer, err := known.Verify(s.Hash, cmd.Given, at)
	if err != nil {
		return none, fmt.Errorf("approve: %w", err)
	}
	if err := errors.Join(s.Timely(), lasts(s, at)); err != nil {
		return none, fmt.Errorf("approve: %w", err)
	}
	official := c.official(signer)
	if err := s.Admit(official, signer.SPKI, at); err != nil {
		return none, fmt.Errorf("approve: %w", err)
	}
	return event.ProposalApproved{Proposal: s.Hash[:], Official: official, Certificate: signer.Certificate[:], SPKI: signer.SPKI,
		Authority: signer.Authority[:], Signature: cmd.Given.Signature, At: at.UnixMicro()}, nil
}

// official is the pseudonym of a certificate's subject, which only the core can make.
func (c *Core) official(s approval.Signer) string {
	d := c.d.Keyring.Digest("official", s.Subject)
	return "official-" + hex.EncodeToString(d[:])
}

// outcomeOf counts the approvals up to one: the same for the command that gave it and when that is given again.
func (c *Core) outcomeOf(a event.ProposalApproved) Approved {
	out := Approved{Approvals: 1, Needed: approval.Needed}
	s, _ := c.d.Retention.Proposal(approval.Hash(a.Proposal))
	for i, counting := range s.Counting() {
		if counting.Official == a.Official {
			out.Approvals = i + 1
		}
	}
	return out
}
