package commands

import (
	"context"
	"time"

	"kiroku/domain/event"
)

// ProposeRotation asks two officials for a rotation of the vault by itself: physical deletions bring about their own.
type ProposeRotation struct {
	Meta
	Asked
}

// ProposeRotation returns the proposal. Errors: ErrInvalid, ErrNotAllowed, ErrConflict, ErrTooOld, and those of the
// sequencer.
func (c *Core) ProposeRotation(ctx context.Context, cmd ProposeRotation) (Proposed, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return Proposed{}, err
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("propose-rotation", cmd.Asked.parts()...))
	return c.propose(ctx, x, event.ProposalMade{Kind: event.ProposalRotation}, cmd.Asked, func(time.Time) error { return nil })
}
