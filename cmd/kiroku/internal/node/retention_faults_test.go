package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"kiroku/cmd/kiroku/internal/node"
	ends "kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// errFault is what a port says in place of its own answer.
var errFault = errors.New("a fault, as the test wants it")

// faults stand between the process and its ports. Each call of a port that does something is a point at which the process may
// be killed: before it is done, or when it is done and nobody heard.
type faults struct {
	mu    sync.Mutex
	calls []string // since arm
	at    int      // index of the call at which it strikes; -1: never
	name  string   // of the call at which it strikes, if not empty
	after bool     // strikes when the call is done
	kill  context.CancelFunc
	hsm   func(ends.HSM) ends.HSM
}

func (f *faults) arm(at int, after bool, kill context.CancelFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.at, f.name, f.after, f.kill = nil, at, "", after, kill
}

// armAt strikes at the first call of a name.
func (f *faults) armAt(name string, after bool, kill context.CancelFunc) {
	f.arm(-1, after, kill)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.name = name
}

func (f *faults) disarm() { f.arm(-1, false, nil) }

func (f *faults) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// call runs one call of a port.
func (f *faults) call(name string, do func() error) error {
	f.mu.Lock()
	strikes := len(f.calls) == f.at || f.name == name && !slices.Contains(f.calls, name)
	f.calls = append(f.calls, name)
	after, kill := f.after, f.kill
	f.mu.Unlock()
	if !strikes {
		return do()
	}
	var err error
	if after {
		err = do()
	}
	if kill != nil {
		kill()
	}
	return errors.Join(errFault, err)
}

func (f *faults) ports(d *ends.Deps) {
	d.Pause = 1
	d.Facts = faultyFacts{f, d.Facts}
	d.HSM = faultyHSM{f, d.HSM}
	if f.hsm != nil {
		d.HSM = f.hsm(d.HSM)
	}
	d.Views = faultyViews{f, d.Views}
	d.Store = faultyStore{f, d.Store}
	d.Ledger = faultyLedger{d.Ledger, f}
}

type faultyFacts struct {
	f *faults
	p ends.Facts
}

func (p faultyFacts) Writes() error { return p.p.Writes() }

func (p faultyFacts) ComposeFact(ctx context.Context, id uuid.UUID, eventType string,
	compose func(context.Context, uint64) ([]any, error)) (first uint64, recorded bool, err error) {
	err = p.f.call("record "+eventType, func() (err error) {
		first, recorded, err = p.p.ComposeFact(ctx, id, eventType, compose)
		return err
	})
	return first, recorded, err
}

type faultyHSM struct {
	f *faults
	p ends.HSM
}

func (p faultyHSM) DayKeys(ctx context.Context) (days []calendar.Day, err error) {
	err = p.f.call("list keys", func() (err error) { days, err = p.p.DayKeys(ctx); return err })
	return days, err
}

func (p faultyHSM) Destroy(ctx context.Context, day calendar.Day) error {
	return p.f.call("destroy", func() error { return p.p.Destroy(ctx, day) })
}

func (p faultyHSM) Token(ctx context.Context) (token event.Token, err error) {
	err = p.f.call("name the token", func() (err error) { token, err = p.p.Token(ctx); return err })
	return token, err
}

type faultyViews struct {
	f *faults
	p ends.Views
}

func (p faultyViews) Cleared(ctx context.Context, next uint64) (names []string, err error) {
	err = p.f.call("clear", func() (err error) { names, err = p.p.Cleared(ctx, next); return err })
	return names, err
}

type faultyStore struct {
	f *faults
	p ends.Store
}

func (p faultyStore) TruncateBefore(ctx context.Context, stream string) (uint64, error) {
	return p.p.TruncateBefore(ctx, stream)
}

func (p faultyStore) SetTruncateBefore(ctx context.Context, stream string, revision uint64) error {
	return p.f.call("hide "+stream, func() error { return p.p.SetTruncateBefore(ctx, stream, revision) })
}

func (p faultyStore) Scavenge(ctx context.Context) error {
	return p.f.call("scavenge", func() error { return p.p.Scavenge(ctx) })
}

type faultyLedger struct {
	ends.Ledger
	f *faults
}

func (p faultyLedger) Open(ctx context.Context, day calendar.Day, stream string, first, next uint64, visit func(string, []byte) error) error {
	return p.f.call("read "+stream, func() error { return p.Ledger.Open(ctx, day, stream, first, next, visit) })
}

// faulty is a world in which days fall due one after the other, with faults in between.
func faulty(t *testing.T) (*keeping, *faults) {
	t.Helper()
	f := &faults{at: -1}
	return newKeeping(t, brief, func(c *node.Config) { c.RetentionPorts, c.Shards = f.ports, 1 }), f
}

