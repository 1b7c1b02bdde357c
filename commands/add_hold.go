package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
)

// AddHold keeps days from destruction by an order (証拠保全 and the like). One official can add a hold; releasing it
// early takes two, see ProposeRelease.
type AddHold struct {
	Meta
	From, To  calendar.Day // first and last day held, at most retention.MostHeldDays; they may lie ahead
	Until     calendar.Day // last day on which it holds, at most retention.MostHeldYears ahead
	Reason    string       // 1 to retention.MaxLine characters, that name no person: everybody may read them
	Authority string       // whose order, with its number; likewise
}

// Errors of holds.
var (
	ErrDestroyed  = errors.New("the keys of days are destroyed already, or it is decided and being done")
	ErrNotInForce = errors.New("the hold is not in force: it was released, or its last day has passed")
)

// AddHold returns the hold's id when the hold is in force: no day in it is destroyed from then on. A hold on a day whose
// destruction is decided is refused, because it would promise what cannot be kept. Errors: ErrInvalid, ErrDestroyed, ErrConflict,
// ErrTooOld, and those of the sequencer.
func (c *Core) AddHold(ctx context.Context, cmd AddHold) (uuid.UUID, error) {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return uuid.Nil, err
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("add-hold", []byte(cmd.From.String()), []byte(cmd.To.String()), []byte(cmd.Until.String()),
		[]byte(cmd.Reason), []byte(cmd.Authority)))
	h, err := retention.NewHold(retention.Hold{ID: uuid.NewSHA1(x.key, []byte("hold")), From: cmd.From, To: cmd.To, Until: cmd.Until,
		Reason: cmd.Reason, Authority: cmd.Authority})
	if err != nil {
		return uuid.Nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	e := event.HoldAdded{Command: c.openCommand(x), Hold: h.ID, From: h.From.String(), To: h.To.String(), Until: h.Until.String(),
		Reason: h.Reason, Authority: h.Authority}
	added, _, err := stateFact(ctx, c, x, event.TypeHoldAdded, nil, func(at time.Time) (event.HoldAdded, error) {
		return e, c.mayHold(h, at)
	})
	return added.Hold, err
}

// mayHold runs while nobody else writes to the registry, and so while no destruction is decided: that is done there too.
func (c *Core) mayHold(h retention.Hold, at time.Time) error {
	if err := h.Admit(calendar.DayOf(at)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var first, last calendar.Day
	for _, d := range c.d.Retention.Days(h.From, h.To) {
		if d.Destroyed || d.Decided {
			if last = d.Day; first.IsZero() {
				first = d.Day
			}
		}
	}
	if first.IsZero() {
		return nil
	}
	return fmt.Errorf("hold %s to %s: %w: those from %s to %s; a hold that begins on %s can be added", h.From, h.To, ErrDestroyed, first, last, last.AddDays(1))
}
