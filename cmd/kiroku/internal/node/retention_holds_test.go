package node_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/commands"
	ends "kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
)

// strikeAt runs a pass that is killed at the first call of a name.
func (k *keeping) strikeAt(f *faults, name string, after bool) {
	k.t.Helper()
	ctx, kill := context.WithCancel(k.t.Context())
	defer kill()
	f.armAt(name, after, kill)
	if _, err := k.core.RetentionProcess.Run(ctx, nil); err == nil {
		k.t.Fatalf("the pass was not killed at %q: %v", name, f.seen())
	}
	f.disarm()
}

// An order that comes between the summary and the destruction is obeyed; when it ends, the day has one summary.
func TestAHoldAfterTheSummary(t *testing.T) {
	k, f := faulty(t)
	first := k.ready(1)
	k.strikeAt(f, "record "+event.TypeDestructionDecided, false)
	until := k.today().AddDays(3)
	k.hold(first, until)
	for !k.today().After(until) {
		if err := k.unchanged(first); err != nil {
			t.Error(err)
		}
		if s := k.stands(first); s.Stage != ends.Held || !k.hasKey(first) {
			t.Errorf("%+v", s)
		}
		k.anchor()
		k.Turn(day)
	}
	k.finishes(first)
	if n := len(facts(k, event.TypeDaySummarised, func(p event.DaySummarised) string { return p.Day })[first.String()]); n != 1 {
		t.Errorf("%d summaries", n)
	}
}

// An order that comes when the destruction is decided is refused, whether the token has done it or not.
func TestAHoldAfterTheDecision(t *testing.T) {
	for _, done := range []bool{false, true} {
		t.Run(fmt.Sprintf("the token did it: %t", done), func(t *testing.T) {
			k, f := faulty(t)
			first := k.ready(1)
			k.strikeAt(f, "destroy", done)
			if s := k.stands(first); k.hasKey(first) == done || len(k.destructions()) > 0 || s.Stage != ends.Decided {
				t.Fatalf("it was not interrupted in between: %+v", s)
			}
			if _, err := k.core.Core.AddHold(t.Context(), holdOf(k, first)); !errors.Is(err, commands.ErrDestroyed) {
				t.Errorf("held what is decided: %v", err)
			}
			k.finishes(first)
		})
	}
}

// A core that stands still between the decision and the token, while another takes over, does in the end what was decided:
// no order came in between. Before the decision it does nothing.
func TestACoreThatStandsStillBeforeTheToken(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	k.core.Stop()
	fault := &tokenFault{}
	k.core = k.Lead("a", append(k.change, func(c *node.Config) {
		c.LeaseInterval, c.LeaseTimeout = time.Hour, 2*time.Hour // it does not say that it lives
		c.RetentionPorts = func(d *ends.Deps) { fault.HSM, d.HSM = d.HSM, fault }
	})...)
	var held error
	fault.destroy = func(ctx context.Context, d calendar.Day) error {
		_, held = k.Lead("b", k.change...).Core.AddHold(t.Context(), holdOf(k, first))
		return fault.HSM.Destroy(ctx, d)
	}
	_, err := k.core.RetentionProcess.Run(t.Context(), nil)
	if !errors.Is(held, commands.ErrDestroyed) {
		t.Errorf("the other core took an order for a day whose end is decided: %v", held)
	}
	if err == nil || k.hasKey(first) || len(k.destructions()) > 0 {
		t.Errorf("the core that was replaced wrote on, or did not do what was decided: %v", err)
	}
}

// The key of a day that is summarised and held, taken away by somebody else, is lost: nothing certifies that it was ended in
// order, and its events stay.
func TestTheKeyOfAHeldDayIsLost(t *testing.T) {
	k, f := faulty(t)
	first := k.ready(1)
	k.strikeAt(f, "record "+event.TypeDestructionDecided, false)
	k.hold(first, k.today().AddDays(30))
	if err := k.core.HSM.Destroy(t.Context(), keyring.DayLabel(first)); err != nil {
		t.Fatal(err)
	}
	if s := k.stands(first); s.Stage != ends.KeyMissing {
		t.Errorf("%+v", s)
	}
	for range 2 {
		r, err := k.core.RetentionProcess.Run(t.Context(), nil)
		if !errors.Is(err, ends.ErrKeyLost) || len(r.Destroyed)+len(r.Certified)+len(r.Truncated) > 0 {
			t.Errorf("%v, %+v", err, r)
		}
	}
	if len(k.destructions())+len(k.certificates()) > 0 {
		t.Error("the ledger says that it was destroyed")
	}
}

// A hold and the destruction of the same day, at the same time: either the hold is refused, or the key stays.
func TestAHoldRacesTheDestruction(t *testing.T) {
	for range 8 {
		fault := &tokenFault{}
		k := newKeeping(t, brief, func(c *node.Config) {
			c.RetentionPorts = func(d *ends.Deps) { fault.HSM, d.HSM = d.HSM, fault }
		})
		first := k.ready(1)
		held := make(chan error, 1)
		fault.destroy = func(ctx context.Context, d calendar.Day) error {
			return fault.HSM.Destroy(ctx, d)
		}
		go func() {
			_, err := k.core.Core.AddHold(t.Context(), holdOf(k, first))
			held <- err
		}()
		if _, err := k.core.RetentionProcess.Run(t.Context(), nil); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := <-held; (err == nil) != k.hasKey(first) {
			t.Errorf("the hold: %v; the key is there: %v", err, k.hasKey(first))
		}
		k.core.Stop()
	}
}
