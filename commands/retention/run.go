package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kiroku/domain/calendar"
)

// Report says what a pass did.
type Report struct {
	Before    Plan
	Announced []calendar.Day
	Destroyed []calendar.Day // keys destroyed, with their event
	Returned  []calendar.Day // keys of days that had ended, destroyed again
	Lost      []calendar.Day // days whose keys were missing, recorded as ended by that
	Certified []calendar.Day
	Truncated map[string]uint64 // streams and what they begin with now
	Events    uint64            // that became unreadable
}

// Step is one thing that a pass does, told before it begins.
type Step struct {
	What string       // record the loss, announce, summarise, decide, destroy, clear, certify, truncate, scavenge
	Day  calendar.Day // zero where it concerns several
	Done int          // days of which this is done
	Of   int
}

// pass is one run of the steps.
type pass struct {
	*Process
	say    func(Step)
	report Report
	keys   map[calendar.Day]bool
	errs   []error
}

// Run does everything that is due, in one pass. say, if not nil, is told what is done. An error says what could not be
// done, and is joined of all of them; everything else was done, and the next pass goes on where this one ended. Of a core
// that stands by it is what Facts.Writes says, and nothing was done: the active core does it.
func (p *Process) Run(ctx context.Context, say func(Step)) (Report, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return Report{}, fmt.Errorf("wait for another pass: %w", context.Cause(ctx))
	}
	defer func() { <-p.turn }()
	if err := p.d.Facts.Writes(); err != nil {
		return Report{}, fmt.Errorf("retention: %w", err)
	}
	if say == nil {
		say = func(Step) {}
	}
	s := &pass{Process: p, say: say, report: Report{Truncated: map[string]uint64{}}}
	began := p.d.Now()
	err := s.run(ctx)
	after, planned := s.after(ctx)
	p.status.ran(began, after, planned, err)
	return s.report, err
}

// after is the plan for the metrics, by what the pass learnt of the token; where it cannot be made, they keep the one before.
func (s *pass) after(ctx context.Context) (Plan, bool) {
	if s.keys == nil {
		return Plan{}, false
	}
	state, err := s.d.Ledger.Complete(ctx)
	if err != nil {
		return Plan{}, false
	}
	return s.plan(state, s.keys, s.d.Now()), true
}

func (s *pass) run(ctx context.Context) error {
	plan, state, keys, err := s.look(ctx)
	if err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	s.report.Before, s.keys = plan, keys
	if s.lostDays(ctx, state) {
		if state, err = s.d.Ledger.Complete(ctx); err != nil {
			return errors.Join(append(s.errs, fmt.Errorf("retention: read how the days stand: %w", err))...)
		}
	}
	s.tellLosses(state)
	s.tellOverdue(plan)
	s.note(s.announce(ctx, state))
	s.destroyReturned(ctx, state)
	s.endDays(ctx)
	s.note(s.certify(ctx))
	s.note(s.truncate(ctx))
	return errors.Join(s.errs...)
}

// tellOverdue says which days are late though no order holds them: most often the core was off, or its clock wrong.
func (s *pass) tellOverdue(plan Plan) {
	var late []Standing
	for _, d := range plan.Days {
		if d.Overdue && (d.Stage == Unnoticed || d.Stage == Noticed || d.Stage == Unproven || d.Stage == Decided) {
			late = append(late, d)
		}
	}
	if len(late) > 0 {
		s.d.Log.Warn("days are overdue, and cannot be ended yet", "days", len(late), "first", late[0].Day.String(), "why", late[0].Reason, "earliest", late[0].Earliest.String())
	}
}

func (s *pass) note(err error) {
	if err != nil {
		s.errs = append(s.errs, err)
	}
}

// fail notes what could not be done to a day, and raises the alarm.
func (s *pass) fail(day calendar.Day, step string, err error) {
	err = fmt.Errorf("retention: %s %s: %w", step, day, err)
	s.errs = append(s.errs, err)
	s.d.Log.Error("a day's retention is at fault", "day", day.String(), "step", step, "error", err.Error())
}

// endDays destroys the keys of all days that are ready, and of those that were begun. Where the token has refused two days
// one after the other, it is not fit for the others either.
func (s *pass) endDays(ctx context.Context) {
	days := s.toEnd()
	failed, refused := map[calendar.Day]bool{}, 0
	defer func() { s.failed = failed }()
	for i, day := range days {
		if ctx.Err() != nil {
			s.note(fmt.Errorf("retention: %d days are left for the next pass: %w", len(days)-i, context.Cause(ctx)))
			return
		}
		err := s.end(ctx, day, i, len(days))
		switch {
		case err == nil:
			refused = 0
		case errors.Is(err, errNotReady):
			s.d.Log.Info("a day is not ended now", "day", day.String(), "why", err.Error())
		case !errors.Is(err, ErrNotDestroyed):
			s.fail(day, "end", err)
			failed[day] = true
		default:
			s.fail(day, "end", err)
			failed[day] = true
			if refused++; refused == 2 && i+1 < len(days) {
				s.note(fmt.Errorf("retention: %d days are left for the next pass: two failed one after the other", len(days)-i-1))
				return
			}
		}
	}
}

// toEnd are the days that are ready, and those whose destruction is decided, whose key may be gone already. Those whose end
// failed in the pass before come last: they keep no other from its end.
func (s *pass) toEnd() []calendar.Day {
	var days []calendar.Day
	for _, p := range s.report.Before.Days {
		if p.Stage == Ready || p.Stage == Decided {
			days = append(days, p.Day)
		}
	}
	slices.SortStableFunc(days, func(a, b calendar.Day) int {
		switch {
		case s.failed[a] == s.failed[b]:
			return 0
		case s.failed[b]:
			return -1
		}
		return 1
	})
	return days
}

// end summarises a day, decides that its key is destroyed, and does it.
func (s *pass) end(ctx context.Context, day calendar.Day, done, of int) error {
	s.say(Step{What: "summarise", Day: day, Done: done, Of: of})
	if err := s.summarise(ctx, day); err != nil {
		return err
	}
	s.say(Step{What: "decide", Day: day, Done: done, Of: of})
	if err := s.decide(ctx, day); err != nil {
		return err
	}
	s.say(Step{What: "destroy", Day: day, Done: done, Of: of})
	pause := s.d.Pause
	for attempt := 1; ; attempt++ {
		err := s.destroy(ctx, day)
		if err == nil || !errors.Is(err, ErrNotDestroyed) || attempt == attempts || ctx.Err() != nil {
			return err
		}
		s.d.Log.Warn("the token did not destroy the key of a day; trying again", "day", day.String(), "error", err.Error())
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		pause *= 2
	}
}
