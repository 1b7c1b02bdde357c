package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kiroku/adapters/hsm"
	ends "kiroku/commands/retention"
	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	policy "kiroku/domain/retention"
	"kiroku/projections"
	"kiroku/projections/disclosure"
	"kiroku/projections/mediation"
	"kiroku/projections/retention"
	"kiroku/projections/statistics"
)

// openRetention makes the process that ends days.
func (n *Node) openRetention() {
	deps := ends.Deps{
		Policy: n.c.RetentionPolicy, Ledger: ledgerDays{n}, Facts: n.Core, HSM: dayKeys{n.c.HSM}, Views: clearing{n}, Store: n.c.Store,
		Now: n.c.Now, Log: n.c.Log,
	}
	if n.c.RetentionPorts != nil {
		n.c.RetentionPorts(&deps)
	}
	n.RetentionProcess = ends.New(deps)
}

// Pace of the retention's loops.
const (
	retentionLook  = time.Second     // between two looks at whether something is due
	releaseAfter   = 5 * time.Second // after the last day of several: by then the read models have dropped it too
	releaseAgain   = 30 * time.Second
	releaseTimes   = 5
	midnightMargin = 10 * time.Second // after midnight: whoever still writes the old day has finished
	firstRetry     = time.Minute      // after a failure; doubled up to the interval
)

// daily does something while this core is active: when it becomes so, at every interval, shortly after midnight in Japan, and
// earlier after a failure.
func (n *Node) daily(ctx context.Context, what string, do func(context.Context) error) {
	var next time.Time
	var day calendar.Day
	retry := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(retentionLook, n.c.RetentionInterval)):
		}
		if !n.Active() {
			next = time.Time{}
			continue
		}
		today := calendar.DayOf(n.c.Now().Add(-midnightMargin))
		if time.Now().Before(next) && today == day {
			continue
		}
		day = today
		wait := n.c.RetentionInterval
		if err := do(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, sequencer.ErrNotWriter) {
			n.c.Log.Error(what+" failed; it is tried again", "error", err.Error())
			wait = min(retry, wait)
			retry = min(2*retry, n.c.RetentionInterval)
		} else {
			retry = firstRetry
		}
		next = time.Now().Add(wait)
	}
}

func (n *Node) endDays(ctx context.Context) error {
	_, err := n.RetentionProcess.Run(ctx, nil)
	return err
}

// dayKeyLook is between two looks at the token for the keys of today and tomorrow: the core seals with what it has in
// memory, and would not notice that a key is gone.
const dayKeyLook = 30 * time.Second

// makeDayKeys makes what is missing of the keys of today and tomorrow.
func (n *Node) makeDayKeys(ctx context.Context) error {
	err := n.Core.MakeDayKeys(ctx)
	if ctx.Err() == nil && !errors.Is(err, sequencer.ErrNotWriter) {
		n.dayKeysFailed.Store(&err)
	}
	return err
}

// lookForDayKeys does the same between the times of the daily one, and tells the log only of what is new.
func (n *Node) lookForDayKeys(ctx context.Context) error {
	before := n.DayKeysFailed()
	err := n.makeDayKeys(ctx)
	if err != nil && before != nil && err.Error() == before.Error() {
		return nil // the daily loop goes on saying it
	}
	return err
}

// DayKeysFailed returns why there is no key under which to record today or tomorrow, as of the last look; nil if there is.
func (n *Node) DayKeysFailed() error {
	if failed := n.dayKeysFailed.Load(); failed != nil && n.Active() {
		return *failed
	}
	return nil
}

// ageDayKeys has the keys of days in memory expire: also of a core that stands by, or that has lost the store, and so does
// not learn that a day has ended. A process that is stopped does it as soon as it goes on.
func (n *Node) ageDayKeys(ctx context.Context) {
	for every := n.c.DayKeyLifetime / 10; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		at := n.c.Elapsed()
		looking, cancel := context.WithTimeout(ctx, every)
		next, err := n.store.Count(looking, event.StreamRegistry)
		cancel()
		if err == nil && n.Retention.Snapshot().Next(event.StreamRegistry) >= next {
			n.Keyring.Followed(at)
		}
		n.Keyring.Expire(calendar.DayOf(n.c.Now()))
	}
}

// forget drops the keys of a day that ended, for good, and soon after what else lies in memory that nothing refers to: a core that
// stands by, or makes its views anew, does this too.
func (n *Node) forget(day calendar.Day) {
	n.Keyring.End(day)
	n.releasing.Store(releaseTimes)
	n.releases.Reset(releaseAfter)
}

// release frees memory after days have ended, and some time later again: on a busy machine something may have been under way
// with them the first time.
func (n *Node) release() {
	n.c.Release()
	if n.releasing.Add(-1) > 0 {
		n.releases.Reset(releaseAgain)
	}
}

// moment is a snapshot in the terms of the process.
type moment struct {
	*retention.Snapshot
	policy policy.Policy
	epoch  func() uint64 // in which this node writes the registry
}

