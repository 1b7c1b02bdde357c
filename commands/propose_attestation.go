package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// ProposeAttestation asks two officials to attest that a copy of the HSM's keys, such as a backup or a replica, holds the
// keys of some destroyed days no more.
type ProposeAttestation struct {
	Meta
	Copy     string       // one of those that were ever declared
	From, To calendar.Day // first and last day; both certified as destroyed, and every day of the ledger between
	Asked
}

// Errors of attestations.
var (
	ErrUnknownCopy = errors.New("no such copy of the HSM's keys was declared (retention.copies)")
	// ErrCopyConfigured: it would be declared again at once.
	ErrCopyConfigured = errors.New("the copy stands in retention.copies of this core; take it out there and start the core anew first")
	ErrNotCertified   = errors.New("the day is not certified as destroyed")
)

// ProposeAttestation returns the proposal. When for every known copy two different officials have attested a day, it is
// called unrecoverable. Errors: ErrInvalid, ErrUnknownCopy, ErrNotCertified, ErrConflict, ErrTooOld, and those of the
// sequencer.
func (c *Core) ProposeAttestation(ctx context.Context, cmd ProposeAttestation) (Proposed, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return Proposed{}, err
	}
	if cmd.From.IsZero() || cmd.To.IsZero() || cmd.To.Before(cmd.From) {
		return Proposed{}, fmt.Errorf("attestation: a first and a last day in order are needed: %w", ErrInvalid)
	}
	if err := c.TakeConfigured(ctx); err != nil {
		return Proposed{}, err
	}
	if !slices.Contains(c.d.Retention.Copies().Ever(), cmd.Copy) {
		return Proposed{}, fmt.Errorf("attestation: %w: %w", ErrUnknownCopy, c.knownCopies())
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("propose-attestation", cmd.parts([]byte(cmd.Copy), []byte(cmd.From.String()), []byte(cmd.To.String()))...))
	p := event.ProposalMade{Kind: event.ProposalAttestation, Copy: cmd.Copy, From: cmd.From.String(), To: cmd.To.String()}
	return c.propose(ctx, x, p, cmd.Asked, func(time.Time) error { return c.mayAttest(cmd.From, cmd.To) })
}

func (c *Core) knownCopies() error {
	known := c.d.Retention.Copies().Ever()
	if len(known) == 0 {
		return fmt.Errorf("none is: %w", ErrInvalid)
	}
	return fmt.Errorf("there are %s: %w", strings.Join(known, ", "), ErrInvalid)
}

// mayAttest refuses to have something said of a day whose key lives: nobody can know it.
func (c *Core) mayAttest(from, to calendar.Day) error {
	first, last := false, false
	for _, d := range c.d.Retention.Days(from, to) {
		if !d.Certified {
			return fmt.Errorf("attestation of %s to %s, with %s: %w", from, to, d.Day, ErrNotCertified)
		}
		first, last = first || d.Day == from, last || d.Day == to
	}
	switch {
	case !first:
		return fmt.Errorf("attestation from %s: %w", from, ErrNotCertified)
	case !last:
		return fmt.Errorf("attestation to %s: %w", to, ErrNotCertified)
	}
	return nil
}
