// Package simulate lets a whole core live through years in minutes, on its real parts and an injected clock, and holds the
// retention against books of its own. It promises to whoever has to believe that seven years (Order 30) are kept to the
// day: on every day that was lived, exactly the days that were due by these books had lost their key, each with one
// certificate, nothing of them opened any more, all of the days after them did, and the ledger verified.
//
// The books are kept from what the simulation itself ordered and from the events as the store holds them. When a day is
// due they reckon by themselves; nothing of the retention's own reckoning is used.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/pki"
	"kiroku/domain/approval"
	"kiroku/domain/calendar"
)

// Years is how long Options.Days are by default: nine, two leap days among them.
const Years = 3287

// Options say how much is lived through.
type Options struct {
	Days   int          // that are lived
	PerDay int          // inquiries of each, at least 2
	From   calendar.Day // the first
	Seed   uint64       // which of the possible histories
	Checks int          // days, chosen by the seed, on which the whole ledger is verified before and after the pass
	// Busy is how many days there is work at the beginning. Then years follow with nothing but an anchor a week, until the
	// first of these days is to be announced. 0: every day has work.
	Busy int
	// Progress is told how far it has come; it may be nil.
	Progress func(Progress)
}

// Progress is how far a simulation has come.
type Progress struct {
	Day     calendar.Day
	Done    int // days lived or passed over
	Of      int
	Ended   int // days whose key is destroyed
	Keys    int // keys of days in the token
	Elapsed time.Duration
}

// Check refuses what cannot be simulated.
func (o Options) Check() error {
	switch {
	case o.Days < 1 || o.PerDay < 2 || o.Checks < 0 || o.Busy < 0:
		return fmt.Errorf("%d days with %d inquiries each, %d of them with work and %d checked: a simulation has at least 1 day with 2 inquiries", o.Days, o.PerDay, o.Busy, o.Checks)
	case o.From.IsZero() || o.From.AddDays(o.Days).IsZero():
		return errors.New("the days to simulate are beyond the calendar")
	}
	return nil
}

// ErrWrong: something came out otherwise than the books say.
var ErrWrong = errors.New("the simulation found something wrong")

// wrong makes an error that says so.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrWrong}, args...)...)
}

// Parts is what is simulated on: an active core on a new ledger, opened as Configure says.
type Parts struct {
	Node  *node.Node
	Store *eventstore.Store
	HSM   *hsm.HSM
	// Afresh closes the node and opens it again, as Configure then says.
	Afresh func(context.Context) (Parts, error)
	// StoreBytes is how much disk the store takes.
	StoreBytes func() (int64, error)
}

// Simulation is one history. It is used once, by one goroutine.
type Simulation struct {
	o      Options
	clock  clock
	random *rand.Rand

	known   approval.Officials
	signers []pki.Signer

	Parts
	books   *books
	offices *offices
	checks  map[calendar.Day]bool
	now     []calendar.Day // ended by today's pass
	report  Report
	began   time.Time
	year    int       // in which the core was started last
	calls   hsm.Calls // before
}

// New begins a history.
func New(o Options) (*Simulation, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	s := &Simulation{o: o, random: rand.New(rand.NewPCG(o.Seed, 7)), books: newBooks(), checks: map[calendar.Day]bool{}}
	s.clock.set(o.From.Start())
	var lived []calendar.Day
	for i := range o.Days {
		if day := o.From.AddDays(i); !s.quiet(i, day) {
			lived = append(lived, day)
		}
	}
	for _, i := range s.random.Perm(len(lived))[:min(o.Checks, len(lived))] {
		s.checks[lived[i]] = true
	}
	s.report = Report{From: o.From, To: o.From.AddDays(o.Days - 1), Days: o.Days, PerDay: o.PerDay, Seed: o.Seed, Took: map[string]float64{}}
	return s, s.newOfficials()
}

// never is an interval in which nothing happens by itself: the simulation does everything when it is its time.
const never = 1000 * time.Hour

// Configure is how a node of the simulation is opened.
func (s *Simulation) Configure(c *node.Config) {
	c.Now, c.MaxClockStep = s.clock.now, -1
	c.AnchorInterval, c.LapseInterval, c.RetentionInterval = never, never, -1
	c.Officials = s.known
}

// Run lives through all days. An error names the day, and is ErrWrong unless the simulation was interrupted. The report
// then says how far it came.
func (s *Simulation) Run(ctx context.Context, p Parts) (Report, error) {
	s.Parts, s.began = p, time.Now()
	s.calls = p.HSM.Calls()
	err := s.live(ctx)
	s.report.Seconds = time.Since(s.began).Seconds()
	s.report.TokenCalls = s.HSM.Calls().Sub(s.calls).String()
	return s.report, err
}

func (s *Simulation) live(ctx context.Context) error {
	for i := range s.o.Days {
		day := s.o.From.AddDays(i)
		err := s.day(ctx, i, day)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted on %s: %w", day, context.Cause(ctx))
		}
		if err != nil && !errors.Is(err, ErrWrong) {
			err = fmt.Errorf("%w: %w", ErrWrong, err)
		}
		if err != nil {
			return fmt.Errorf("on %s: %w", day, err)
		}
	}
	return nil
}

// day lives through one day, or passes over it.
func (s *Simulation) day(ctx context.Context, i int, day calendar.Day) error {
	if s.quiet(i, day) {
		if i%7 == 0 {
			s.clock.set(day.End().Add(-time.Microsecond)) // a step between two anchors proves a week at most
			return s.Node.Anchor(ctx)
		}
		return nil
	}
	for _, part := range []struct {
		name string
		do   func(context.Context, calendar.Day) error
	}{{"opening", s.begin}, {"working", s.morning}, {"retention", s.pass}, {"verifying", s.compare}, {"working", s.work}, {"anchoring", s.anchor}} {
		at := time.Now()
		err := part.do(ctx, day)
		s.report.Took[part.name] += time.Since(at).Seconds()
		if err != nil {
			return err
		}
	}
	s.report.Lived++
	if next := day.AddDays(1); i == s.o.Days-1 || yearOf(next) != yearOf(day) {
		if err := s.endYear(ctx, day); err != nil {
			return err
		}
	}
	s.progress(i+1, day)
	return nil
}

// quiet reports whether nothing happens on a day.
func (s *Simulation) quiet(i int, day calendar.Day) bool {
	return s.o.Busy > 0 && i >= s.o.Busy && day.Before(due(s.o.From).AddDays(-40))
}

// busy reports whether there is work on a day.
func (s *Simulation) busy(day calendar.Day) bool {
	return s.o.Busy == 0 || day.DaysSince(s.o.From) < s.o.Busy
}

func (s *Simulation) progress(done int, day calendar.Day) {
	if s.o.Progress != nil {
		s.o.Progress(Progress{Day: day, Done: done, Of: s.o.Days, Ended: s.report.Ended, Keys: s.books.keys(), Elapsed: time.Since(s.began)})
	}
}

func yearOf(day calendar.Day) int {
	year, _, _ := day.Date()
	return year
}