func (m moment) Days() []ends.Day {
	all := m.Snapshot.Days()
	days := make([]ends.Day, len(all))
	for i := range all {
		days[i] = dayOf(&all[i])
	}
	return days
}

func (m moment) Day(day calendar.Day) (ends.Day, bool) {
	d, found := m.Snapshot.Day(day)
	return dayOf(&d), found
}

func dayOf(d *retention.Day) ends.Day {
	out := ends.Day{Day: d.Day, Streams: d.Streams, Events: d.Events(),
		Announced: fact(d.Announced.Revision), Notified: d.Announced.At, Decided: fact(d.Decided), Destroyed: fact(d.Destroyed.Revision), Certified: fact(d.Certified)}
	if d.Summary.Complete() {
		out.Summary = fact(d.Summary.Revision)
	}
	out.Destroyed.Leaf = d.Destroyed.Leaf
	if lost := d.Destroyed.Fact; d.Lost() {
		out.Loss = &ends.Loss{Premature: lost.Premature, Proposal: lost.Proposal, Found: lost.At, Acknowledged: d.Acknowledged > 0}
	}
	return out
}

func fact(revision uint64) ends.Fact { return ends.Fact{There: revision > 0, Revision: revision} }

func (m moment) Evidence(day calendar.Day, now time.Time) policy.Evidence {
	return m.Snapshot.Evidence(m.policy, day, policy.Moment{At: now, Epoch: m.epoch()})
}

// LossApproved takes an approval for as long as it could be given: one from long ago says nothing of a token of today.
func (m moment) LossApproved(day calendar.Day, now time.Time) ([]byte, bool) {
	for _, p := range m.Proposals() {
		if p.Made.Kind == event.ProposalKeyLoss && p.Made.Day == day.String() && p.Done == 0 && !p.Expired(now) && p.Approved() {
			return p.Hash[:], true
		}
	}
	return nil, false
}

func (m moment) Begins(stream string) uint64 {
	t, _ := m.Truncated(stream)
	return t.First
}

// ledgerDays shows the ledger to the process.
type ledgerDays struct{ n *Node }

func (l ledgerDays) moment() ends.State {
	return moment{l.n.Retention.Snapshot(), l.n.c.RetentionPolicy, l.n.Core.Epoch}
}

func (l ledgerDays) Complete(ctx context.Context) (ends.State, error) {
	for _, stream := range append([]string{event.StreamRegistry}, l.Streams()...) {
		next, err := l.n.store.Count(ctx, stream)
		if err != nil {
			return nil, fmt.Errorf("find the end of stream %s: %w", stream, err)
		}
		if err := l.n.Runner.WaitFor(ctx, retention.Name, stream, next); err != nil {
			return nil, err
		}
	}
	return l.moment(), nil
}

func (l ledgerDays) Registry(ctx context.Context, next uint64) (ends.State, error) {
	if err := l.n.Runner.WaitFor(ctx, retention.Name, event.StreamRegistry, next); err != nil {
		return nil, err
	}
	return l.moment(), nil
}

func (l ledgerDays) Streams() []string {
	return slices.DeleteFunc(event.Streams(l.n.Shards), func(s string) bool { return !policy.DiesWithDay(s) })
}

func (l ledgerDays) Last(ctx context.Context, stream string) (uint64, bool, error) {
	last, ok, err := l.n.store.ReadLast(ctx, stream)
	return last.Revision, ok, err
}

func (l ledgerDays) Leaf(ctx context.Context, stream string, revision uint64) (ledger.Hash, error) {
	events, err := l.n.store.ReadForward(ctx, stream, revision, 1)
	if err != nil {
		return ledger.Hash{}, err
	}
	if len(events) != 1 || events[0].Revision != revision || events[0].Stream != stream {
		return ledger.Hash{}, fmt.Errorf("%s@%d: %w", stream, revision, errMissing)
	}
	c, err := ledger.CheckEvent(events[0], l.n.trust.SigningKeys())
	if err != nil {
		return ledger.Hash{}, err
	}
	if c.Header.Stream != stream || c.Header.Revision != revision {
		return ledger.Hash{}, fmt.Errorf("%s@%d stands there in place of %s@%d: run `kiroku verify`", c.Header.Stream, c.Header.Revision, stream, revision)
	}
	return c.Leaf, nil
}

// errMissing: the store does not give an event that was there.
var errMissing = errors.New("the store lacks the event: restore it, and run `kiroku verify`")

func (l ledgerDays) Open(ctx context.Context, day calendar.Day, stream string, first, next uint64, visit func(string, []byte) error) error {
	if first >= next {
		return nil
	}
	proof := ledger.NewVerifier(l.n.trust.SigningKeys(), ledger.Options{AnyStart: true})
	r := dayReader{n: l.n, prefix: keyring.DayLabel(day) + "/", stream: stream, next: first, end: next, proof: proof, visit: visit}
	err := l.n.c.Store.Iterate(ctx, stream, first, func(batch []ledger.Event) error { return r.take(ctx, batch) })
	result := proof.Finish()
	switch {
	case err != nil && !errors.Is(err, errStopped):
		return fmt.Errorf("read %s from revision %d: %w", stream, r.next, err)
	case r.next != next:
		return fmt.Errorf("%s@%d: %w", stream, r.next, errMissing)
	case !result.OK():
		return fmt.Errorf("verify %s: %s", stream, result.Findings[0].Error())
	}
	return nil
}

