package node_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/hsm"
	viewfiles "kiroku/adapters/views"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/commands"
	ends "kiroku/commands/retention"
	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
)

// Fifty times, at a point chosen by chance, the process is killed, or one of its ports fails, before or after it did what
// was asked; some of the times the core is restarted, or nothing is done for a day. In the end all is as it must be.
func TestFiftyRandomFaultsChangeNothingInTheEnd(t *testing.T) {
	const days = 50
	k, f := faulty(t)
	first := k.ready(days)
	random := rand.New(rand.NewPCG(30, 7))
	for i := range days {
		ctx, cancel := context.WithCancel(t.Context())
		kill := cancel
		if random.IntN(3) == 0 {
			kill = nil // the port fails, and the process lives
		}
		f.arm(random.IntN(14), random.IntN(2) == 0, kill)
		_, _ = k.core.RetentionProcess.Run(ctx, nil)
		cancel()
		f.disarm()
		if random.IntN(6) == 0 {
			k.reopen()
		}
		if i%10 == 9 {
			k.sound(first, days)
		}
		k.anchor()
		k.Turn(day)
	}
	k.pass()
	k.pass()
	k.sound(first, days)
	destroyed, certified := k.destructions(), k.certificates()
	for i := range days {
		if d := first.AddDays(i).String(); len(destroyed[d]) != 1 || len(certified[d]) != 1 || destroyed[d][0].Events == 0 {
			t.Errorf("%s: %d destroyed, %d certified", d, len(destroyed[d]), len(certified[d]))
		}
	}
}

// unchanged runs a pass that must not destroy or certify anything, and says why.
func (k *keeping) unchanged(d calendar.Day) error {
	k.t.Helper()
	r, err := k.core.RetentionProcess.Run(k.t.Context(), nil)
	if len(r.Destroyed)+len(r.Certified) > 0 || len(k.destructions()[d.String()]) > 0 || len(k.certificates()[d.String()]) > 0 {
		k.t.Errorf("%s was ended: %+v", d, r)
	}
	return err
}

// alarmed checks that somebody is told: by the log, and by the core's readiness.
func (k *keeping) alarmed(what error) {
	k.t.Helper()
	if err := k.core.RetentionProcess.Check(); !errors.Is(err, what) {
		k.t.Errorf("the readiness says %v, want %v", err, what)
	}
}

// finishes ends the day in the end.
func (k *keeping) finishes(d calendar.Day) {
	k.t.Helper()
	k.pass()
	if k.hasKey(d) || len(k.destructions()[d.String()]) != 1 || len(k.certificates()[d.String()]) != 1 {
		k.t.Errorf("%s was not ended after all", d)
	}
	if err := k.core.RetentionProcess.Check(); err != nil {
		k.t.Errorf("the alarm stays: %v", err)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestATokenThatIsAwayOrAnother(t *testing.T) {
	for name, replace := range map[string]func(*keeping){
		"away":       func(*keeping) {},
		"made again": func(k *keeping) { k.again() },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeping(t, brief, func(c *node.Config) { c.RetentionPorts = func(d *ends.Deps) { d.Pause = 1 } })
			first := k.ready(1)
			own, aside := k.Token.Dir(), t.TempDir()+"/token"
			move(t, own, aside)
			replace(k)
			if err := k.unchangedInStore(first); !errors.Is(err, hsm.ErrUnavailable) {
				t.Errorf("without its token the pass says %v", err)
			}
			k.alarmed(hsm.ErrUnavailable)
			if other := k.Token.Dir(); other != "" {
				if err := os.RemoveAll(other); err != nil {
					t.Fatal(err)
				}
			}
			move(t, aside, own)
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if k.core.HSM.Check(t.Context()) == nil { // the client comes back by itself, after a pause
					break
				}
			}
			k.finishes(first)
		})
	}
}

// again makes a token of the same label with other keys.
func (k *keeping) again() {
	k.t.Helper()
	if err := hsm.Init(k.t.Context(), k.Token.Config); err != nil {
		k.t.Fatal(err)
	}
}

