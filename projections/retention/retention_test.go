package retention_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	domain "kiroku/domain/retention"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
	"kiroku/projections/retention"
)

// desk is an archive with the projection that follows it.
type desk struct {
	*archive
	t    *testing.T
	view *projectiontest.Memory
	keys memory
	r    *retention.Retention
}

func newDesk(t *testing.T) *desk {
	d := &desk{archive: newArchive(t, newStaff(t), func(int) int { return 0 }), t: t, view: &projectiontest.Memory{}, keys: memory{}}
	d.r = open(t, d.view, d.keys)
	return d
}

// seen applies what happened and returns the snapshot, which is the same after a restart.
func (d *desk) seen() *retention.Snapshot {
	d.t.Helper()
	check(d.t, read(d.t, d.archive).ApplyAll(d.r))
	if again := open(d.t, d.view, memory{}); describe(again.Snapshot(), d.now) != describe(d.r.Snapshot(), d.now) {
		d.t.Fatal("after a restart the snapshot differs")
	}
	return d.r.Snapshot()
}

// moment is now for who writes the registry.
func (d *desk) moment() domain.Moment {
	return domain.Moment{At: d.now, Epoch: d.ledger.Epoch(event.StreamRegistry)}
}

func (d *desk) day(s *retention.Snapshot, day calendar.Day) retention.Day {
	d.t.Helper()
	got, found := s.Day(day)
	if !found {
		d.t.Fatalf("nothing is known of %s", day)
	}
	return got
}

// TestADayFromItsFirstEventToItsCertificate walks through all that happens to one day.
func TestADayFromItsFirstEventToItsCertificate(t *testing.T) {
	d := newDesk(t)
	d.employ()
	first, audit := event.RecordStream(0), event.StreamAudit
	today := d.today()
	d.record(first, 3, false)
	d.record(first, 2, true) // another writer took over
	d.record(audit, 1, false)
	got := d.day(d.seen(), today)
	if len(got.Streams) != 2 || got.Streams[0].Stream != audit || got.Streams[1].First != 1 || got.Streams[1].Next != 8 || len(got.Streams[1].Keys) != 2 || got.Events() != 2+7 || !got.Living() {
		t.Fatalf("%+v", got)
	}
	d.now = d.now.AddDate(7, 0, -30)
	d.record(first, 1, false)
	announced := d.announce(today)
	if got = d.day(d.seen(), today); got.Announced.Revision != announced || !got.Announced.At.Equal(d.now) || !got.Announced.Anchored.IsZero() {
		t.Fatalf("announced: %+v", got.Announced)
	}
	anchor := d.anchor()
	if got = d.day(d.seen(), today); got.Announced.Anchor != anchor || !got.Announced.Anchored.Equal(d.now) {
		t.Fatalf("anchored: %+v", got.Announced)
	}
	d.now = d.now.Add(time.Hour)
	d.anchor()
	if got = d.day(d.seen(), today); got.Announced.Anchor != anchor {
		t.Fatalf("a later anchor took the place of the first: %+v", got.Announced)
	}
	at := d.registry(event.TypeDaySummarised, event.DaySummarised{Day: today.String(), Part: 0, Parts: 2})
	if got = d.day(d.seen(), today); got.Summary.Complete() {
		t.Fatal("half a summary is complete")
	}
	d.registry(event.TypeDaySummarised, event.DaySummarised{Day: today.String(), Part: 1, Parts: 2})
	if got = d.day(d.seen(), today); !got.Summary.Complete() || got.Summary.Revision != at {
		t.Fatalf("summarised: %+v", got.Summary)
	}
	if len(d.keys) > 0 || d.seen().Expendable(first, nil) != 0 {
		t.Fatal("something ended too early")
	}
	revision := d.destroy(today, true)
	s := d.seen()
	got = d.day(s, today)
	if got.Living() || got.Destroyed.Revision != revision || got.Destroyed.Leaf != d.leaf(event.StreamRegistry, revision) || !s.Destroyed(today) || !d.keys[today] || len(d.keys) != 1 {
		t.Fatalf("destroyed: %+v, keys dropped: %v", got.Destroyed, d.keys)
	}
	if got.Events() != 9 || s.Expendable(first, nil) != 0 {
		t.Fatalf("destroyed, not yet certified: %+v, %s may be cut at %d", got, first, s.Expendable(first, nil))
	}
	certificate := d.certify(today)
	s = d.seen()
	if got = d.day(s, today); got.Certified != certificate || s.Expendable(first, nil) != 8 || s.Expendable(audit, nil) != 3 {
		t.Fatalf("certified at %d, %s may be cut at %d, %s at %d", got.Certified, first, s.Expendable(first, nil), audit, s.Expendable(audit, nil))
	}
	cut := d.truncate(first, 8)
	if got, ok := d.seen().Truncated(first); !ok || got.First != 8 || got.Revision != cut || got.Prev != d.leaf(first, 7) {
		t.Fatalf("cut: %+v", got)
	}
	attests := d.propose(event.ProposalMade{Kind: event.ProposalAttestation, Copy: copied, From: today.String(), To: d.today().String()})
	d.approve(attests, 0, 1)
	last := d.registry(event.TypeDayUnrecoverable, event.DayUnrecoverable{From: today.AddDays(-3).String(), To: d.today().String(), Proposals: [][]byte{attests[:]}})
	s = d.seen()
	if got = d.day(s, today); got.Unrecoverable != last || d.day(s, d.today()).Unrecoverable != 0 {
		t.Fatalf("unrecoverable: %+v", got)
	}
}

