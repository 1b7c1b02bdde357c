package retention

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/retention"
)

// Stage is how far the end of a day has come.
type Stage string

// Stages of a day, in their order.
const (
	Kept       Stage = "kept"      // not due, and no notice is needed yet
	Unnoticed  Stage = "unnoticed" // the notice is to be given now
	Noticed    Stage = "noticed"   // the notice was given and its time is not over
	Unproven   Stage = "unproven"  // due, but that the time truly passed is not proven
	Held       Stage = "held"      // due, and kept by an order
	Ready      Stage = "ready"     // due, to be destroyed by the next pass
	Decided    Stage = "decided"   // its key is being destroyed
	Destroyed  Stage = "destroyed" // the key is gone; the views are being cleared
	Certified  Stage = "certified"
	KeyMissing Stage = "key missing" // not due, and the token has no key of it: an alarm
)

// Stages returns those that a plan names, in their order.
func Stages() []Stage {
	return []Stage{Kept, Unnoticed, Noticed, Unproven, Held, Ready, Decided, Destroyed, Certified, KeyMissing}
}

// Standing is how a day stands in a plan.
type Standing struct {
	Day      calendar.Day
	Stage    Stage
	Due      calendar.Day // first day on which its key may be destroyed
	Notice   calendar.Day // first day on which the notice may be given
	Overdue  bool         // due on an earlier day than today and not destroyed
	Events   uint64
	Key      bool            // the token holds its key
	Hold     *retention.Hold // that keeps it
	Earliest calendar.Day    // before which it is not destroyed, as far as is known now; zero: not known
	Reason   string          // why it is not ready
	Lost     bool            // the day ended because its key was missing
	Early    bool            // that was before it was due, and nobody acknowledged it
}

// Plan is what falls due when, at one moment.
type Plan struct {
	Today calendar.Day
	Days  []Standing // every day that is not certified, those whose key returned, and those whose loss is to be acknowledged; rising
	Ended int        // days certified
}

// Count returns how many days are in a stage.
func (p Plan) Count(s Stage) int {
	n := 0
	for _, d := range p.Days {
		if d.Stage == s {
			n++
		}
	}
	return n
}

// Overdue returns how many days are overdue.
func (p Plan) Overdue() int {
	n := 0
	for _, d := range p.Days {
		if d.Overdue {
			n++
		}
	}
	return n
}

// in returns the days in a stage.
func (p Plan) in(s Stage) []calendar.Day {
	var days []calendar.Day
	for _, d := range p.Days {
		if d.Stage == s {
			days = append(days, d.Day)
		}
	}
	return days
}

// Plan says what a pass would do now. It changes nothing.
func (p *Process) Plan(ctx context.Context) (Plan, error) {
	plan, _, _, err := p.look(ctx)
	if err != nil {
		return Plan{}, fmt.Errorf("plan the retention: %w", err)
	}
	return plan, nil
}

// look makes a plan, and returns what it rests on. The token is asked after the ledger: a day is opened when its key is
// there. A key that is missing may have been destroyed in between, so the ledger is asked once more before that is said.
func (p *Process) look(ctx context.Context) (Plan, State, map[calendar.Day]bool, error) {
	state, err := p.d.Ledger.Complete(ctx)
	if err != nil {
		return Plan{}, nil, nil, fmt.Errorf("read how the days stand: %w", err)
	}
	keys, err := p.keys(ctx)
	if err != nil {
		return Plan{}, nil, nil, err
	}
	plan := p.plan(state, keys, p.d.Now())
	if plan.Count(KeyMissing) == 0 {
		return plan, state, keys, nil
	}
	if state, err = p.d.Ledger.Complete(ctx); err != nil {
		return Plan{}, nil, nil, fmt.Errorf("read how the days stand: %w", err)
	}
	known := map[calendar.Day]bool{}
	for _, d := range plan.Days {
		known[d.Day] = true
	}
	plan = p.plan(state, keys, p.d.Now())
	for i := range plan.Days { // opened since the token was asked
		if d := &plan.Days[i]; d.Stage == KeyMissing && !known[d.Day] {
			d.Stage, d.Reason = Kept, ""
		}
	}
	return plan, state, keys, nil
}

func (p *Process) keys(ctx context.Context) (map[calendar.Day]bool, error) {
	days, err := p.d.HSM.DayKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the keys of the days: %w", err)
	}
	keys := make(map[calendar.Day]bool, len(days))
	for _, d := range days {
		keys[d] = true
	}
	return keys, nil
}

func (p *Process) plan(state State, keys map[calendar.Day]bool, now time.Time) Plan {
	plan := Plan{Today: calendar.DayOf(now)}
	known := map[calendar.Day]bool{}
	for _, d := range state.Days() {
		known[d.Day] = true
		s := p.standing(state, d, keys[d.Day], now)
		if d.Certified.There {
			plan.Ended++
			if !s.Key && !s.Early {
				continue
			}
		}
		plan.Days = append(plan.Days, s)
	}
	for day := range keys { // made ahead, and never used
		if !known[day] {
			plan.Days = append(plan.Days, p.standing(state, Day{Day: day}, true, now))
		}
	}
	slices.SortFunc(plan.Days, func(a, b Standing) int { return a.Day.Compare(b.Day) })
	return plan
}

func (p *Process) standing(state State, d Day, key bool, now time.Time) Standing {
	s := Standing{Day: d.Day, Due: p.d.Policy.Due(d.Day), Notice: p.d.Policy.AnnounceFrom(d.Day), Events: d.Events, Key: key,
		Lost: d.Loss != nil, Early: d.Loss.alarming()}
	if s.Early {
		s.Reason = ErrLostEarly.Error()
	}
	switch {
	case d.Certified.There:
		s.Stage = Certified
		return s
	case d.Destroyed.There:
		s.Stage = Destroyed
		return s
	}
	today := calendar.DayOf(now)
	s.Overdue = s.Due.Before(today)
	if d.Decided.There {
		s.Stage, s.Reason = Decided, "its key is destroyed by the pass that runs, or the next"
		return s
	}
	if !key && len(d.Streams) > 0 {
		s.Stage, s.Reason = KeyMissing, ErrKeyLost.Error()
		return s
	}
	if today.Before(s.Notice) {
		s.Stage, s.Earliest, s.Reason = Kept, s.Due, fmt.Sprintf("kept through %s", p.d.Policy.KeptThrough(d.Day))
		return s
	}
	v := p.d.Policy.Judge(d.Day, state.Evidence(d.Day, now))
	s.Stage, s.Reason, s.Hold, s.Earliest = p.stage(d, v, now), v.Reason, v.Hold, v.Earliest
	return s
}

func (p *Process) stage(d Day, v retention.Verdict, now time.Time) Stage {
	switch v.State {
	case retention.Ready:
		return Ready
	case retention.Held:
		return Held
	case retention.TimeUnproven:
		return Unproven
	case retention.InNotice:
		return Noticed
	}
	switch {
	case p.d.Policy.MustAnnounce(d.Day, d.Notified, now):
		return Unnoticed
	case d.Announced.There:
		return Noticed
	}
	return Kept
}