// unchangedInStore is unchanged while the token cannot be asked.
func (k *keeping) unchangedInStore(d calendar.Day) error {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
	defer cancel()
	r, err := k.core.RetentionProcess.Run(ctx, nil)
	if len(r.Announced)+len(r.Destroyed)+len(r.Certified)+len(r.Truncated) > 0 || len(k.destructions()) > 0 {
		k.t.Errorf("something was done: %+v", r)
	}
	return err
}

// tokenFault is what a token does in place of destroying.
type tokenFault struct {
	ends.HSM
	destroy func(ctx context.Context, day calendar.Day) error
}

func (h tokenFault) Destroy(ctx context.Context, day calendar.Day) error {
	if h.destroy != nil {
		return h.destroy(ctx, day)
	}
	return h.HSM.Destroy(ctx, day)
}

func TestATokenThatRefusesOrIsUnclear(t *testing.T) {
	refused := errors.New("CKR_ACTION_PROHIBITED")
	for _, row := range []struct {
		name string
		does bool // it destroys, and says that it did not
	}{{"refuses", false}, {"does it and says nothing", true}} {
		t.Run(row.name, func(t *testing.T) {
			fault := &tokenFault{}
			k := newKeeping(t, brief, func(c *node.Config) {
				c.RetentionPorts = func(d *ends.Deps) {
					d.Pause = 1
					fault.HSM = d.HSM
					d.HSM = fault
				}
			})
			first := k.ready(1)
			asked := 0
			fault.destroy = func(ctx context.Context, day calendar.Day) error {
				if asked++; row.does {
					if err := fault.HSM.Destroy(ctx, day); err != nil {
						t.Error(err)
					}
				}
				return refused
			}
			for range 2 {
				if err := k.unchanged(first); !errors.Is(err, ends.ErrNotDestroyed) || !errors.Is(err, refused) {
					t.Errorf("the pass says %v", err)
				}
			}
			k.alarmed(ends.ErrNotDestroyed)
			if asked != 6 {
				t.Errorf("the token was asked %d times in two passes", asked)
			}
			if !strings.Contains(k.Logs.String(), "level=ERROR") {
				t.Error("the log holds no error")
			}
			fault.destroy = nil
			k.finishes(first)
		})
	}
}

// A token that says it destroyed a key and holds it is not believed: there is no certificate while it lists the key.
func TestATokenThatLies(t *testing.T) {
	fault := &tokenFault{}
	k := newKeeping(t, brief, func(c *node.Config) {
		c.RetentionPorts = func(d *ends.Deps) { fault.HSM, d.HSM = d.HSM, fault }
	})
	first := k.ready(1)
	fault.destroy = func(context.Context, calendar.Day) error { return nil }
	r, err := k.core.RetentionProcess.Run(t.Context(), nil)
	if err == nil || len(r.Certified) > 0 || len(k.certificates()) > 0 {
		t.Errorf("certified on a lie: %+v, %v", r, err)
	}
	fault.destroy = nil
	if r, err = k.core.RetentionProcess.Run(t.Context(), nil); !errors.Is(err, ends.ErrKeyReturned) || !slices.Equal(r.Returned, []calendar.Day{first}) {
		t.Errorf("%+v, %v", r, err)
	}
	k.finishes(first)
}

// A token that was restored from a copy has a key again whose day has ended: it is destroyed again, and alarmed.
func TestAKeyThatReturns(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	k.finishes(first)
	if err := k.core.HSM.EnsureDayKey(t.Context(), keyring.DayLabel(first)); err != nil {
		t.Fatal(err)
	}
	if s := k.stands(first); !s.Key || s.Stage != ends.Certified {
		t.Errorf("the plan does not tell of it: %+v", s)
	}
	r, err := k.core.RetentionProcess.Run(t.Context(), nil)
	if !errors.Is(err, ends.ErrKeyReturned) || !slices.Equal(r.Returned, []calendar.Day{first}) || k.hasKey(first) {
		t.Errorf("%+v, %v", r, err)
	}
	k.finishes(first)
}

