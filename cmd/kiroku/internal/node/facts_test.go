package node_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
)

// What the core states by itself stands once, whoever repeats it, and comes before or after every other fact, never beside.
func TestAFactOfTheCoreStandsOnce(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	state := func(id uuid.UUID, days ...string) (uint64, bool, error) {
		return c.Core.ComposeFact(t.Context(), id, event.TypeDestructionAnnounced, func(context.Context, uint64) ([]any, error) {
			var payloads []any
			for _, d := range days {
				payloads = append(payloads, event.DestructionAnnounced{Days: []string{d}, At: w.Now().UnixMicro()})
			}
			return payloads, nil
		})
	}
	id := uuid.New()
	first, recorded, err := state(id, "2019-01-01", "2019-01-02")
	if err != nil || !recorded {
		t.Fatal(recorded, err)
	}
	if again, _, err := state(id, "2019-01-01", "2019-01-02"); err != nil || again != first {
		t.Errorf("again at %d, %v; it stands at %d", again, err, first)
	}
	if _, recorded, err := state(uuid.New()); err != nil || recorded {
		t.Errorf("nothing was recorded: %v, %v", recorded, err)
	}
	var all sync.WaitGroup
	seen := map[uint64]bool{}
	var mu sync.Mutex
	for range 20 {
		all.Go(func() {
			var end uint64
			at, _, err := c.Core.ComposeFact(t.Context(), uuid.New(), event.TypeDestructionAnnounced, func(_ context.Context, next uint64) ([]any, error) {
				end = next
				return []any{event.DestructionAnnounced{Days: []string{"2019-01-03"}}}, nil
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || at != end || seen[at] {
				t.Errorf("recorded at %d, where the registry ended at %d: %v", at, end, err)
			}
			seen[at] = true
		})
	}
	all.Wait()
	if n := nodetest.Count(c.Verify(), event.TypeDestructionAnnounced); n != 22 {
		t.Errorf("%d facts stand, 22 were stated", n)
	}
	refused := errors.New("not now")
	if _, _, err := c.Core.ComposeFact(t.Context(), uuid.New(), event.TypeDayCertified, func(context.Context, uint64) ([]any, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	second := w.Open("b")
	if _, _, err := second.Core.ComposeFact(t.Context(), uuid.New(), event.TypeDayCertified, nil); !errors.Is(err, sequencer.ErrNotWriter) {
		t.Errorf("a core that stands by states facts: %v", err)
	}
}

// The loop makes tomorrow's key before midnight comes; where it could not, the first record of a day makes it.
func TestDayKeysAreMadeAhead(t *testing.T) {
	k := newKeeping(t, brief, func(c *node.Config) { c.RetentionInterval = 50 * time.Millisecond })
	today := k.today()
	made := func(d calendar.Day) func() bool { return func() bool { return k.hasKey(d) } }
	wait(t, "tomorrow's key", made(today.AddDays(1)))
	k.Turn(day)
	wait(t, "the key of the day after", made(today.AddDays(2)))
	k.Turn(5 * day) // the loop may not have looked yet
	k.exchange(inquiry.Provided)
	if !k.hasKey(today.AddDays(6)) {
		t.Error("a record without the key of its day")
	}
}

func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// The loop ends days by itself, in the core that is active.
func TestTheActiveCoreEndsDaysByItself(t *testing.T) {
	k := newKeeping(t, brief, func(c *node.Config) { c.RetentionInterval = 50 * time.Millisecond })
	first := k.today()
	k.live(1)
	k.goTo(brief.AnnounceFrom(first))
	announced := func() bool {
		d, _ := k.core.Retention.Snapshot().Day(first)
		return d.Announced.Revision > 0
	}
	for wait(t, "the notice", announced); k.today().Before(brief.Due(first)); k.Turn(day) {
		k.anchor()
	}
	wait(t, "the certificate", func() bool {
		d, _ := k.core.Retention.Snapshot().Day(first)
		return d.Certified > 0
	})
	if k.hasKey(first) {
		t.Error("its key is there")
	}
}

// A day whose key was destroyed gets no other, whatever the clock says.
func TestADayThatEndedGetsNoOtherKey(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	k.finishes(first)
	back := k.today().DaysSince(first)
	k.Turn(-time.Duration(back) * day)
	_, err := k.core.Core.SubmitInquiry(t.Context(), k.core.Inquiry("a", "b", k.person))
	if err == nil || k.hasKey(first) {
		t.Errorf("recorded on a day that ended: %v; its key is there: %v", err, k.hasKey(first))
	}
	if err := k.core.Core.MakeDayKeys(t.Context()); !errors.Is(err, sequencer.ErrClockBack) && !errors.Is(err, commands.ErrDayEnded) {
		t.Error(err)
	}
	if k.hasKey(first) {
		t.Error(keyring.DayLabel(first), "was made again")
	}
	k.Turn(time.Duration(back) * day)
}
