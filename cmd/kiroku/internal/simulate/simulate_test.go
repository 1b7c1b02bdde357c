package simulate_test

import (
	"context"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/cmd/kiroku/internal/simulate"
	"kiroku/domain/calendar"
)

// years runs a simulation on a core of the test.
func years(t *testing.T, o simulate.Options, change ...func(*node.Config)) (simulate.Report, error) {
	t.Helper()
	s, err := simulate.New(o, t.TempDir())
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

// 29 February 2028 and the days around it are lived, and end, after years with an anchor a week, when they are due.
func TestSevenYearsAroundALeapDay(t *testing.T) {
	from := calendar.Of(2028, time.February, 18)
	o := simulate.Options{From: from, Days: 7*365 + 2 + 46, PerDay: 4, Busy: 16, Checks: 2, Seed: 3}
	r, err := years(t, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.Text())
}
