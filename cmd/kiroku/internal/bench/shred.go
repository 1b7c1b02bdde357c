package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/node"
	ends "kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
)

// ShreddingOptions say how much.
type ShreddingOptions struct {
	Events  []int // inquiries of each day that is shredded
	People  int   // asked about; default 1000
	Callers int   // that ask at once; default 256
}

// Shredding measures the end of days of different sizes, seven years later by a clock of its own. It is used once.
type Shredding struct {
	o     ShreddingOptions
	clock shifted
	spent spent
}

// NewShredding is to be Configured into the node on which it runs.
func NewShredding(o ShreddingOptions) *Shredding {
	if o.People == 0 {
		o.People = 1000
	}
	if o.Callers == 0 {
		o.Callers = 256
	}
	s := &Shredding{o: o}
	// Far from midnight, and ahead of the machine's clock: commands are made by that, and must not lie in the future.
	s.clock.turn(time.Until(calendar.DayOf(time.Now()).AddDays(1).Start().Add(9 * time.Hour)))
	return s
}

// Configure is how the node is opened: nothing happens by itself, and what each part of a pass takes is noted.
func (s *Shredding) Configure(c *node.Config) {
	const never = 1000 * time.Hour
	c.Now, c.MaxClockStep = s.clock.now, -1
	c.AnchorInterval, c.LapseInterval, c.RetentionInterval = never, never, -1
	c.RetentionPorts = s.spent.ports
}

// shifted is a clock that goes with the machine's, apart from it.
type shifted struct {
	mu sync.Mutex
	by time.Duration
}

func (c *shifted) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.by)
}

func (c *shifted) turn(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += by
}

const day = 24 * time.Hour

// Run fills a day for each size, lets seven years pass, and measures the pass on which each of the days is due.
func (s *Shredding) Run(ctx context.Context, p Parts) (Report, error) {
	r := newReport("retention", p)
	s.spent.calls = p.HSM.Calls
	first := calendar.DayOf(s.clock.now())
	offices, err := populate(ctx, p, 2, s.o.People)
	if err != nil {
		return r, err
	}
	for _, n := range s.o.Events {
		_, err := together(ctx, s.o.Callers, n, func(ctx context.Context, i int) error { return offices[0].inquire(ctx, p, offices[1], i%s.o.People) })
		if err != nil {
			return r, fmt.Errorf("fill a day with %d events: %w", n, err)
		}
		if err := p.Node.Anchor(ctx); err != nil {
			return r, err
		}
		s.clock.turn(day)
	}
	if err := p.Node.Anchor(ctx); err != nil { // more than a week between two anchors proves a week
		return r, err
	}
	due := retention.Statutory.Due(first)
	for calendar.DayOf(s.clock.now()).AddDays(7).Before(retention.Statutory.AnnounceFrom(first)) {
		s.clock.turn(7 * day)
		if err := p.Node.Anchor(ctx); err != nil {
			return r, err
		}
	}
	for calendar.DayOf(s.clock.now()).Before(due) {
		if _, err := s.pass(ctx, p); err != nil {
			return r, err
		}
	}
	for i, n := range s.o.Events {
		m, err := s.shred(ctx, p, first.AddDays(i), n)
		if err != nil {
			return r, err
		}
		if i > 0 {
			m.atMost("token calls that end the key, as many as for the smallest day", float64(r.Measures[0].Parts[0].Calls), float64(m.Parts[0].Calls))
		}
		r.Measures = append(r.Measures, m)
	}
	return r, nil
}

// pass runs the retention, anchors, and lets a day pass.
func (s *Shredding) pass(ctx context.Context, p Parts) (ends.Report, error) {
	report, err := p.Node.RetentionProcess.Run(ctx, nil)
	if err == nil {
		err = p.Node.Anchor(ctx)
	}
	s.clock.turn(day)
	return report, err
}

// shred measures the pass that ends a day.
func (s *Shredding) shred(ctx context.Context, p Parts, of calendar.Day, events int) (Measure, error) {
	for today := calendar.DayOf(s.clock.now()); today.Before(retention.Statutory.Due(of)); today = calendar.DayOf(s.clock.now()) {
		if _, err := s.pass(ctx, p); err != nil { // after 28 February two days are due together, or none
			return Measure{}, err
		}
	}
	s.spent.begin()
	began, err := p.start(ctx)
	if err != nil {
		return Measure{}, err
	}
	report, err := p.Node.RetentionProcess.Run(ctx, nil)
	if err != nil {
		return Measure{}, err
	}
	m, err := began.stop(ctx, fmt.Sprintf("shredding a day of %d events", events), "events", events, nil)
	if err != nil {
		return Measure{}, err
	}
	if len(report.Destroyed) == 0 || report.Destroyed[0] != of {
		return Measure{}, fmt.Errorf("the pass on which %s is due destroyed %v: %s", of, report.Destroyed, why(ctx, p, of))
	}
	m.Acknowledged = "the key is destroyed, the views are cleared and written anew, the certificate is durable, the streams are cut and what was cut is removed"
	m.Parts = s.spent.parts(m.Seconds)
	if err := p.Node.Anchor(ctx); err != nil {
		return Measure{}, err
	}
	s.clock.turn(day)
	return m, nil
}

