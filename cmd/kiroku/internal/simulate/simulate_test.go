package simulate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/cmd/kiroku/internal/simulate"
	ends "kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/retention"
)

// years runs a simulation on a core of the test.
func years(t *testing.T, o simulate.Options, change ...func(*node.Config)) (simulate.Report, error) {
	t.Helper()
	s, err := simulate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := nodetest.New(t)
	var core *nodetest.Core
	var open func() simulate.Parts
	open = func() simulate.Parts {
		if core != nil {
			core.Stop()
		}
		core = w.Lead("a", append([]func(*node.Config){s.Configure}, change...)...)
		return simulate.Parts{Node: core.Node, Store: core.Store, HSM: core.HSM,
			Afresh:     func(context.Context) (simulate.Parts, error) { return open(), nil },
			StoreBytes: func() (int64, error) { return 1, nil }}
	}
	return s.Run(t.Context(), open())
}

// 29 February 2028 and the days around it are lived; after years with an anchor a week they end, each when it is due, but
// for those that an order holds.
func TestSevenYearsAroundALeapDay(t *testing.T) {
	from := calendar.Of(2028, time.February, 18)
	o := simulate.Options{From: from, Days: 7*365 + 2 + 30, PerDay: 7, Busy: 14, Checks: 3, Seed: 3}
	lived := 0
	o.Progress = func(p simulate.Progress) { lived = p.Done }
	r, err := years(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Ended < 14 || r.HeldDays == 0 || r.Released == 0 || r.Deletions == 0 || r.EventsEnded == 0 || r.Answered == 0 || r.Lapsed == 0 || r.Refused == 0 || r.Disclosed == 0 {
		t.Errorf("something was never done: %+v", r)
	}
	if lived != o.Days || r.Incremental.Times < r.Lived || r.Full.Times < 2*o.Checks || len(r.Years) == 0 || r.Years[len(r.Years)-1].Ended != r.Ended {
		t.Errorf("%d days: %+v", lived, r)
	}
	if !strings.Contains(r.Text(), "each with one certificate") {
		t.Error(r.Text())
	}
}

// The same history twice does the same.
func TestTheSeedChoosesTheHistory(t *testing.T) {
	o := simulate.Options{From: calendar.Of(2030, time.May, 1), Days: 6, PerDay: 4, Checks: 1, Seed: 5}
	first, err := years(t, o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := years(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if first.Inquiries != again.Inquiries || first.Answered != again.Answered || first.Incremental.Events == 0 || first.Inquiries < 4*6-1 {
		t.Errorf("%+v\n%+v", first, again)
	}
}

// lying is a token that says it destroyed a key, and keeps it without listing it.
type lying struct {
	ends.HSM
	hides map[calendar.Day]bool
}

func (l lying) Destroy(_ context.Context, day calendar.Day) error {
	l.hides[day] = true
	return nil
}

func (l lying) DayKeys(ctx context.Context) ([]calendar.Day, error) {
	days, err := l.HSM.DayKeys(ctx)
	return slices.DeleteFunc(days, func(d calendar.Day) bool { return l.hides[d] }), err
}

// A retention that goes wrong is found, on the day on which it does.
func TestWhatGoesWrongIsFoundOnItsDay(t *testing.T) {
	from := calendar.Of(2028, time.February, 27)
	o := simulate.Options{From: from, Days: 7*365 + 2 + 3, PerDay: 2, Busy: 1}
	early := retention.Statutory
	early.Years = 6
	late := retention.Statutory
	late.Years = 8
	for name, row := range map[string]struct {
		change func(*node.Config)
		on     string
	}{
		"a year too early": {func(c *node.Config) { c.RetentionPolicy = early }, "on 2035-02-"},
		"a year too late":  {func(c *node.Config) { c.RetentionPolicy = late }, "on 2035-02-28"},
		"a key that stays": {func(c *node.Config) {
			c.RetentionPorts = func(d *ends.Deps) { d.HSM = lying{d.HSM, map[calendar.Day]bool{}} }
		}, "on 2035-02-28"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := years(t, o, row.change)
			if !errors.Is(err, simulate.ErrWrong) || !strings.Contains(err.Error(), row.on) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestWhatCannotBeSimulated(t *testing.T) {
	good := simulate.Options{From: calendar.Of(2030, time.May, 1), Days: 1, PerDay: 2}
	for name, change := range map[string]func(*simulate.Options){
		"no day": func(o *simulate.Options) { o.Days = 0 }, "no inquiries": func(o *simulate.Options) { o.PerDay = 1 },
		"checks": func(o *simulate.Options) { o.Checks = -1 }, "busy": func(o *simulate.Options) { o.Busy = -1 },
		"no first day": func(o *simulate.Options) { o.From = calendar.Day{} }, "beyond": func(o *simulate.Options) { o.From = calendar.Of(9999, time.December, 1); o.Days = 60 },
	} {
		o := good
		change(&o)
		if _, err := simulate.New(o); err == nil {
			t.Error(name)
		}
	}
}

// An interrupted simulation says so, and does not say that anything was wrong.
func TestASimulationThatIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := simulate.Options{From: calendar.Of(2030, time.May, 1), Days: 50, PerDay: 2, Progress: func(simulate.Progress) { cancel() }}
	s, err := simulate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	core := nodetest.New(t).Lead("a", s.Configure)
	r, err := s.Run(ctx, simulate.Parts{Node: core.Node, Store: core.Store, HSM: core.HSM})
	if !errors.Is(err, context.Canceled) || errors.Is(err, simulate.ErrWrong) || r.Lived != 1 {
		t.Errorf("%v after %d days", err, r.Lived)
	}
}
