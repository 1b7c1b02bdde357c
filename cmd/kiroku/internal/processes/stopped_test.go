package processes

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/commands"
	"kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// halt stops its own process, once, at a place that has a name: what comes after is done when somebody has it go on.
type halt struct {
	at   string
	done atomic.Bool
}

func (h *halt) here(name string) {
	if h.at == name && h.done.CompareAndSwap(false, true) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(100 * time.Millisecond) // in which it stops: a signal does not come in the same instant
	}
}

// haltAt has a core stop itself at a place of a day's end, or of a rotation of the vault.
func haltAt(place string, c *node.Config, own *hsm.HSM) {
	if place == "" {
		return
	}
	h := &halt{at: place}
	c.LeaseTimeout, c.RotationInterval = lease, 200*time.Millisecond
	c.RetentionPorts = func(d *retention.Deps) {
		d.Facts, d.HSM, d.Views = haltingFacts{d.Facts, h}, haltingHSM{d.HSM, h}, haltingViews{d.Views, h}
	}
	c.VaultKeys = haltingVault{own, h}
}

// lease is how long a core that stands by waits for one that says nothing.
const lease = 2 * time.Second

type haltingFacts struct {
	retention.Facts
	h *halt
}

func (s haltingFacts) ComposeFact(ctx context.Context, id uuid.UUID, eventType string,
	compose func(context.Context, uint64) ([]any, error)) (uint64, bool, error) {
	return s.Facts.ComposeFact(ctx, id, eventType, func(ctx context.Context, next uint64) ([]any, error) {
		all, err := compose(ctx, next)
		if eventType == event.TypeDestructionDecided {
			s.h.here("before the decision")
		}
		return all, err
	})
}

type haltingHSM struct {
	retention.HSM
	h *halt
}

func (s haltingHSM) Destroy(ctx context.Context, day calendar.Day) error {
	s.h.here("before the key is destroyed")
	err := s.HSM.Destroy(ctx, day)
	s.h.here("after the key was destroyed")
	return err
}

type haltingViews struct {
	retention.Views
	h *halt
}

func (s haltingViews) Cleared(ctx context.Context, next uint64) ([]string, error) {
	names, err := s.Views.Cleared(ctx, next)
	s.h.here("before the certificate")
	return names, err
}

type haltingVault struct {
	*hsm.HSM
	h *halt
}

func (s haltingVault) EnsureKey(ctx context.Context, label string) error {
	if label != hsm.LabelVault {
		s.h.here("before the root key is made")
	}
	return s.HSM.EnsureKey(ctx, label)
}

func (s haltingVault) Destroy(ctx context.Context, label string) error {
	s.h.here("before the root key is destroyed")
	err := s.HSM.Destroy(ctx, label)
	s.h.here("after the root key was destroyed")
	return err
}

func (s haltingVault) Token(ctx context.Context, label string) (event.Token, error) {
	t, err := s.TokenOf(ctx, label)
	return event.Token{Label: t.Label, Manufacturer: t.Manufacturer, Model: t.Model, Serial: t.Serial}, err
}

var _ commands.VaultKeys = haltingVault{}

// standsStill reports whether the process is stopped.
func (p *process) standsStill() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "T")
}

// pair is two cores of an office, the first of which stops in the middle of something.
type pair struct {
	*office
	second *remote
	first  calendar.Day
}

func newPair(t *testing.T, place string) *pair {
	t.Helper()
	w := withStore(t)
	p := &pair{office: newOfficeOn(w, func(s *settings) { s.Halt = place })}
	p.first = p.today()
	p.second = p.start("b", p.keeps, func(s *settings) { s.Halt = "nowhere" })
	return p
}

// stopsIn gives the first core something to do, in which it stops, and waits until the second has taken over. What the
// first answers when it goes on is to come.
func (p *pair) stopsIn(r request) (later chan answer) {
	p.t.Helper()
	p.ask(p.second, request{Kind: turns, Offset: p.shift})
	later = make(chan answer, 1)
	go func() {
		a, err := p.core.ask(r, patience)
		if err != nil {
			a.Error = err.Error()
		}
		later <- a
	}()
	eventually(p.t, "the core stops", p.core.standsStill)
	p.second.leads()
	return later
}

func (p *pair) ask(c *remote, r request) answer {
	p.t.Helper()
	a, err := c.ask(r, patience)
	if err != nil || a.Error != "" {
		p.t.Fatalf("%s: %v %s", r.Kind, err, a.Error)
	}
	return a
}

// goesOn has the first core go on: it must say that it did not do it, stand by, and have changed nothing in the ledger.
func (p *pair) goesOn(later chan answer) {
	p.t.Helper()
	before := p.revisions()
	p.core.signal(syscall.SIGCONT)
	if a := <-later; a.Error == "" {
		p.t.Errorf("it says that all is done: %s", a.Outcome)
	}
	eventually(p.t, "it stands by", func() bool { return !p.core.active() })
	if after := p.revisions(); !slices.Equal(before, after) {
		p.t.Errorf("it changed the ledger: %v, before %v", after, before)
	}
}