// dayReader opens the events of one day as they stream by.
type dayReader struct {
	n         *Node
	prefix    string // of the key ids of the day
	stream    string
	next, end uint64
	proof     *ledger.Verifier
	visit     func(string, []byte) error
}

func (r *dayReader) take(ctx context.Context, batch []ledger.Event) error {
	for _, e := range batch {
		if r.next == r.end {
			return errStopped
		}
		if e.Revision != r.next {
			return fmt.Errorf("%s@%d: %w", r.stream, r.next, errMissing)
		}
		r.proof.Add(e)
		if err := r.open(ctx, e); err != nil {
			return err
		}
		r.next++
	}
	if r.next == r.end {
		return errStopped
	}
	return nil
}

func (r *dayReader) open(ctx context.Context, e ledger.Event) error {
	h, _, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		return fmt.Errorf("%s@%d: %w", r.stream, e.Revision, err)
	}
	if !h.Sealed() || len(h.KeyID) < len(r.prefix) || h.KeyID[:len(r.prefix)] != r.prefix {
		return nil // around midnight, events of two days may stand among each other
	}
	plain, err := r.n.Keyring.Open(ctx, h, e.Data)
	if err != nil {
		return err
	}
	defer clear(plain)
	if err := r.visit(h.Type, plain); err != nil {
		return fmt.Errorf("%s@%d: %w", r.stream, e.Revision, err)
	}
	return nil
}

// dayKeys are the keys of the days in the token.
type dayKeys struct{ hsm *hsm.HSM }

func (k dayKeys) DayKeys(ctx context.Context) ([]calendar.Day, error) {
	labels, err := k.hsm.DayKeys(ctx)
	if err != nil {
		return nil, err
	}
	days := make([]calendar.Day, 0, len(labels))
	for _, label := range labels {
		day, err := calendar.Parse(strings.TrimPrefix(label, dayPrefix))
		if err != nil {
			return nil, fmt.Errorf("key %q of the token: %w", label, err)
		}
		days = append(days, day)
	}
	return days, nil
}

// dayPrefix begins the labels of day keys.
var dayPrefix = keyring.DayLabel(calendar.Day{})

func (k dayKeys) Destroy(ctx context.Context, day calendar.Day) error {
	return k.hsm.Destroy(ctx, keyring.DayLabel(day))
}

func (k dayKeys) Token(ctx context.Context) (event.Token, error) {
	info, err := k.hsm.TokenOf(ctx, keyring.DayLabel(calendar.Of(2000, time.January, 1))) // any day: they share a token
	return event.Token(info), err
}

// clearing waits for the read models of this process.
type clearing struct{ n *Node }

// clearWithin is how long a read model is waited for; whoever waits comes again.
const clearWithin = 2 * time.Minute

// clearPoll is the pause between two looks at a read model that keeps what it has read for a while.
const clearPoll = 100 * time.Millisecond

func (c clearing) Cleared(ctx context.Context, next uint64) ([]string, error) {
	waiting, cancel := context.WithTimeoutCause(ctx, clearWithin, fmt.Errorf("not within %s", clearWithin))
	defer cancel()
	names := []string{"keyring"} // dropped by the projection of the retention
	var old []compacting
	runners, err := c.n.runners()
	if err != nil {
		return nil, err
	}
	for _, runner := range runners {
		for _, p := range runner.Projections {
			if !p.Wants(event.StreamRegistry) {
				continue
			}
			if err := cleared(waiting, runner, p, next); err != nil {
				return nil, err
			}
			if slices.Contains([]string{disclosure.Name, mediation.Name, statistics.Name}, p.Name()) {
				names = append(names, p.Name())
			}
			if p, ok := p.(compacting); ok {
				old = append(old, p)
			}
		}
	}
	for _, p := range old {
		if err := p.Compact(ctx); err != nil {
			return nil, err
		}
	}
	c.n.c.Release()
	slices.Sort(names)
	return names, nil
}

// compacting is a read model in files, which hold what was deleted until they are written anew.
type compacting interface {
	Compact(ctx context.Context) error
}

// cleared returns when a projection has kept what it made of the registry below revision next.
func cleared(ctx context.Context, runner *projections.Runner, p projections.Projection, next uint64) error {
	if err := runner.WaitFor(ctx, p.Name(), event.StreamRegistry, next); err != nil {
		return err
	}
	for {
		at, err := p.Checkpoint(event.StreamRegistry)
		if err == nil && at.Next >= next {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to drop what ended: %w", p.Name(), errors.Join(err, context.Cause(ctx)))
		case <-time.After(clearPoll):
		}
	}
}