// TestAnAnchorHoldsWhatCameBeforeIt: one whose heads were read before the announcement does not.
func TestAnAnchorHoldsWhatCameBeforeIt(t *testing.T) {
	d := newDesk(t)
	d.record(event.StreamAudit, 1, false)
	d.anchor()
	count := uint64(len(d.ledger.Events(event.StreamRegistry)))
	d.announce(d.today())
	early, err := ledger.Anchor{Time: d.now, Heads: []ledger.AnchoredHead{{Stream: event.StreamRegistry, Count: count}}}.Encode()
	check(t, err)
	d.registry(event.TypeAnchor, early)
	if got := d.day(d.seen(), d.today()); got.Announced.Anchor != 0 {
		t.Errorf("an anchor of heads read before the announcement counts: %+v", got.Announced)
	}
	later := d.anchor()
	if got := d.day(d.seen(), d.today()); got.Announced.Anchor != later {
		t.Errorf("%+v, want the anchor at %d", got.Announced, later)
	}
}

func TestAnAnnouncementMadeAgainBeginsAgain(t *testing.T) {
	d := newDesk(t)
	today := d.today()
	d.record(event.StreamAudit, 1, false)
	d.announce(today)
	d.anchor()
	again := d.announce(today)
	if got := d.day(d.seen(), today); got.Announced.Revision != again || got.Announced.Anchor != 0 {
		t.Errorf("%+v", got.Announced)
	}
	if e := d.seen().Evidence(soon, today, d.moment()); !e.Announced.IsZero() {
		t.Errorf("evidence of a notice that no anchor holds: %+v", e)
	}
}

// TestADayWithNothingButAKey is announced, destroyed and certified like any other.
func TestADayWithNothingButAKey(t *testing.T) {
	d := newDesk(t)
	unused := d.today()
	d.announce(unused)
	d.anchor()
	d.destroy(unused, true)
	d.certify(unused)
	if got := d.day(d.seen(), unused); got.Certified == 0 || got.Events() != 0 || !d.keys[unused] {
		t.Errorf("%+v", got)
	}
}