// A key that is lost makes no summary of nothing, and no certificate.
func TestAKeyThatIsLost(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.today()
	k.live(2)
	if err := k.core.HSM.Destroy(t.Context(), keyring.DayLabel(first)); err != nil {
		t.Fatal(err)
	}
	if s := k.stands(first); s.Stage != ends.KeyMissing {
		t.Errorf("%+v", s)
	}
	if err := k.unchanged(first); !errors.Is(err, ends.ErrKeyLost) {
		t.Errorf("the pass says %v", err)
	}
	for k.goTo(brief.AnnounceFrom(first)); k.today().Before(brief.Due(first)); k.Turn(day) {
		_ = k.unchanged(first)
		k.anchor()
	}
	if err := k.unchanged(first); !errors.Is(err, ends.ErrKeyLost) || strings.Contains(err.Error(), "1 destroyed") {
		t.Errorf("the pass says %v", err)
	}
	if n := len(facts(k, event.TypeDaySummarised, func(p event.DaySummarised) string { return p.Day })); n != 0 {
		t.Error("what cannot be read was summarised")
	}
}

func TestTheStoreIsAway(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	k.Proxy.Refuse(true)
	k.Proxy.Cut()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if r, err := k.core.RetentionProcess.Run(ctx, nil); err == nil || len(r.Destroyed) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if !k.hasKey(first) {
		t.Error("the key was destroyed, and nobody could be told")
	}
	k.Proxy.Refuse(false)
	k.core.WaitLead()
	k.patientPass()
	k.finishes(first)
}

// patientPass repeats a pass until it succeeds, as the loop does.
func (k *keeping) patientPass() {
	k.t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_, err := k.core.RetentionProcess.Run(k.t.Context(), nil)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			k.t.Fatalf("%v\n%s", err, k.Logs)
		}
	}
}

// A store that has no room takes no summary, so no key is destroyed.
func TestTheStoresDiskIsFullWhenADayIsDue(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	k.restartStore(1 << 62)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if r, err := k.core.RetentionProcess.Run(ctx, nil); err == nil || len(r.Destroyed) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if !k.hasKey(first) {
		t.Error("the key was destroyed, and it could not be recorded")
	}
	k.restartStore(1)
	k.core.WaitLead()
	k.patientPass()
	k.finishes(first)
	k.core.Stop() // before its store
}

// restartStore has the store want so much free space.
func (k *keeping) restartStore(free uint64) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 5*time.Second)
	defer cancel()
	if err := k.Server.Close(ctx); err != nil {
		k.t.Fatal(err)
	}
	k.Files.Config.MinFreeBytes = free
	k.Server = k.Files.Open(k.t)
	k.Proxy.Target(k.Server.Addr())
	k.Proxy.Cut()
}

// Views that cannot be written anew keep the certificate away, not the destruction.
func TestTheDiskOfTheViewsIsFullWhenADayIsDue(t *testing.T) {
	full := true
	k := newKeeping(t, brief, func(c *node.Config) {
		c.RetentionPorts = func(d *ends.Deps) { d.Views = fullViews{d.Views, &full} }
	})
	first := k.ready(1)
	r, err := k.core.RetentionProcess.Run(t.Context(), nil)
	if !errors.Is(err, viewfiles.ErrDiskFull) || len(r.Destroyed) != 1 || len(r.Certified) != 0 || len(r.Truncated) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	k.alarmed(viewfiles.ErrDiskFull)
	full = false
	k.finishes(first)
}

type fullViews struct {
	ends.Views
	full *bool
}

func (v fullViews) Cleared(ctx context.Context, next uint64) ([]string, error) {
	if *v.full {
		return nil, viewfiles.ErrDiskFull
	}
	return v.Views.Cleared(ctx, next)
}

// hold adds a hold on one day.
func (k *keeping) hold(d, until calendar.Day) {
	k.t.Helper()
	cmd := holdOf(k, d)
	cmd.Until = until
	if _, err := k.core.Core.AddHold(k.t.Context(), cmd); err != nil {
		k.t.Fatal(err)
	}
}

// holdOf is an order to hold one day for a month.
func holdOf(k *keeping, d calendar.Day) commands.AddHold {
	return commands.AddHold{Meta: k.Meta(""), From: d, To: d, Until: k.today().AddDays(30), Reason: "証拠保全", Authority: "見本地方裁判所 令和9年(モ)1号"}
}

