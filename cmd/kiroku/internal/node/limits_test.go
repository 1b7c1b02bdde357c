package node_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/adapters/eventstore/storetest"
	"kiroku/adapters/hsm/hsmtest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/commands/sequencer"
	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/scope"
)

// What a role may not do, it cannot, and nothing is recorded.
func TestRoles(t *testing.T) {
	w, c, s := ready(t)
	mustInquire(t, c, c.Inquiry("a", "b", s))
	if err := c.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := len(c.Verify())
	all := []string{commands.RoleGateway, commands.RoleJukiNet, commands.RoleDisclosure, commands.RoleCommission, commands.RoleOperator, "", "somebody"}
	show := func(a commands.Audience) func(m commands.Meta) error {
		return func(m commands.Meta) error {
			_, err := c.Core.DiscloseRecords(t.Context(), commands.DiscloseRecords{Meta: m, Symbol: s, Receipt: "R", Audience: a})
			return err
		}
	}
	for _, x := range []struct {
		name    string
		allowed string
		give    func(m commands.Meta) error
	}{
		{"issue", commands.RoleGateway, func(m commands.Meta) error {
			cmd := c.IssueCommand("a", 1)
			cmd.Meta = m
			_, err := c.Core.IssueSymbol(t.Context(), cmd)
			return err
		}},
		{"change a code", commands.RoleJukiNet, func(m commands.Meta) error {
			return c.Core.ChangeResidentCode(t.Context(), commands.ChangeResidentCode{Meta: m, Old: nodetest.Code(t, 1), New: nodetest.Code(t, 2)})
		}},
		{"inquire", commands.RoleGateway, func(m commands.Meta) error {
			cmd := c.Inquiry("a", "b", s)
			cmd.Meta = m
			_, err := c.Core.SubmitInquiry(t.Context(), cmd)
			return err
		}},
		{"show a person", commands.RoleDisclosure, show(commands.AudiencePerson)},
		{"show a representative", commands.RoleDisclosure, show(commands.AudienceRepresentative)},
		{"show the commission", commands.RoleCommission, show(commands.AudienceCommission)},
		{"suspend", commands.RoleOperator, func(m commands.Meta) error {
			return c.Core.ChangeAgencyStatus(t.Context(), commands.ChangeAgencyStatus{Meta: m, Code: nodetest.AgencyCode(t, "a"), Suspended: true, Reason: "検査"})
		}},
		{"record a violation", commands.RoleOperator, func(m commands.Meta) error {
			return c.Core.RecordPIAViolation(t.Context(), commands.RecordPIAViolation{Meta: m, Violation: scope.Violation{Agency: nodetest.AgencyCode(t, "a"), From: today(), Reason: "未公表"}})
		}},
		{"publish rules", commands.RoleOperator, func(m commands.Meta) error {
			return c.Core.PublishScopeRules(t.Context(), commands.PublishScopeRules{Meta: m})
		}},
	} {
		for _, role := range all {
			if role == x.allowed {
				continue
			}
			if err := x.give(w.MetaAs(role, "a")); !errors.Is(err, commands.ErrNotAllowed) && !errors.Is(err, commands.ErrInvalid) {
				t.Errorf("%s as %q: %v", x.name, role, err)
			}
		}
	}
	for name, err := range map[string]error{
		"issue for another agency": func() error {
			cmd := c.IssueCommand("a", 1)
			cmd.Meta = w.Meta("b")
			_, err := c.Core.IssueSymbol(t.Context(), cmd)
			return err
		}(),
		"inquire as another agency": func() error {
			cmd := c.Inquiry("a", "b", s)
			cmd.Meta = w.Meta("b")
			_, err := c.Core.SubmitInquiry(t.Context(), cmd)
			return err
		}(),
		"notifications as an office": func() error {
			_, err := c.Core.TakeNotifications(t.Context(), w.MetaAs(commands.RoleOperator, "b").Actor, 1)
			return err
		}(),
	} {
		if !errors.Is(err, commands.ErrNotAllowed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(c.Verify()); n != before {
		t.Errorf("refusals left %d events", n-before)
	}
}

// An agency that is no disclosure system is shown nothing, whatever it says it is.
func TestOnlyTheDisclosureSystemDiscloses(t *testing.T) {
	w, c, _ := ready(t)
	class, err := agency.ParseClass("市町村長")
	if err != nil {
		t.Fatal(err)
	}
	name, err := agency.ParseName("見本")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Core.RegisterAgency(t.Context(), commands.RegisterAgency{Meta: w.Meta(""), Code: nodetest.AgencyCode(t, "city"), Name: name, Classes: []agency.Class{class}}); err != nil {
		t.Fatal(err)
	}
	s := c.Issue("city", 1)
	for role, audience := range map[string]commands.Audience{commands.RoleDisclosure: commands.AudiencePerson, commands.RoleCommission: commands.AudienceCommission} {
		_, err := c.Core.DiscloseRecords(t.Context(), commands.DiscloseRecords{Meta: w.MetaAs(role, "city"), Symbol: s, Receipt: "R", Audience: audience})
		if !errors.Is(err, commands.ErrNotAllowed) {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// An agency registered while the outcome of its first registration is open is one agency, with one parameter.
func TestAnAgencyIsRegisteredOnce(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a", "b")
	give := func(ctx context.Context) error {
		a, _ := c.Node.Registry.Agency(nodetest.AgencyCode(t, "a"))
		return c.Core.RegisterAgency(ctx, commands.RegisterAgency{Meta: w.Meta(""), Code: nodetest.AgencyCode(t, "z"), Name: a.Name(), Classes: a.Classes()})
	}
	w.Proxy.HoldRequests()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := give(ctx); !errors.Is(err, sequencer.ErrOutcomeOpen) {
		t.Errorf("while the store does not answer: %v", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _ = give(t.Context()) })
	}
	time.Sleep(200 * time.Millisecond)
	w.Proxy.Release()
	wg.Wait()
	if n := nodetest.Count(c.Verify(), event.TypeAgencyRegistered); n != 3 {
		t.Errorf("%d registrations of 3 agencies", n)
	}
}

// One id is one command, whatever stream its outcome would stand in.
func TestOneIDInSeveralStreams(t *testing.T) {
	const shards = 16
	w, c, s := ready(t, func(n *node.Config) { n.Shards = shards })
	two := func() (a, b inquiry.ProcessingNumber) {
		a = mustInquire(t, c, c.Inquiry("a", "b", s))
		for b = mustInquire(t, c, c.Inquiry("a", "b", s)); a.Shard(shards) == b.Shard(shards); {
			b = mustInquire(t, c, c.Inquiry("a", "b", s))
		}
		return a, b
	}
	give := func(m commands.Meta, n inquiry.ProcessingNumber) error {
		return c.Core.ReportProvision(t.Context(), commands.ReportProvision{Meta: m, ProcessingNumber: n, Answer: inquiry.AnswerFields{Kind: inquiry.NoSuchInformation}})
	}
	for round := range 20 {
		a, b := two()
		m := w.Meta("b")
		errs := make([]error, 2)
		var wg sync.WaitGroup
		wg.Go(func() { errs[0] = give(m, a) })
		wg.Go(func() { errs[1] = give(m, b) })
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), commands.ErrConflict) {
			t.Fatalf("round %d: two reports with one id: %v; %v", round, errs[0], errs[1])
		}
		cmd := c.IssueCommand("b", 7)
		cmd.Meta = m
		if _, err := c.Core.IssueSymbol(t.Context(), cmd); !errors.Is(err, commands.ErrConflict) {
			t.Fatalf("an issuance with the id of a report: %v", err)
		}
	}
	seen := map[[16]byte]string{}
	for _, e := range c.Verify() {
		if other, twice := seen[e.ID]; twice {
			t.Errorf("one event id in %s and in %s", e.Stream, other)
		}
		seen[e.ID] = e.Stream
	}
}

// A core whose store is gone ends when it is told to, not when the store comes back.
func TestCloseWhileTheStoreIsGone(t *testing.T) {
	w, c, s := ready(t, func(n *node.Config) { n.AnchorInterval = 100 * time.Millisecond })
	mustInquire(t, c, c.Inquiry("a", "b", s))
	w.Proxy.HoldRequests()
	var wg sync.WaitGroup
	wg.Go(func() { // something new, to be anchored
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, _ = c.Core.SubmitInquiry(ctx, c.Inquiry("a", "b", s))
	})
	wg.Wait()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	}()
	select {
	case <-closed:
	case <-time.After(2 * time.Minute):
		t.Error("close has not returned")
	}
	w.Proxy.Release()
	<-closed
	w.Lead("a").Verify()
}

// An empty store where a ledger was known is a loss, and no place for a new one.
func TestAnEmptyStoreIsNotANewLedger(t *testing.T) {
	for name, views := range map[string]string{"the anchor is known": "fresh", "the views are known": "a"} {
		t.Run(name, func(t *testing.T) {
			w, c, s := ready(t)
			mustInquire(t, c, c.Inquiry("a", "b", s))
			c.Stop()
			files := embeddedtest.New(t)
			w.Files, w.Server = files, files.Open(t)
			w.Proxy = storetest.NewProxy(t, w.Server.Addr())
			if err := w.TryOpen(views); !errors.Is(err, node.ErrStoreBehind) {
				t.Errorf("opened on an empty store: %v", err)
			}
		})
	}
}

// Another token does not open the ledger, and changes nothing.
func TestAnotherTokenIsRefused(t *testing.T) {
	w, c, _ := ready(t)
	c.Stop()
	w.Token = hsmtest.New(t)
	if err := w.TryOpen("a"); !errors.Is(err, node.ErrOtherToken) {
		t.Errorf("opened with another token: %v", err)
	}
}

// A stream that was taken over decides nothing before all are: its decisions rest on the others.
func TestNothingIsDecidedBeforeTheCoreIsActive(t *testing.T) {
	w, c, s := ready(t)
	mustInquire(t, c, c.Inquiry("a", "b", s))
	second := w.Open("b")
	for stream, q := range second.Core.Sequencers() {
		if event.IsRecordStream(stream) {
			if err := q.Takeover(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := second.Core.SubmitInquiry(t.Context(), second.Inquiry("a", "b", s)); !errors.Is(err, sequencer.ErrNotWriter) {
		t.Errorf("a core that stands by: %v", err)
	}
}

// Midnight in Japan with many callers: a day key each, no error.
func TestMidnight(t *testing.T) {
	w, c, s := ready(t, func(n *node.Config) { n.Shards = 1 })
	w.Turn(today().End().Sub(w.Now()) - 300*time.Millisecond)
	midnight := today().End()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for w.Now().Before(midnight.Add(300 * time.Millisecond)) {
				if _, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", s)); err != nil {
					t.Errorf("%v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	days := 0
	for _, e := range c.Verify() {
		if e.Type == event.TypeDayOpened && event.IsRecordStream(e.Stream) {
			days++
		}
	}
	if days != 2 {
		t.Errorf("%d days were opened", days)
	}
}

// A clock that is moved while the core runs is noticed before a wrong time is recorded.
func TestAMovedClockIsRefused(t *testing.T) {
	for _, step := range []time.Duration{2 * time.Minute, -2 * time.Minute, 8 * 365 * 24 * time.Hour} {
		w, c, s := ready(t, func(n *node.Config) { n.MaxClockStep = time.Minute })
		open := mustInquire(t, c, c.Inquiry("a", "b", s))
		w.Turn(30 * time.Second) // a correction
		mustInquire(t, c, c.Inquiry("a", "b", s))
		before := len(c.Verify())
		w.Turn(step)
		if _, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", s)); !errors.Is(err, commands.ErrClockMoved) && !errors.Is(err, commands.ErrTooOld) {
			t.Errorf("moved by %s: %v", step, err)
		}
		if _, err := c.Core.LapseInquiries(t.Context(), 10); !errors.Is(err, commands.ErrClockMoved) {
			t.Errorf("moved by %s: lapsing: %v", step, err)
		}
		if err := c.Anchor(t.Context()); !errors.Is(err, commands.ErrClockMoved) {
			t.Errorf("moved by %s: anchoring: %v", step, err)
		}
		if c.Core.Epoch() != 0 {
			t.Errorf("moved by %s: the time since the last anchor counts", step)
		}
		w.Turn(-step)
		if n := len(c.Verify()); n != before {
			t.Errorf("moved by %s: %d events were recorded", step, n-before)
		}
		report(t, c, open) // the clock is right again, and nothing has lapsed
	}
}

// An anchor whose writer stopped waiting is the one that the next anchor names.
func TestAnAnchorThatNobodyWaitedFor(t *testing.T) {
	w, c, s := ready(t)
	for range 5 {
		mustInquire(t, c, c.Inquiry("a", "b", s))
		w.Proxy.HoldResponses()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := c.Anchor(ctx)
		cancel()
		if err == nil {
			t.Fatal("an anchor was answered while the store's answers were held")
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.Anchor(t.Context()); err != nil {
				t.Errorf("the next anchor: %v", err)
			}
		})
		time.Sleep(20 * time.Millisecond)
		w.Proxy.Release()
		wg.Wait()
	}
	c.Verify()
}