// TestDaysThatMixAtMidnight: while one of two days lives, nothing from its first event on may go.
func TestDaysThatMixAtMidnight(t *testing.T) {
	d := newDesk(t)
	stream := event.RecordStream(0)
	d.now = d.today().End().Add(-time.Second)
	old := d.today()
	d.record(stream, 2, false) // 1 to 3
	sealing := d.current[stream]
	d.now = d.now.Add(2 * time.Second)
	d.record(stream, 1, false) // 4 and 5
	d.current[stream], d.now = sealing, d.now.Add(-2*time.Second)
	d.record(stream, 1, false) // 6, of the day before
	d.now = d.now.Add(time.Hour)
	if got := d.day(d.seen(), old); got.Streams[0].First != 1 || got.Streams[0].Next != 7 {
		t.Fatalf("%+v", got.Streams)
	}
	d.destroy(old, true)
	d.certify(old)
	if first := d.seen().Expendable(stream, nil); first != 4 {
		t.Errorf("may be cut at %d, the next day begins at 4", first)
	}
	d.destroy(d.today(), true)
	d.certify(d.today())
	if first := d.seen().Expendable(stream, nil); first != 7 {
		t.Errorf("may be cut at %d, both days have ended before 7", first)
	}
}

// TestWhatBelongsToNoDay, such as a writer that took over, is no part of a day, and goes with what lies around it.
func TestWhatBelongsToNoDay(t *testing.T) {
	d := newDesk(t)
	stream := event.RecordStream(0)
	ofNoDay := func() {
		check(t, d.ledger.Append(stream, projectiontest.Fact{Type: "of-no-day", Time: d.now, Payload: []byte{0xa0}}))
	}
	d.record(stream, 2, false) // 1 to 3
	ofNoDay()
	if got := d.day(d.seen(), d.today()); got.Streams[0].Next != 4 {
		t.Errorf("%+v", got.Streams)
	}
	d.record(stream, 1, false) // 5
	ofNoDay()
	d.record(stream, 1, false) // 7
	ofNoDay()
	if got := d.day(d.seen(), d.today()); len(got.Streams) != 1 || got.Streams[0].First != 1 || got.Streams[0].Next != 8 || len(got.Streams[0].Keys) != 1 {
		t.Errorf("%+v", got.Streams)
	}
}

func TestWhatCannotBeTakesNoEffect(t *testing.T) {
	d := newDesk(t)
	today := d.today()
	d.record(event.StreamAudit, 1, false)
	d.certify(today) // of a day that lives
	d.registry(event.TypeDayUnrecoverable, event.DayUnrecoverable{From: today.String(), To: today.String()})
	d.registry(event.TypeHoldReleased, event.HoldReleased{Hold: uuid.UUID{9}, Proposal: make([]byte, 32)})
	d.approve(approval.Hash{9}, 0)
	d.registry(event.TypeDaySummarised, event.DaySummarised{Day: today.String(), Part: 1, Parts: 2})
	s := d.seen()
	if got := d.day(s, today); got.Certified > 0 || got.Unrecoverable > 0 || got.Summary.Complete() || !got.Living() || len(s.Holds()) > 0 || len(s.Proposals()) > 0 {
		t.Errorf("%+v", got)
	}
	first := d.destroy(today, true)
	d.registry(event.TypeDayKeyDestroyed, event.DayKeyDestroyed{Day: today.String()})
	d.announce(today)
	if got := d.day(d.seen(), today); got.Destroyed.Revision != first || len(got.Streams) != 1 || got.Announced.Revision > 0 {
		t.Errorf("told twice: %+v", got)
	}
}

