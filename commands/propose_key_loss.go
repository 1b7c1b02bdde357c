package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
)

// ProposeKeyLoss asks two officials to state that the HSM's key of a day is gone for good, though the registry does not say
// that it was destroyed: a backup from before the destruction was restored, or the key was lost in the HSM. It destroys
// nothing.
type ProposeKeyLoss struct {
	Meta
	Day calendar.Day
	Asked
}

// Errors of lost keys.
var (
	ErrKeyThere = errors.New("the token holds the key of the day: nothing is lost, and nobody's approval destroys it")
	ErrNotOver  = errors.New("the day is not over: a loss can be stated when a full day has passed since")
	ErrHeld     = errors.New("an order holds the day; have the hold released first")
	ErrNotLost  = errors.New("there is no loss of this day's key to be acknowledged: it was not lost before the day was due, or was acknowledged already")
)

// ProposeKeyLoss returns the proposal. When two different officials have approved it, and until it expires, the retention
// looks for the key once more and, if the token proves itself and lacks it, records that the day has ended by that. Errors:
// ErrInvalid, ErrNotFound (the ledger holds nothing of the day), ErrDestroyed, ErrNotOver, ErrHeld, ErrKeyThere, ErrConflict,
// ErrTooOld, and those of the sequencer.
func (c *Core) ProposeKeyLoss(ctx context.Context, cmd ProposeKeyLoss) (Proposed, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return Proposed{}, err
	}
	if cmd.Day.IsZero() {
		return Proposed{}, fmt.Errorf("loss of a key: a day is needed: %w", ErrInvalid)
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("propose-key-loss", cmd.parts([]byte(cmd.Day.String()))...))
	p := event.ProposalMade{Kind: event.ProposalKeyLoss, Day: cmd.Day.String()}
	return c.propose(ctx, x, p, cmd.Asked, func(at time.Time) error {
		if err := c.mayBeLost(ctx, cmd.Day, at); err != nil {
			return fmt.Errorf("loss of the key of %s: %w", cmd.Day, err)
		}
		return nil
	})
}

// mayBeLost runs while nobody else writes to the registry.
func (c *Core) mayBeLost(ctx context.Context, day calendar.Day, at time.Time) error {
	days := c.d.Retention.Days(day, day)
	switch {
	case len(days) == 0 || !days[0].Filled:
		return fmt.Errorf("of a day of which the ledger holds nothing: %w", ErrNotFound)
	case days[0].Destroyed:
		return ErrDestroyed
	case !retention.Over(day, at):
		return ErrNotOver
	}
	for _, h := range c.d.Retention.Holds() {
		if h.Covers(day, calendar.DayOf(at)) {
			return fmt.Errorf("%w: %s", ErrHeld, h.ID)
		}
	}
	there, err := c.d.DayKey(ctx, day)
	switch {
	case err != nil:
		return unavailable("look for the HSM key of "+day.String(), err)
	case there:
		return ErrKeyThere
	case days[0].Decided: // the pass that destroyed it was interrupted; the next one says so
		return ErrDestroyed
	}
	return nil
}
