package commands

import (
	"context"
	"fmt"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/text"
)

// AcknowledgeLoss ends the alarm of a day whose key was lost before the day was due. It changes nothing else.
type AcknowledgeLoss struct {
	Meta
	Day    calendar.Day
	Reason string // what was done about it, 1 to 200 characters, that name no person: everybody may read them
}

// AcknowledgeLoss returns when the acknowledgement stands in the registry. Errors: ErrInvalid, ErrNotLost, ErrConflict,
// ErrTooOld, and those of the sequencer.
func (c *Core) AcknowledgeLoss(ctx context.Context, cmd AcknowledgeLoss) error {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return err
	}
	reason, err := text.Line("reason", cmd.Reason, maxReason)
	if err != nil {
		return fmt.Errorf("acknowledge the loss of the key of %s: %w: %w", cmd.Day, ErrInvalid, err)
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("acknowledge-loss", []byte(cmd.Day.String()), []byte(cmd.Reason)))
	e := event.LossAcknowledged{Command: c.openCommand(x), Day: cmd.Day.String(), Reason: reason}
	_, _, err = stateFact(ctx, c, x, event.TypeLossAcknowledged, nil, func(at time.Time) (event.LossAcknowledged, error) {
		e.At = at.UnixMicro()
		for _, d := range c.d.Retention.Days(cmd.Day, cmd.Day) {
			if d.Lost && d.Premature && !d.Acknowledged {
				return e, nil
			}
		}
		return e, fmt.Errorf("acknowledge the loss of the key of %s: %w", cmd.Day, ErrNotLost)
	})
	return err
}
