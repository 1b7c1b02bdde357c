package retention

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/text"
)

// MaxLine bounds the reason and the authority of a hold, in characters.
const MaxLine = 200

// Bounds of one hold, which a single operator adds: by a slip, or by will, it must not keep everything for ever. Whatever
// is held is listed, and released by two officials. An order that reaches further is several holds, and one that lasts
// longer is added again before it ends: somebody has to look at it then.
const (
	MostHeldDays  = 400 // days in a range: a fiscal year with a month of leeway
	MostHeldYears = 3   // years that it holds: proceedings seldom take longer without a new order
)

// ErrHold is wrapped by every error of NewHold.
var ErrHold = errors.New("not a hold that can be added")

// Hold keeps days from destruction by an order (証拠保全 and the like). It names no person.
type Hold struct {
	ID        uuid.UUID
	From, To  calendar.Day // first and last day held
	Until     calendar.Day // last day on which it holds
	Reason    string       // 1 to MaxLine characters
	Authority string       // whose order, with its number; 1 to MaxLine characters
	Released  bool         // ended early, as two officials approved
	// Shown is what is proven of now for this hold: the time of the first anchor that holds it, and the proven time since.
	// Zero: no anchor holds it yet.
	Shown time.Time
}

// NewHold checks a hold: an id, days in order, an end, a reason and an authority (ErrHold). The texts are returned in
// normalisation form C. Whether Until has passed is for whoever has a clock.
func NewHold(h Hold) (Hold, error) {
	if h.ID == uuid.Nil {
		return Hold{}, fmt.Errorf("%w: it has no id", ErrHold)
	}
	switch {
	case h.From.IsZero() || h.To.IsZero():
		return Hold{}, fmt.Errorf("%w: the first or the last day held is missing", ErrHold)
	case h.To.Before(h.From):
		return Hold{}, fmt.Errorf("%w: the last day held, %s, is before the first, %s", ErrHold, h.To, h.From)
	case h.Until.IsZero():
		return Hold{}, fmt.Errorf("%w: the last day on which it holds is missing", ErrHold)
	}
	var err error
	if h.Reason, err = text.Line("reason", h.Reason, MaxLine); err != nil {
		return Hold{}, fmt.Errorf("%w: %w", ErrHold, err)
	}
	if h.Authority, err = text.Line("authority", h.Authority, MaxLine); err != nil {
		return Hold{}, fmt.Errorf("%w: %w", ErrHold, err)
	}
	return h, nil
}

// Admit refuses a hold that is added today and reaches too far, or has ended (ErrHold). What stands in the registry is not
// measured by it again.
func (h Hold) Admit(today calendar.Day) error {
	most := today.AddYears(MostHeldYears)
	switch days := h.To.DaysSince(h.From) + 1; {
	case h.Until.Before(today):
		return fmt.Errorf("%w: %s, until which it would hold, has passed", ErrHold, h.Until)
	case h.Until.After(most):
		return fmt.Errorf("%w: it would hold until %s, and a hold that is added today can hold until %s (%d years); add it again before it ends", ErrHold, h.Until, most, MostHeldYears)
	case days > MostHeldDays:
		return fmt.Errorf("%w: %s to %s are %d days, and one hold can hold %d; add several, one for each part of the time", ErrHold, h.From, h.To, days, MostHeldDays)
	}
	return nil
}

// InForce reports whether the hold holds anything on that day. It lapses when the clock and the anchors since it was added
// show both that its last day is over: a clock set forward ends no order.
func (h Hold) InForce(today calendar.Day) bool {
	return !h.Released && (!today.After(h.Until) || h.lacks() > 0)
}

// lacks is the proven time that is missing until the last day is over.
func (h Hold) lacks() time.Duration {
	if h.Shown.IsZero() {
		return 24 * time.Hour // an anchor comes within a day
	}
	return max(0, h.Until.End().Sub(h.Shown))
}

// words tells an official what the hold is.
func (h Hold) words(today calendar.Day) string {
	text := fmt.Sprintf("held until %s by order of %s", h.Until, h.Authority)
	if today.After(h.Until) {
		text += fmt.Sprintf("; that this day has passed is not proven yet, %s are lacking since the order was added", inWords(h.lacks()))
	}
	return text
}

// Covers reports whether the hold keeps day from destruction today.
func (h Hold) Covers(day, today calendar.Day) bool {
	return h.InForce(today) && !day.Before(h.From) && !day.After(h.To)
}

// covering returns the hold that covers day the longest, nil if none does.
func covering(holds []Hold, day, today calendar.Day) *Hold {
	var longest *Hold
	for _, h := range holds {
		if h.Covers(day, today) && (longest == nil || h.Until.After(longest.Until)) {
			longest = &h
		}
	}
	return longest
}