func TestAHoldBetweenTheNoticeAndTheDueDay(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.today()
	k.live(2)
	k.goTo(brief.AnnounceFrom(first))
	k.pass()
	k.anchor()
	until := brief.Due(first).AddDays(2)
	k.hold(first, until)
	k.toDue(brief, first)
	k.Turn(day) // the second day is due too
	r := k.pass()
	if !slices.Equal(r.Destroyed, []calendar.Day{first.AddDays(1)}) {
		t.Errorf("%+v", r)
	}
	if s := k.stands(first); s.Stage != ends.Held || !s.Overdue || s.Hold == nil || s.Earliest != until.AddDays(1) {
		t.Errorf("%+v", s)
	}
	held, _ := k.core.Retention.Snapshot().Day(first)
	if len(held.Streams) < 2 {
		t.Fatalf("the day held has %+v", held.Streams)
	}
	for _, span := range held.Streams {
		if mark, err := k.core.Store.TruncateBefore(t.Context(), span.Stream); err != nil || mark > span.First {
			t.Errorf("%s is truncated before %d, %v: the day that is held begins at %d", span.Stream, mark, err, span.First)
		}
	}
	for !k.today().After(until) {
		if err := k.unchanged(first); err != nil {
			t.Error(err)
		}
		k.anchor()
		k.Turn(day)
	}
	k.finishes(first)
}

// A hold that comes while the key is being destroyed waits for that, and is told.
func TestAHoldThatComesTooLate(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	k.finishes(first)
	_, err := k.core.Core.AddHold(t.Context(), commands.AddHold{Meta: k.Meta(""), From: first, To: first, Until: k.today().AddDays(9), Reason: "r", Authority: "a"})
	if !errors.Is(err, commands.ErrDestroyed) {
		t.Errorf("held what is gone: %v", err)
	}
}

// A clock set forward by eight years destroys nothing, however long it stays so within the notice, nor after it is set right.
func TestAClockEightYearsAhead(t *testing.T) {
	k := newKeeping(t, retention.Statutory)
	first := k.today()
	k.live(2)
	k.Turn(8 * 365 * day)
	for range 5 {
		if err := k.unchanged(first); err != nil {
			t.Error(err)
		}
		k.anchor()
		k.Turn(day)
	}
	k.reopen()
	for range retention.Statutory.Notice + 2 { // even where it stays so beyond the notice
		if err := k.unchanged(first); err != nil {
			t.Error(err)
		}
		k.anchor()
		k.Turn(day)
	}
	if s := k.stands(first); s.Stage != ends.Unproven || !s.Overdue {
		t.Errorf("%+v", s)
	}
	k.Turn(-8 * 365 * day)
	_ = k.unchanged(first) // the core says that its clock stands before the ledger's end
	if !k.hasKey(first) {
		t.Error("the key is gone")
	}
	k.Turn(8 * 365 * day) // so that it can end in order
}

func TestAClockADayBehind(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	k.Turn(-day)
	_ = k.unchanged(first)
	if !k.hasKey(first) {
		t.Error("the key is gone")
	}
	k.Turn(day)
	k.finishes(first)
}

// A core that was down for long ends all days that fell due meanwhile in one pass, and clears the views once.
func TestManyDaysInOnePass(t *testing.T) {
	const days = 30
	k, f := faulty(t)
	first := k.today()
	k.live(days)
	if err := k.core.Core.MakeDayKeys(t.Context()); err != nil { // two keys that are never used
		t.Fatal(err)
	}
	k.core.Stop()
	k.goTo(brief.Due(first.AddDays(days + 1)))
	k.open()
	f.disarm()
	r := k.pass()
	if len(r.Announced) != days+2 {
		t.Errorf("%d days announced", len(r.Announced))
	}
	for range brief.Notice + 1 {
		k.anchor()
		k.Turn(day)
	}
	f.disarm()
	if r = k.pass(); len(r.Destroyed) != days+2 || len(r.Certified) != days+2 {
		t.Errorf("%d destroyed, %d certified", len(r.Destroyed), len(r.Certified))
	}
	cleared := 0
	for _, name := range f.seen() {
		if name == "clear" {
			cleared++
		}
	}
	if cleared != 1 {
		t.Errorf("the views were cleared %d times", cleared)
	}
	for _, unused := range []int{days, days + 1} {
		if e := k.destructions()[first.AddDays(unused).String()]; len(e) != 1 || len(e[0].Streams) != 0 || e[0].Events != 0 {
			t.Errorf("a key that was never used: %+v", e)
		}
	}
	k.sound(first, days)
}

