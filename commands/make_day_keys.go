package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/keyring"
)

// ErrDayEnded: the day is one whose key was destroyed. It gets no other: the clock must be wrong.
var ErrDayEnded = errors.New("the key of this day was destroyed; the clock is wrong: put it right, then restart the core")

// ErrDayKeyLost: the token proved itself and lacks the key of a day that the ledger opened. It is not made anew: that would
// hide the loss, and what was sealed before would stay unreadable.
var ErrDayKeyLost = errors.New("the token lacks the key of a day on which records stand, so nothing more is recorded on it: restore the token; until then, or until the next day begins in Japan, commands are refused, also after two officials have acknowledged the loss")

// openedWithin bounds the look whether a day was opened: whoever wants to open one waits meanwhile.
const openedWithin = 30 * time.Second

// lossHolds is how long a loss that was found is taken for granted: commands that queue up do not each ask the token.
const lossHolds = time.Second

// dayLoss is a lost key, and when that was found.
type dayLoss struct {
	day  calendar.Day
	at   time.Time // of the process's own clock
	what error
}

// MakeDayKeys makes the HSM keys of today and of tomorrow (Japan Standard Time) where they are missing, so that midnight
// finds them made. It need not have succeeded for records of a day to be taken: the first of them makes what is missing.
// ErrDayKeyLost means that a key is gone that was in use; nothing is sealed any more with what the core still has of it.
func (c *Core) MakeDayKeys(ctx context.Context) error {
	if err := c.writer(); err != nil {
		return err
	}
	if err := c.d.Steady(); err != nil {
		return err
	}
	if err := c.clockBack(c.now()); err != nil { // a day that was recorded long ago gets no new key
		return err
	}
	c.daysMu.Lock()
	defer c.daysMu.Unlock()
	today := calendar.DayOf(c.now())
	return errors.Join(c.ensureDayKey(ctx, today), c.ensureDayKey(ctx, today.AddDays(1)))
}

// ensureDayKey must be called with daysMu held: between the look for a day's opening and the making of its key nobody of
// this process opens it.
func (c *Core) ensureDayKey(ctx context.Context, day calendar.Day) error {
	if c.d.Ended != nil && c.d.Ended(day) {
		return fmt.Errorf("make the HSM key of %s: %w", day, ErrDayEnded)
	}
	there, err := c.d.DayKey(ctx, day)
	if err != nil {
		return unavailable("look for the HSM key of "+day.String(), err)
	}
	if there {
		return nil
	}
	if err := c.unused(ctx, day); err != nil {
		return err
	}
	if err := c.d.HSM.EnsureDayKey(ctx, keyring.DayLabel(day)); err != nil {
		return unavailable("make the HSM key of "+day.String(), err)
	}
	return nil
}

// unused refuses a day of which the ledger says that it was opened: then there was a key.
func (c *Core) unused(ctx context.Context, day calendar.Day) error {
	if c.d.Opened == nil {
		return nil
	}
	looking, cancel := context.WithTimeoutCause(ctx, openedWithin, fmt.Errorf("the ledger was not read to its end within %s", openedWithin))
	defer cancel()
	opened, err := c.d.Opened(looking, day)
	if err != nil {
		return unavailable("look whether "+day.String()+" was opened", err)
	}
	if !opened {
		return nil
	}
	c.d.Keyring.StopSealing(day)
	err = unavailable("record on "+day.String(), ErrDayKeyLost)
	c.lost = dayLoss{day, time.Now(), err}
	return err
}

// knownLoss is the loss of a day's key that was found a moment ago, nil if none was.
func (c *Core) knownLoss(day calendar.Day) error {
	if c.lost.day == day && time.Since(c.lost.at) < lossHolds {
		return c.lost.what
	}
	return nil
}
