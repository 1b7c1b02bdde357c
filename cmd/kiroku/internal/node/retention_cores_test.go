package node_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	ends "kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/projections"
)

// A core that dies when the token has destroyed a key, before it could say so, is replaced by one with views of its own,
// which finds the key gone, says so, and certifies.
func TestAnotherCoreFinishesWhatOneBegan(t *testing.T) {
	fault := &tokenFault{}
	k := newKeeping(t, brief)
	k.change = append(k.change, func(c *node.Config) {
		c.RetentionPorts = func(d *ends.Deps) { fault.HSM, d.HSM = d.HSM, fault }
	})
	k.reopen()
	first := k.ready(1)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	fault.destroy = func(ctx context.Context, d calendar.Day) error {
		defer kill()
		return fault.HSM.Destroy(ctx, d)
	}
	_, err := k.core.RetentionProcess.Run(ctx, nil)
	if err == nil {
		t.Error("killed, and all is done")
	}
	k.core.Stop()
	k.core = k.Lead("b", k.change[:len(k.change)-1]...)
	if k.hasKey(first) {
		t.Fatal("the key is there: the test is wrong")
	}
	k.finishes(first)
	k.core.Verify()
}

// slow is a read model elsewhere that does not get on until it is let.
type slow struct {
	mu   sync.Mutex
	at   map[string]projections.Checkpoint
	held bool
}

var errSlow = errors.New("the other store is away")

func (*slow) Name() string        { return "slow" }
func (*slow) Wants(s string) bool { return s == event.StreamRegistry }
func (s *slow) Reset() error      { return nil }
func (s *slow) hold(held bool)    { s.mu.Lock(); defer s.mu.Unlock(); s.held = held }
func (s *slow) leaf() ledger.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[event.StreamRegistry].Leaf
}
func (s *slow) Checkpoint(stream string) (projections.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[stream], nil
}

func (s *slow) Apply(stream string, _ []projections.Opened, to projections.Checkpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return errSlow
	}
	s.at[stream] = to
	return nil
}

// A day is certified when every read model of the core has dropped it, those in other stores too; its key does not wait.
func TestACertificateWaitsForEveryReadModel(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	elsewhere := &slow{at: map[string]projections.Checkpoint{}}
	runner, err := k.core.Follow(projections.Limits{MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}, quiet{}, elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { runner.Run(running) })
	defer done.Wait()
	defer stop()
	wait(t, "the other read model", func() bool { return elsewhere.leaf() != ledger.Hash{} })
	elsewhere.hold(true)
	r, err := k.passCutShort()
	if err == nil || len(r.Destroyed) != 1 || len(r.Certified) != 0 || len(k.certificates()) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if s := k.stands(first); s.Stage != ends.Destroyed {
		t.Errorf("%+v", s)
	}
	elsewhere.hold(false)
	k.finishes(first)
	stop()
	done.Wait()
	k.core.Unfollow(runner)
	k.Turn(day)
	k.pass() // nobody waits for one that has ended
}

type quiet struct{}

func (quiet) Applied(string, string, int, int) {}
func (quiet) Retried(string)                   {}
func (quiet) Halted(string)                    {}

// Days that are late for want of proof are told of, and are no error: the time has to pass.
func TestDaysThatAreLateAreToldOf(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.today()
	k.live(1)
	k.goTo(brief.Due(first).AddDays(20)) // the core was off
	k.pass()
	if s := k.stands(first); !s.Overdue || s.Stage != ends.Noticed || s.Earliest.Before(k.today().AddDays(brief.Notice)) {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(k.Logs.String(), "days are overdue") {
		t.Errorf("the log does not tell:\n%s", k.Logs)
	}
}

// A core that is off for weeks has no proof of the time any more. For what was decided before that does not matter as soon
// as it has anchored; a day of which nothing was decided waits for another notice.
func TestACoreThatIsOffInTheMiddle(t *testing.T) {
	for _, row := range []struct {
		name  string
		at    string
		after bool
		ends  bool
	}{
		{"after the key's end", "destroy", true, true},
		{"before the key's end", "destroy", false, true},
		{"before the decision", "record " + event.TypeDestructionDecided, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			k, f := faulty(t)
			first := k.ready(1)
			k.strikeAt(f, row.at, row.after)
			k.core.Stop()
			k.Turn(40 * day)
			k.open()
			if row.ends {
				k.anchor()
				k.finishes(first)
				return
			}
			if err := k.unchanged(first); err != nil || !k.hasKey(first) {
				t.Errorf("destroyed without proof: %v", err)
			}
			for range brief.Notice + 1 {
				k.anchor()
				k.Turn(day)
			}
			k.finishes(first)
		})
	}
}