// why says what the plan has to say of a day.
func why(ctx context.Context, p Parts, of calendar.Day) string {
	plan, err := p.Node.RetentionProcess.Plan(ctx)
	if err != nil {
		return err.Error()
	}
	for _, d := range plan.Days {
		if d.Day == of {
			return fmt.Sprintf("%s, %s", d.Stage, d.Reason)
		}
	}
	return "the plan does not name it"
}

// Part is one part of a measure.
type Part struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
	Calls   uint64  `json:"token_calls"` // of all kinds, searches included
}

// The parts of a pass, in their order.
const (
	partKey = iota
	partToken
	partSummary
	partViews
	partStore
	partRegistry
	passParts
)

var partNames = [passParts]string{"token: destroying the key", "token: listing the keys of all days", "summary: reading and opening the day's events",
	"views: dropping the day, writing the files anew", "store: hiding and removing", "registry: recording what was done"}

// spent notes what the parts of a pass take, at its ports. A pass calls them one after the other.
type spent struct {
	calls func() hsm.Calls
	took  [passParts]time.Duration
	made  [passParts]uint64
}

func (s *spent) begin() { s.took, s.made = [passParts]time.Duration{}, [passParts]uint64{} }

// during notes a call. What a part does within another counts once, for itself.
func (s *spent) during(part int, do func() error) error {
	if s.calls == nil {
		return do()
	}
	inner, innerCalls := s.sums()
	at, calls := time.Now(), s.calls().Total()
	err := do()
	nested, nestedCalls := s.sums()
	s.took[part] += time.Since(at) - (nested - inner)
	s.made[part] += s.calls().Total() - calls - (nestedCalls - innerCalls)
	return err
}

func (s *spent) sums() (took time.Duration, made uint64) {
	for i := range passParts {
		took += s.took[i]
		made += s.made[i]
	}
	return took, made
}

func (s *spent) parts(whole float64) []Part {
	var all []Part
	rest := whole
	for i, name := range partNames {
		all = append(all, Part{name, s.took[i].Seconds(), s.made[i]})
		rest -= s.took[i].Seconds()
	}
	return append(all, Part{Name: "the rest: waiting for the projection, planning", Seconds: max(0, rest)})
}

func (s *spent) ports(d *ends.Deps) {
	d.HSM, d.Ledger, d.Views, d.Store, d.Facts = timedHSM{d.HSM, s}, timedLedger{d.Ledger, s}, timedViews{d.Views, s}, timedStore{d.Store, s}, timedFacts{d.Facts, s}
}

type timedHSM struct {
	ends.HSM
	s *spent
}

func (t timedHSM) DayKeys(ctx context.Context) (days []calendar.Day, err error) {
	err = t.s.during(partToken, func() (err error) { days, err = t.HSM.DayKeys(ctx); return err })
	return days, err
}

func (t timedHSM) Destroy(ctx context.Context, of calendar.Day) error {
	return t.s.during(partKey, func() error { return t.HSM.Destroy(ctx, of) })
}

func (t timedHSM) Token(ctx context.Context) (token event.Token, err error) {
	err = t.s.during(partKey, func() (err error) { token, err = t.HSM.Token(ctx); return err })
	return token, err
}

type timedLedger struct {
	ends.Ledger
	s *spent
}

func (t timedLedger) Open(ctx context.Context, of calendar.Day, stream string, first, next uint64, visit func(string, []byte) error) error {
	return t.s.during(partSummary, func() error { return t.Ledger.Open(ctx, of, stream, first, next, visit) })
}

type timedViews struct {
	ends.Views
	s *spent
}

func (t timedViews) Cleared(ctx context.Context, next uint64) (names []string, err error) {
	err = t.s.during(partViews, func() (err error) { names, err = t.Views.Cleared(ctx, next); return err })
	return names, err
}

type timedStore struct {
	ends.Store
	s *spent
}

func (t timedStore) SetTruncateBefore(ctx context.Context, stream string, revision uint64) error {
	return t.s.during(partStore, func() error { return t.Store.SetTruncateBefore(ctx, stream, revision) })
}

func (t timedStore) Scavenge(ctx context.Context) error {
	return t.s.during(partStore, func() error { return t.Store.Scavenge(ctx) })
}

type timedFacts struct {
	ends.Facts
	s *spent
}

func (t timedFacts) ComposeFact(ctx context.Context, id uuid.UUID, eventType string, compose func(context.Context, uint64) ([]any, error)) (first uint64, recorded bool, err error) {
	err = t.s.during(partRegistry, func() (err error) {
		first, recorded, err = t.Facts.ComposeFact(ctx, id, eventType, compose)
		return err
	})
	return first, recorded, err
}
