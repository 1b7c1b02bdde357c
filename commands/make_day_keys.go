package commands

import (
	"context"
	"errors"
	"fmt"

	"kiroku/domain/calendar"
	"kiroku/domain/keyring"
)

// ErrDayEnded: the day is one whose key was destroyed. It gets no other: the clock must be wrong.
var ErrDayEnded = errors.New("the key of this day was destroyed; the clock is wrong: put it right, then restart the core")

// MakeDayKeys makes the HSM keys of today and of tomorrow (Japan Standard Time) where they are missing, so that midnight
// finds them made. It need not have succeeded for records of a day to be taken: the first of them makes what is missing.
func (c *Core) MakeDayKeys(ctx context.Context) error {
	if err := c.writer(); err != nil {
		return err
	}
	if c.d.Steady != nil {
		if err := c.d.Steady(); err != nil {
			return err
		}
	}
	if err := c.clockBack(c.now()); err != nil { // a day that was recorded long ago gets no new key
		return err
	}
	today := calendar.DayOf(c.now())
	return errors.Join(c.ensureDayKey(ctx, today), c.ensureDayKey(ctx, today.AddDays(1)))
}

func (c *Core) ensureDayKey(ctx context.Context, day calendar.Day) error {
	if c.d.Ended != nil && c.d.Ended(day) {
		return fmt.Errorf("make the HSM key of %s: %w", day, ErrDayEnded)
	}
	if err := c.d.HSM.EnsureDayKey(ctx, keyring.DayLabel(day)); err != nil {
		return unavailable("make the HSM key of "+day.String(), err)
	}
	return nil
}