// ready lives so many days and goes to the first on which one of them is due; the other days fall due on the days after.
func (k *keeping) ready(days int) (first calendar.Day) {
	k.t.Helper()
	first = k.today()
	k.live(days)
	k.toDue(brief, first)
	return first
}

// ended is how the world stands for what the retention did, in a form that does not depend on how often it was begun.
func (k *keeping) ended(first calendar.Day, days int) string {
	k.t.Helper()
	var b strings.Builder
	destroyed, certified := k.destructions(), k.certificates()
	summaries := facts(k, event.TypeDaySummarised, func(p event.DaySummarised) string { return p.Day })
	for i := range days {
		d := first.AddDays(i)
		name := d.String()
		fmt.Fprintf(&b, "%s: key %v, %d destroyed, %d certified, %d summaries", name, k.hasKey(d), len(destroyed[name]), len(certified[name]), len(summaries[name]))
		for _, e := range destroyed[name] {
			fmt.Fprintf(&b, ", due %s, %d events", e.Due, e.Events)
			for _, r := range e.Streams {
				fmt.Fprintf(&b, ", %s %d-%d with %d data keys", r.Stream, r.First, r.Next, len(r.Keys))
			}
		}
		for _, c := range certified[name] {
			fmt.Fprintf(&b, ", cleared %v", c.Cleared)
		}
		for _, s := range summaries[name] {
			fmt.Fprintf(&b, ", rows %v", s.Rows)
		}
		b.WriteByte('\n')
	}
	for _, stream := range []string{event.StreamAudit, event.RecordStream(0)} {
		mark, err := k.core.Store.TruncateBefore(k.t.Context(), stream)
		if err != nil {
			k.t.Fatal(err)
		}
		truncated, _ := k.core.Retention.Snapshot().Truncated(stream)
		fmt.Fprintf(&b, "%s begins at %d, authorised %d\n", stream, mark, truncated.First)
	}
	return b.String()
}

// sound checks what holds at every moment, whatever was interrupted: nothing is certified whose key is there, nothing is
// destroyed before it is due, and the ledger verifies.
func (k *keeping) sound(first calendar.Day, days int) {
	k.t.Helper()
	destroyed, certified := k.destructions(), k.certificates()
	for i := range days {
		d := first.AddDays(i)
		due := !k.today().Before(brief.Due(d))
		if len(destroyed[d.String()]) > 1 || len(certified[d.String()]) > len(destroyed[d.String()]) {
			k.t.Errorf("%s: %d destroyed, %d certified", d, len(destroyed[d.String()]), len(certified[d.String()]))
		}
		if (len(destroyed[d.String()]) > 0 || !k.hasKey(d)) && !due {
			k.t.Errorf("%s was destroyed on %s, before it was due", d, k.today())
		}
		if len(destroyed[d.String()]) > 0 && k.hasKey(d) {
			k.t.Errorf("the end of %s is recorded, and its key is there", d)
		}
	}
	k.core.Verify()
}

// Every call of a port, before and after it is done, is a point at which the process is killed; each time the next pass
// finishes what was begun, and the world is as if nothing had been interrupted.
func TestAPassThatIsKilledAnywhereIsFinishedByTheNext(t *testing.T) {
	const days = 2
	run := func(t *testing.T, strike int, after, restart bool) (string, []string) {
		k, f := faulty(t)
		first := k.today()
		k.live(days)
		k.core.Register("c") // on a day that goes on living: what is left of the streams begins with it
		k.live(1)
		k.toDue(brief, first)
		k.anchor()
		k.Turn(day) // two days at once
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		f.arm(strike, after, kill)
		_, err := k.core.RetentionProcess.Run(ctx, nil)
		calls := f.seen()
		if strike >= 0 && len(calls) > strike && err == nil {
			t.Errorf("killed at %d (%s), and the pass says that all is done", strike, calls[strike])
		}
		f.disarm()
		if restart {
			k.reopen()
		}
		k.sound(first, days)
		k.pass()
		k.sound(first, days)
		return relative(k.ended(first, days), first), calls
	}
	undisturbed, calls := run(t, -1, false, false)
	for i, name := range calls {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%02d %s, done %v", i, name, after), func(t *testing.T) {
				if got, _ := run(t, i, after, i%3 == 0); got != undisturbed {
					t.Errorf("it ends otherwise than undisturbed:\n%s\nwant\n%s", got, undisturbed)
				}
			})
		}
	}
}

// relative names days by their distance, so that two worlds compare.
func relative(s string, first calendar.Day) string {
	for i := -2; i < 800; i++ {
		s = strings.ReplaceAll(s, first.AddDays(i).String(), fmt.Sprintf("day %d", i))
	}
	return s
}