// revisions are the ids of all events.
func (p *pair) revisions() (all []string) {
	p.t.Helper()
	for _, e := range p.dump() {
		all = append(all, fmt.Sprintf("%s@%d %s", e.Stream, e.Revision, e.ID))
	}
	return all
}

// counts is how often events of a type are in the ledger.
func (p *pair) counts(eventType string) (n int) {
	p.t.Helper()
	for _, e := range p.dump() {
		if e.Type == eventType {
			n++
		}
	}
	return n
}

// exchange is one inquiry at the first core, answered, and an anchor.
func (p *pair) exchange(mark int) {
	p.t.Helper()
	asked := p.do(request{Kind: inquires, ID: p.id(), Agency: "a", Provider: "b", Person: 1, Issued: p.issued["a"], Validity: time.Hour, Mark: mark})
	p.do(request{Kind: reports, ID: p.id(), Agency: "b", Number: asked.Number, At: p.now(), Mark: mark})
	p.do(request{Kind: anchors})
}

// worksAgain checks that the first core mediates when it leads again, and that the ledger verifies.
func (p *pair) worksAgain(mark int) {
	p.t.Helper()
	if code := p.second.stop(); code != 0 {
		p.t.Errorf("the second core ended with %d", code)
	}
	p.core.leads()
	p.exchange(mark)
	p.verified()
}

// TestACoreIsStoppedInTheMiddleOfADaysEnd and another takes over: it takes an order that holds the day, where nothing is
// decided, or ends the day. When the first one goes on, it adds nothing.
func TestACoreIsStoppedInTheMiddleOfADaysEnd(t *testing.T) {
	for _, row := range []struct {
		place string
		held  bool // by the core that took over
	}{
		{"before the decision", true},
		{"before the decision", false},
		{"before the key is destroyed", false},
		{"after the key was destroyed", false},
		{"before the certificate", false},
	} {
		t.Run(fmt.Sprintf("%s, held %v", row.place, row.held), func(t *testing.T) {
			t.Parallel()
			p := newPair(t, row.place)
			p.exchange(1)
			for p.goTo(oneYear.AnnounceFrom(p.first)); p.today().Before(oneYear.Due(p.first)); p.goTo(p.today().AddDays(1)) {
				p.do(request{Kind: ends})
				p.do(request{Kind: anchors})
			}
			p.exchange(2) // for which the key of today is made: who is stopped may keep others from making keys
			later := p.stopsIn(request{Kind: ends})
			stands := "ended"
			if row.place != "before the decision" {
				if a, err := p.second.ask(request{Kind: holds, ID: p.id(), At: p.first.Start()}, patience); err != nil || a.Error == "" {
					t.Errorf("an order was taken for a day whose end is decided: %s, %v", a.Outcome, err)
				}
			}
			if row.held {
				p.ask(p.second, request{Kind: holds, ID: p.id(), At: p.first.Start()})
				stands = "held, key true"
			} else if a := p.ask(p.second, request{Kind: ends}); !strings.Contains(a.Outcome, " 1 certified") {
				t.Errorf("the core that took over: %s", a.Outcome)
			}
			p.goesOn(later)
			if a := p.ask(p.second, request{Kind: plans, At: p.first.Start()}); a.Outcome != stands {
				t.Errorf("the day is %s, want %s", a.Outcome, stands)
			}
			want := 1
			if row.held {
				want = 0
			}
			for _, kind := range []string{event.TypeDayKeyDestroyed, event.TypeDayCertified} {
				if n := p.counts(kind); n != want {
					t.Errorf("%d events %s", n, kind)
				}
			}
			p.worksAgain(3)
		})
	}
}

// TestACoreIsStoppedInTheMiddleOfARotation of the vault, and another takes over and finishes it, or makes one. When the
// first one goes on, it adds nothing, and works with what the other made.
func TestACoreIsStoppedInTheMiddleOfARotation(t *testing.T) {
	for _, place := range []string{"before the root key is made", "before the root key is destroyed", "after the root key was destroyed"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, place)
			p.exchange(1)
			later := p.stopsIn(request{Kind: rotates, ID: p.id(), Mark: 1})
			if _, err := p.second.ask(request{Kind: rotates, ID: p.id()}, patience); err != nil { // or it has finished it by itself
				t.Errorf("the core that took over: %v", err)
			}
			eventually(t, "the core that took over has rotated", func() bool { return p.counts(event.TypeVaultRotated) > 0 })
			before := p.counts(event.TypeVaultRotated)
			p.goesOn(later)
			if n := p.counts(event.TypeVaultRotated); n != before || n == 0 {
				t.Errorf("%d rotations, before %d", n, before)
			}
			p.worksAgain(2)
		})
	}
}