// What a day held opens in no process any more, also in one that only stands by; the next day's opens. That one ends no day.
func TestACoreThatStandsByForgetsToo(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.today()
	k.live(2)
	second := k.Open("b", k.change...)
	var sealed []ledger.Event
	for _, stream := range event.RecordStreams(k.core.Shards) {
		for e, err := range k.core.Events(t.Context(), stream) {
			if err != nil {
				t.Fatal(err)
			}
			sealed = append(sealed, e)
		}
	}
	opens := func(n *node.Node, day calendar.Day) (opened, shredded int) {
		for _, e := range sealed {
			h, _, _, err := ledger.DecodeMetadata(e.Metadata)
			if err != nil {
				t.Fatal(err)
			}
			if !h.Sealed() || calendar.DayOf(h.Time) != day {
				continue
			}
			switch plain, err := n.Keyring.Open(t.Context(), h, e.Data); {
			case err == nil:
				clear(plain)
				opened++
			case errors.Is(err, keyring.ErrShredded):
				shredded++
			default:
				t.Error(err)
			}
		}
		return opened, shredded
	}
	if opened, shredded := opens(second.Node, first); opened == 0 || shredded > 0 {
		t.Fatalf("before: %d open, %d do not", opened, shredded)
	}
	k.toDue(brief, first)
	if report, err := second.RetentionProcess.Run(t.Context(), nil); !errors.Is(err, sequencer.ErrNotWriter) || len(report.Destroyed)+len(report.Certified) > 0 {
		t.Errorf("a core that stands by ends days, or does not say that it does not: %+v, %v", report, err)
	}
	if err := second.RetentionProcess.Check(); err != nil {
		t.Errorf("a core that stands by alarms for what is not its own: %v", err)
	}
	k.finishes(first)
	if err := second.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]*node.Node{"active": k.core.Node, "stands by": second.Node} {
		if opened, shredded := opens(n, first); opened > 0 || shredded == 0 {
			t.Errorf("%s: %d open of the day that ended, %d do not", name, opened, shredded)
		}
		if opened, shredded := opens(n, first.AddDays(1)); opened == 0 || shredded > 0 {
			t.Errorf("%s: %d open of the day after, %d do not", name, opened, shredded)
		}
		if !n.Retention.Snapshot().Destroyed(first) {
			t.Errorf("%s does not know", name)
		}
	}
}

// Seven years as the law has them, with restarts: on the last day everything is there, on the next nothing.
func TestSevenYears(t *testing.T) {
	k := newKeeping(t, retention.Statutory)
	first := k.today()
	k.exchange(inquiry.Provided)
	k.anchor()
	due := first.PeriodEnd(7).AddDays(1)
	for notice := due.AddDays(-40); k.today().AddDays(7).Before(notice); {
		k.Turn(7 * day)
		k.anchor()
		if k.today().DaysSince(first)%728 == 0 {
			k.reopen()
			k.anchor() // as a core does within a minute: the time in between is not proven
		}
	}
	for ; k.today().Before(due); k.Turn(day) {
		if err := k.unchanged(first); err != nil {
			t.Fatal(err)
		}
		k.anchor()
	}
	if s := k.stands(first); s.Stage != ends.Ready {
		t.Errorf("%+v", s)
	}
	k.finishes(first)
	if r := k.pass(); len(r.Destroyed) > 0 {
		t.Errorf("%+v", r)
	}
	k.reopen()
	k.exchange(inquiry.Provided)
	k.core.Verify()
}