func TestHoldsAndProposals(t *testing.T) {
	d := newDesk(t)
	d.employ()
	from, to := calendar.Of(2026, 11, 1), calendar.Of(2026, 11, 30)
	id := d.hold(from, to)
	other := d.hold(to, to)
	s := d.seen()
	if h := s.Holds(); len(h) != 2 || h[0].ID != id || h[0].From != from || h[0].To != to || h[0].Authority != "東京地方裁判所" || h[0].Released || h[1].ID != other {
		t.Fatalf("%+v", h)
	}
	if e := s.Evidence(domain.Statutory, from, d.moment()); len(e.Holds) != 2 {
		t.Errorf("evidence has %d holds", len(e.Holds))
	}
	hash := d.propose(event.ProposalMade{Kind: event.ProposalHoldRelease, Hold: id[:]})
	d.approve(hash, 0, 1)
	p, found := d.seen().Proposal(hash)
	if !found || p.Made.Kind != event.ProposalHoldRelease || len(p.Approvals) != 2 || p.Approvals[1].Official != "official 1" || p.Done > 0 {
		t.Fatalf("%v %+v", found, p)
	}
	done := d.registry(event.TypeHoldReleased, event.HoldReleased{Hold: id, Proposal: hash[:]})
	s = d.seen()
	if p, _ = s.Proposal(hash); p.Done != done || !s.Holds()[0].Released || s.Holds()[1].Released {
		t.Errorf("done at %d, holds %+v", p.Done, s.Holds())
	}
	deletion := d.propose(event.ProposalMade{Kind: event.ProposalDeletion})
	d.approve(deletion, 0, 2)
	rotated := d.registry(event.TypeVaultRotated, event.VaultRotated{Generation: 2, Proposals: [][]byte{deletion[:]}})
	s = d.seen()
	if p, _ = s.Proposal(deletion); p.Done != rotated || len(s.Proposals()) != 2 || len(s.Rotations()) != 1 || s.Rotations()[0].Fact.Generation != 2 {
		t.Errorf("%+v, %+v", p, s.Rotations())
	}
	if len(s.Refused()) > 0 {
		t.Errorf("refused: %+v", s.Refused())
	}
}

// TestEvidence: a fact recorded while the clock was years back, or ahead, is as old as the anchor that first holds it.
func TestEvidence(t *testing.T) {
	d := newDesk(t)
	begun, stream := d.today(), event.RecordStream(0)
	d.record(stream, 1, false)
	for range 100 {
		d.anchor()
		d.now = d.now.Add(time.Hour)
		d.anchor() // a day has one
		d.now = d.now.Add(23 * time.Hour)
	}
	right := d.now
	d.now = d.now.AddDate(-5, 0, 0)
	past := d.today()
	d.record(stream, 1, false)
	d.now = right
	for range 10 {
		d.anchor()
		d.now = d.now.Add(24 * time.Hour)
	}
	s := d.seen()
	lived := func(day calendar.Day) int {
		return int(s.Evidence(soon, day, d.moment()).Lived / (24 * time.Hour))
	}
	if lived(begun) != 109 || lived(past) != 10 {
		t.Errorf("the first day has lived %d days, what was recorded as of %s %d", lived(begun), past, lived(past))
	}
	if n := len(s.Anchors(time.Time{})); n != 110 {
		t.Errorf("%d anchors of 110 days", n)
	}
	if n := len(s.Anchors(right)); n != 10 {
		t.Errorf("%d anchors of the last 10 days", n)
	}
	if e := s.Evidence(domain.Statutory, begun, d.moment()); e.Lived != 0 || !e.Now.Equal(d.now) {
		t.Errorf("evidence of a day years before its time: %+v", e)
	}
	d.announce(begun)
	d.anchor()
	for range 3 {
		d.now = d.now.Add(24 * time.Hour)
		d.anchor()
	}
	if e := d.seen().Evidence(soon, begun, d.moment()); len(e.Anchors) != 3 || !e.Announced.Equal(d.now.Add(-72*time.Hour)) {
		t.Errorf("evidence since the announcement: %+v", e)
	}
}

