package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// ProposeRelease asks two officials to end a legal hold before its time.
type ProposeRelease struct {
	Meta
	Hold uuid.UUID
	Asked
}

// ProposeRelease returns the proposal; the hold ends when two different officials have approved it. Errors: ErrInvalid,
// ErrNotFound, ErrNotInForce, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) ProposeRelease(ctx context.Context, cmd ProposeRelease) (Proposed, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return Proposed{}, err
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("propose-release", cmd.parts(cmd.Hold[:])...))
	p := event.ProposalMade{Kind: event.ProposalHoldRelease, Hold: cmd.Hold[:]}
	return c.propose(ctx, x, p, cmd.Asked, func(at time.Time) error {
		h, ok := c.d.Retention.Hold(cmd.Hold)
		switch {
		case !ok:
			return fmt.Errorf("hold %s: %w", cmd.Hold, ErrNotFound)
		case !h.InForce(calendar.DayOf(at)):
			return fmt.Errorf("hold %s: %w", cmd.Hold, ErrNotInForce)
		}
		return nil
	})
}