// TestProvenTime: a step within an epoch counts in full, one over a restart for an hour; for a day from its end, for a
// notice and a hold from the first anchor that holds them; also where the anchors are of the same day.
func TestProvenTime(t *testing.T) {
	d := newDesk(t)
	pass := func(times int, step time.Duration) {
		for range times {
			d.now = d.now.Add(step)
			d.anchor()
		}
	}
	restart := func(step time.Duration) {
		d.now = d.now.Add(step)
		check(t, d.ledger.Restart(event.StreamRegistry, d.now))
	}
	begun, end := d.today(), d.today().End()
	d.record(event.RecordStream(0), 1, false)
	d.anchor()
	pass(24, time.Hour) // over midnight
	sure := d.now.Sub(end)
	restart(6 * 24 * time.Hour)
	d.anchor()
	sure += time.Hour
	pass(2, 24*time.Hour)
	sure += 48 * time.Hour
	if e := d.seen().Evidence(soon, begun, d.moment()); e.Lived != sure {
		t.Errorf("lived %s, proven is %s", e.Lived, sure)
	}
	d.announce(begun)
	d.hold(begun, begun)
	if h := d.seen().Holds()[0]; !h.Shown.IsZero() {
		t.Errorf("no anchor holds it, and it is shown until %s", h.Shown)
	}
	pass(1, time.Minute) // the second anchor of its day
	noticed := d.now
	restart(5 * 24 * time.Hour)
	if e := d.seen().Evidence(soon, begun, d.moment()); e.Proven != time.Hour || !e.Holds[0].Shown.Equal(noticed.Add(time.Hour)) {
		t.Errorf("with nothing anchored since the restart, %s are proven, and %s", e.Proven, e.Holds[0].Shown)
	}
	pass(3, time.Hour)
	want := 3 * time.Hour // an hour over the restart, and two
	s := d.seen()
	if e := s.Evidence(soon, begun, domain.Moment{At: d.now.Add(72 * time.Hour)}); e.Proven != want+time.Hour {
		t.Errorf("by who does not write, %s are proven", e.Proven)
	}
	later := domain.Moment{At: d.now.Add(72 * time.Hour), Epoch: d.ledger.Epoch(event.StreamRegistry)}
	e := s.Evidence(soon, begun, later)
	if want += 72 * time.Hour; e.Proven != want || !e.Announced.Equal(noticed) || !e.Holds[0].Shown.Equal(noticed.Add(want)) {
		t.Errorf("%s are proven since %s, hold %s; want %s since %s", e.Proven, e.Announced, e.Holds[0].Shown, want, noticed)
	}
}

// TestMalformedFacts: what the domain refuses halts the stream and changes nothing.
func TestMalformedFacts(t *testing.T) {
	for name, f := range map[string]struct {
		eventType string
		payload   any
	}{
		"announced day that is none":     {event.TypeDestructionAnnounced, event.DestructionAnnounced{Days: []string{"2026-02-30"}}},
		"summary of no day":              {event.TypeDaySummarised, event.DaySummarised{Day: "x", Parts: 1}},
		"summary of no part":             {event.TypeDaySummarised, event.DaySummarised{Day: "2026-11-22"}},
		"part beyond the last":           {event.TypeDaySummarised, event.DaySummarised{Day: "2026-11-22", Part: 2, Parts: 2}},
		"destroyed day that is none":     {event.TypeDayKeyDestroyed, event.DayKeyDestroyed{}},
		"certified day that is none":     {event.TypeDayCertified, event.DayCertified{Day: "2026-1-1"}},
		"unrecoverable from no day":      {event.TypeDayUnrecoverable, event.DayUnrecoverable{To: "2026-11-22"}},
		"unrecoverable to no day":        {event.TypeDayUnrecoverable, event.DayUnrecoverable{From: "2026-11-22"}},
		"hold without a reason":          {event.TypeHoldAdded, event.HoldAdded{Hold: uuid.UUID{1}, From: "2026-11-22", To: "2026-11-22", Until: "2030-01-01", Authority: "裁判所"}},
		"hold of days that are none":     {event.TypeHoldAdded, event.HoldAdded{Hold: uuid.UUID{1}, Reason: "x", Authority: "y"}},
		"truncation that is none":        {ledger.TypeStreamTruncated, []byte{0xa0}},
		"anchor that is none":            {event.TypeAnchor, []byte{0xa0}},
		"approval with a strange member": {event.TypeProposalApproved, []byte{0xa1, 0x61, 'x', 1}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.hold(d.today(), d.today())
			d.seen()
			rows, told := dump(t, d.r), describe(d.r.Snapshot(), d.now)
			d.announce(d.today())
			d.registry(f.eventType, f.payload)
			if err := read(t, d.archive).ApplyAll(d.r); !errors.Is(err, event.ErrMalformed) {
				t.Fatalf("got %v, want a malformed payload", err)
			}
			if dump(t, d.r) != rows || describe(d.r.Snapshot(), d.now) != told {
				t.Error("a batch that was refused changed something")
			}
		})
	}
}

func TestAKeyThatIsNotOfADay(t *testing.T) {
	d := newDesk(t)
	check(t, d.ledger.Append(event.StreamAudit, projectiontest.Fact{Type: event.TypeOperationRecorded, Time: d.now, Payload: []byte{0xa0}, Key: "subject/1"}))
	if err := read(t, d.archive).ApplyAll(d.r); !errors.Is(err, event.ErrMalformed) || strings.Contains(err.Error(), "2026") {
		t.Errorf("got %v", err)
	}
}

// TestAFailedCommitLeavesTheSnapshot, and the same batch applies afterwards.
func TestAFailedCommitLeavesTheSnapshot(t *testing.T) {
	d := newDesk(t)
	today := d.today()
	d.record(event.StreamAudit, 1, false)
	d.anchor()
	before := describe(d.seen(), d.now)
	d.now = d.now.Add(24 * time.Hour)
	d.anchor()
	d.destroy(today, true)
	full := errors.New("the disk is full")
	d.view.Fail = func() error { return full }
	if err := read(t, d.archive).ApplyAll(d.r); !errors.Is(err, full) {
		t.Fatalf("got %v", err)
	}
	d.view.Fail = nil
	if describe(d.r.Snapshot(), d.now.Add(-24*time.Hour)) != before {
		t.Error("what was not committed is shown")
	}
	if !d.keys[today] {
		t.Error("the keys were not dropped, although the registry says that they are destroyed")
	}
	if s := d.seen(); !s.Destroyed(today) || len(s.Anchors(time.Time{})) != 2 {
		t.Error("the batch did not apply again")
	}
}

// TestSnapshotsStayAsTheyAre while others are made; run with -race it also shows that they share nothing that changes.
func TestSnapshotsStayAsTheyAre(t *testing.T) {
	a := newArchive(t, newStaff(t), newChoice(7))
	a.employ()
	r := open(t, &projectiontest.Memory{}, memory{})
	var wg sync.WaitGroup
	for range 60 {
		a.step()
		check(t, read(t, a).ApplyAll(r))
		s, now := r.Snapshot(), a.now
		before := describe(s, now)
		wg.Go(func() {
			for range 5 {
				if describe(s, now) != before {
					t.Error("a snapshot changed")
				}
			}
		})
	}
	wg.Wait()
}

// TestFollowedByTheRunner: a runner follows the ledger, days end and streams are cut, and rows made anew beside the old
// ones, while more happens, are the same.
func TestFollowedByTheRunner(t *testing.T) {
	d := newDesk(t)
	runner, err := projections.New(projections.Config{Source: d.ledger, Opener: d.ledger, Trust: d.ledger, Streams: streams, Projections: []projections.Projection{d.r}})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { runner.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	wait := func() {
		t.Helper()
		for _, s := range streams {
			check(t, runner.WaitFor(ctx, retention.Name, s, uint64(len(d.ledger.Events(s)))))
		}
	}
	first := d.today()
	for range 3 {
		for _, s := range streams[1:] {
			d.record(s, 5, false)
		}
		d.anchor()
		d.now = d.now.Add(24 * time.Hour)
	}
	wait()
	d.destroy(first, true)
	d.certify(first)
	wait()
	for _, s := range streams[1:] {
		at := d.r.Snapshot().Expendable(s, nil)
		if at != 7 {
			t.Fatalf("%s may be cut at %d, the second day begins at 7", s, at)
		}
		d.truncate(s, at)
		d.ledger.Authorise(s, at, d.leaf(s, at-1))
	}
	wait()
	for _, s := range streams[1:] {
		d.ledger.Truncate(s, 7)
	}
	rows, told := dump(t, d.r), describe(d.r.Snapshot(), d.now)
	if err := runner.Rebuild(ctx, retention.Name, nil); err != nil {
		t.Fatal(err)
	}
	if dump(t, d.r) != rows || describe(d.r.Snapshot(), d.now) != told {
		t.Errorf("made anew, it differs:\n%s\nbefore:\n%s", describe(d.r.Snapshot(), d.now), told)
	}
	if !d.keys[first] || len(d.keys) != 1 {
		t.Errorf("keys dropped: %v", d.keys)
	}
}
