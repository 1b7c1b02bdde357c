package node_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/commands/sequencer"
	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
)

// bureau is a world with officials.
type bureau struct {
	*nodetest.World
	authority *approvaltest.Authority
	one, two  approvaltest.Official
}

func newBureau(t *testing.T) *bureau {
	authority := approvaltest.NewAuthority(t)
	return &bureau{World: nodetest.New(t).WithoutOfficials(), authority: authority, one: authority.Official(t, "Office Holder One"), two: authority.Official(t, "Office Holder Two")}
}

// lead starts a core that knows the authority and two copies of the HSM's keys.
func (b *bureau) lead(views string) *nodetest.Core {
	b.TB.Helper()
	c := b.Lead(views, func(c *node.Config) {
		c.Officials, c.Copies = b.authority.Officials(b.TB), []string{"replica", "backup"}
	})
	if err := c.Core.TakeConfigured(b.TB.Context()); err != nil { // as it does by itself before long
		b.TB.Fatal(err)
	}
	return c
}

var asked = commands.Asked{Reason: "the order was withdrawn", Within: 24 * time.Hour}

func (b *bureau) hold() commands.AddHold {
	today := calendar.DayOf(b.Now())
	return commands.AddHold{Meta: b.Meta(""), From: today, To: today.AddDays(3), Until: today.AddDays(400), Reason: "proceedings", Authority: "court order 12"}
}

func (b *bureau) addHold(c *nodetest.Core) uuid.UUID {
	b.TB.Helper()
	id, err := c.Core.AddHold(b.TB.Context(), b.hold())
	if err != nil {
		b.TB.Fatal(err)
	}
	return id
}

func (b *bureau) proposeRelease(c *nodetest.Core, hold uuid.UUID) approval.Hash {
	b.TB.Helper()
	p, err := c.Core.ProposeRelease(b.TB.Context(), commands.ProposeRelease{Meta: b.Meta(""), Hold: hold, Asked: asked})
	if err != nil {
		b.TB.Fatal(err)
	}
	return p.Hash
}

func (b *bureau) approve(h approval.Hash, kind string, by approvaltest.Official) commands.Approve {
	b.TB.Helper()
	return commands.Approve{Meta: b.Meta(""), Proposal: h, Kind: kind, Given: by.Approve(b.TB, h)}
}

func released(c *nodetest.Core, hold uuid.UUID) bool {
	for _, h := range c.Core.Holds() {
		if h.ID == hold {
			return h.Released
		}
	}
	return false
}

func TestTwoOfficialsReleaseAHold(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	hold := b.addHold(c)
	h := b.proposeRelease(c, hold)
	for i, official := range []approvaltest.Official{b.one, b.two} {
		if released(c, hold) {
			t.Fatalf("released by %d approvals", i)
		}
		done, err := c.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, official))
		if err != nil || done.Approvals != i+1 || done.Needed != 2 {
			t.Fatalf("approval %d: %+v, %v", i+1, done, err)
		}
	}
	if !released(c, hold) {
		t.Error("two officials approved, and the hold is not released")
	}
	if n := len(c.Core.ApprovedProposals(event.ProposalHoldRelease)); n != 1 || len(c.Core.ApprovedProposals(event.ProposalDeletion)) != 0 {
		t.Errorf("%d approved proposals", n)
	}
	if _, err := c.Core.ProposeRelease(t.Context(), commands.ProposeRelease{Meta: b.Meta(""), Hold: hold, Asked: asked}); !errors.Is(err, commands.ErrNotInForce) {
		t.Errorf("release it again: %v", err)
	}
	b.namesNobodyInTheOpen(c)
}

// namesNobodyInTheOpen searches the stored events for the officials, and finds their certificates where they belong.
func (b *bureau) namesNobodyInTheOpen(c *nodetest.Core) {
	b.TB.Helper()
	sealed := 0
	for _, e := range c.Verify() {
		if bytes.Contains(e.Data, []byte("Office Holder")) || bytes.Contains(e.Data, []byte(b.Meta("").Actor.Identity)) {
			b.TB.Errorf("%s@%d (%s) names somebody in clear", e.Stream, e.Revision, e.Type)
		}
		if e.Type != event.TypeOperationRecorded {
			continue
		}
		header, _, _, err := ledger.DecodeMetadata(e.Metadata)
		if err != nil {
			b.TB.Fatal(err)
		}
		plain, err := c.Keyring.Open(b.TB.Context(), header, e.Data)
		if err != nil {
			b.TB.Fatal(err)
		}
		p, err := event.Decode[event.OperationRecorded](plain)
		if err != nil {
			b.TB.Fatal(err)
		}
		for _, der := range p.Certificates {
			if _, err := x509.ParseCertificate(der); err == nil && p.Operation == event.TypeProposalApproved {
				sealed++
			}
		}
	}
	if sealed < 2 {
		b.TB.Errorf("%d certificates sealed in audit", sealed)
	}
	if strings.Contains(b.Logs.String(), "Office Holder") {
		b.TB.Error("an official stands in the log")
	}
}

func TestRefusedApprovals(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	h := b.proposeRelease(c, b.addHold(c))
	other := b.proposeRelease(c, b.addHold(c))
	if _, err := c.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, b.one)); err != nil {
		t.Fatal(err)
	}
	const release = event.ProposalHoldRelease
	from := func(f func(*commands.Approve)) commands.Approve {
		cmd := b.approve(h, release, b.two)
		f(&cmd)
		return cmd
	}
	soon := func(cert *x509.Certificate) { cert.NotAfter = b.Now().Add(-time.Minute) }
	for what, r := range map[string]struct {
		cmd  commands.Approve
		want error
	}{
		"the same official":                  {b.approve(h, release, b.one), approval.ErrSameOfficial},
		"the same official with another key": {b.approve(h, release, b.authority.Official(t, "Office Holder One")), approval.ErrSameOfficial},
		"another official with the same key": {b.approve(h, release, b.authority.Certify(t, b.one.Key, "Office Holder Three")), approval.ErrSameKey},
		"another authority":                  {b.approve(h, release, approvaltest.NewAuthority(t).Official(t, "Office Holder Two")), approval.ErrCertificate},
		"an expired certificate":             {b.approve(h, release, b.authority.Official(t, "Office Holder Two", soon)), approval.ErrCertificate},
		"a certificate for something else":   {b.approve(h, release, b.authority.Official(t, "Office Holder Two", func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil })), approval.ErrCertificate},
		"a wrong signature":                  {from(func(a *commands.Approve) { a.Given.Signature[5] ^= 1 }), approval.ErrSignature},
		"an approval of another proposal":    {from(func(a *commands.Approve) { a.Given = b.two.Approve(t, other) }), approval.ErrSignature},
		"moved to another proposal":          {from(func(a *commands.Approve) { a.Proposal = other }), approval.ErrSignature},
		"another kind":                       {from(func(a *commands.Approve) { a.Kind = event.ProposalDeletion }), commands.ErrOtherKind},
		"an unknown proposal":                {b.approve(approval.Hash{1}, release, b.two), commands.ErrNotFound},
		"another role":                       {from(func(a *commands.Approve) { a.Meta = b.MetaAs(commands.RoleGateway, "x") }), commands.ErrNotAllowed},
	} {
		_, err := c.Core.Approve(t.Context(), r.cmd)
		if !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", what, err, r.want)
		}
		if err != nil && strings.Contains(err.Error(), "Office Holder") {
			t.Errorf("%s: the error names somebody: %v", what, err)
		}
	}
	b.Turn(asked.Within)
	if _, err := c.Core.Approve(t.Context(), b.approve(h, release, b.two)); !errors.Is(err, approval.ErrExpired) {
		t.Errorf("after it expired: %v", err)
	}
	all := c.Verify()
	if n := nodetest.Count(all, event.TypeProposalApproved); n != 1 {
		t.Errorf("%d approvals are recorded, want the first alone", n)
	}
	if nodetest.Count(all, event.TypeHoldReleased) != 0 || len(c.Core.ApprovedProposals("")) != 0 {
		t.Error("something came of refused approvals")
	}
}

// TestWithoutAuthorities nothing can be approved.
func TestWithoutAuthorities(t *testing.T) {
	b := newBureau(t)
	b.WithoutOfficials()
	c := b.Lead("a")
	h := b.proposeRelease(c, b.addHold(c))
	if _, err := c.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, b.two)); !errors.Is(err, approval.ErrNoAuthorities) {
		t.Errorf("without authorities: %v", err)
	}
}

func TestRefusedProposalsAndHolds(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	hold := b.addHold(c)
	today := calendar.DayOf(b.Now())
	b.end(c, today.AddDays(-3000), true)
	b.end(c, today.AddDays(-2999), false)
	ctx := t.Context()
	addHold := func(f func(*commands.AddHold)) error {
		cmd := b.hold()
		f(&cmd)
		_, err := c.Core.AddHold(ctx, cmd)
		return err
	}
	release := func(f func(*commands.ProposeRelease)) error {
		cmd := commands.ProposeRelease{Meta: b.Meta(""), Hold: hold, Asked: asked}
		f(&cmd)
		_, err := c.Core.ProposeRelease(ctx, cmd)
		return err
	}
	attest := func(f func(*commands.ProposeAttestation)) error {
		cmd := commands.ProposeAttestation{Meta: b.Meta(""), Copy: "backup", From: today.AddDays(-3000), To: today.AddDays(-3000), Asked: asked}
		f(&cmd)
		_, err := c.Core.ProposeAttestation(ctx, cmd)
		return err
	}
	for what, r := range map[string]struct{ got, want error }{
		"hold: a day that is gone":          {addHold(func(h *commands.AddHold) { h.From, h.To = today.AddDays(-3100), today.AddDays(-2900) }), commands.ErrDestroyed},
		"hold: for ever":                    {addHold(func(h *commands.AddHold) { h.Until = today.AddYears(3).AddDays(1) }), retention.ErrHold},
		"hold: everything":                  {addHold(func(h *commands.AddHold) { h.From = h.To.AddDays(-400) }), commands.ErrInvalid},
		"hold: until yesterday":             {addHold(func(h *commands.AddHold) { h.Until = today.AddDays(-1) }), commands.ErrInvalid},
		"hold: without an authority":        {addHold(func(h *commands.AddHold) { h.Authority = "" }), commands.ErrInvalid},
		"hold: backwards":                   {addHold(func(h *commands.AddHold) { h.From = h.To.AddDays(1) }), commands.ErrInvalid},
		"hold: another role":                {addHold(func(h *commands.AddHold) { h.Meta = b.MetaAs(commands.RoleGateway, "x") }), commands.ErrNotAllowed},
		"release: an unknown hold":          {release(func(p *commands.ProposeRelease) { p.Hold = uuid.New() }), commands.ErrNotFound},
		"release: without a reason":         {release(func(p *commands.ProposeRelease) { p.Reason = "" }), commands.ErrInvalid},
		"release: for ever":                 {release(func(p *commands.ProposeRelease) { p.Within = 91 * 24 * time.Hour }), commands.ErrInvalid},
		"release: for a moment":             {release(func(p *commands.ProposeRelease) { p.Within = time.Minute }), commands.ErrInvalid},
		"release: another role":             {release(func(p *commands.ProposeRelease) { p.Meta = b.MetaAs(commands.RoleGateway, "x") }), commands.ErrNotAllowed},
		"attestation: an unknown copy":      {attest(func(p *commands.ProposeAttestation) { p.Copy = "other" }), commands.ErrUnknownCopy},
		"attestation: no day":               {attest(func(p *commands.ProposeAttestation) { p.To = calendar.Day{} }), commands.ErrInvalid},
		"attestation: a day not certified":  {attest(func(p *commands.ProposeAttestation) { p.To = today.AddDays(-2999) }), commands.ErrNotCertified},
		"attestation: a day of the future":  {attest(func(p *commands.ProposeAttestation) { p.To = today.AddDays(10) }), commands.ErrNotCertified},
		"attestation: before there was any": {attest(func(p *commands.ProposeAttestation) { p.From = today.AddDays(-3001) }), commands.ErrNotCertified},
		"attestation: another role":         {attest(func(p *commands.ProposeAttestation) { p.Meta = b.MetaAs(commands.RoleJukiNet, "") }), commands.ErrNotAllowed},
		"attestation: as it should be":      {attest(func(*commands.ProposeAttestation) {}), nil},
	} {
		if !errors.Is(r.got, r.want) {
			t.Errorf("%s: %v, want %v", what, r.got, r.want)
		}
	}
	if err := addHold(func(h *commands.AddHold) { h.From, h.To = today.AddDays(-3100), today.AddDays(-2900) }); !strings.Contains(err.Error(), today.AddDays(-2998).String()) {
		t.Errorf("it should say which days can be held: %v", err)
	}
}

// TestAHoldComesTooLate: it is decided that the key is destroyed, and the registry does not say yet that it is. A hold
// would stand before the destruction in the ledger and promise what cannot be kept.
func TestAHoldComesTooLate(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	today := calendar.DayOf(b.Now())
	gone, living := today.AddDays(-3000), today.AddDays(-2990)
	for _, day := range []calendar.Day{gone, living} {
		if err := c.HSM.EnsureDayKey(t.Context(), keyring.DayLabel(day)); err != nil {
			t.Fatal(err)
		}
		b.state(c, event.TypeDaySummarised, event.DaySummarised{Day: day.String(), Parts: 1, Least: 10, Rows: []event.SummaryRow{}})
	}
	hold := func(from calendar.Day) error {
		cmd := b.hold()
		cmd.From, cmd.To = from, from.AddDays(20)
		_, err := c.Core.AddHold(t.Context(), cmd)
		return err
	}
	b.state(c, event.TypeDestructionDecided, event.DestructionDecided{Day: gone.String()})
	if err := hold(gone); !errors.Is(err, commands.ErrDestroyed) || !strings.Contains(err.Error(), gone.AddDays(1).String()) {
		t.Errorf("held a day that is gone: %v", err)
	}
	if err := hold(living); err != nil {
		t.Errorf("a day whose key is there: %v", err)
	}
}

// end has the registry say that a day's key was destroyed, and certified if wanted.
func (b *bureau) end(c *nodetest.Core, day calendar.Day, certified bool) {
	b.TB.Helper()
	b.state(c, event.TypeDaySummarised, event.DaySummarised{Day: day.String(), Parts: 1})
	b.state(c, event.TypeDestructionDecided, event.DestructionDecided{Day: day.String(), At: b.Now().UnixMicro()})
	b.state(c, event.TypeDayKeyDestroyed, event.DayKeyDestroyed{Day: day.String(), Label: keyring.DayLabel(day), Due: day.PeriodEnd(7).AddDays(1).String(), At: b.Now().UnixMicro()})
	if !certified {
		return
	}
	d, _ := c.Retention.Snapshot().Day(day)
	b.state(c, event.TypeDayCertified, event.DayCertified{Day: day.String(), Destroyed: d.Destroyed.Revision, Leaf: d.Destroyed.Leaf[:], Cleared: []string{"keyring"}, At: b.Now().UnixMicro()})
}

func (b *bureau) state(c *nodetest.Core, eventType string, payload any) {
	b.TB.Helper()
	if _, err := c.Core.RecordFact(b.TB.Context(), uuid.New(), eventType, []any{payload}, nil); err != nil {
		b.TB.Fatal(err)
	}
}

func (b *bureau) attest(c *nodetest.Core, name string, from, to calendar.Day) {
	b.TB.Helper()
	p, err := c.Core.ProposeAttestation(b.TB.Context(), commands.ProposeAttestation{Meta: b.Meta(""), Copy: name, From: from, To: to, Asked: asked})
	if err != nil {
		b.TB.Fatal(err)
	}
	for _, official := range []approvaltest.Official{b.one, b.two} {
		if _, err := c.Core.Approve(b.TB.Context(), b.approve(p.Hash, event.ProposalAttestation, official)); err != nil {
			b.TB.Fatal(err)
		}
	}
}

func unrecoverable(t *testing.T, events []ledger.Event) (spans []string) {
	t.Helper()
	for _, e := range events {
		if e.Type != event.TypeDayUnrecoverable {
			continue
		}
		p, err := event.Decode[event.DayUnrecoverable](e.Data)
		if err != nil {
			t.Fatal(err)
		}
		spans = append(spans, fmt.Sprintf("%s..%s %v %d", p.From, p.To, p.Copies, len(p.Proposals)))
	}
	return spans
}

// TestDaysBecomeUnrecoverable when every copy that is configured is attested for them, and each of them once.
func TestDaysBecomeUnrecoverable(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	day := func(n int) calendar.Day { return calendar.Of(2018, time.March, n) }
	for _, n := range []int{1, 2, 3, 5, 6} { // of the 4th the ledger holds nothing
		b.end(c, day(n), true)
	}
	b.attest(c, "backup", day(1), day(6))
	if got := unrecoverable(t, c.Verify()); len(got) != 0 {
		t.Errorf("with one copy attested: %q", got)
	}
	b.attest(c, "replica", day(2), day(3))
	want := []string{"2018-03-02..2018-03-03 [backup replica] 2"}
	if got := unrecoverable(t, c.Verify()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	b.attest(c, "replica", day(1), day(5))
	want = append(want, "2018-03-01..2018-03-01 [backup replica] 2", "2018-03-05..2018-03-05 [backup replica] 2")
	if got := unrecoverable(t, c.Verify()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	c.Stop()
	c = b.lead("elsewhere")
	for range 2 {
		if err := c.Core.CarryOutApprovals(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := unrecoverable(t, c.Verify()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after a restart %q, want %q", got, want)
	}
	if d, _ := c.Retention.Snapshot().Day(day(6)); d.Unrecoverable != 0 {
		t.Error("the 6th, of which one copy is not attested, is called unrecoverable")
	}
}

// TestNoCopyConfigured: nothing is attested, and nothing called unrecoverable.
func TestNoCopyConfigured(t *testing.T) {
	b := newBureau(t)
	c := b.Lead("a", func(c *node.Config) { c.Officials = b.authority.Officials(t) })
	day := calendar.Of(2018, time.March, 1)
	b.end(c, day, true)
	_, err := c.Core.ProposeAttestation(t.Context(), commands.ProposeAttestation{Meta: b.Meta(""), Copy: "backup", From: day, To: day, Asked: asked})
	if !errors.Is(err, commands.ErrUnknownCopy) || !strings.Contains(err.Error(), "none is") {
		t.Error(err)
	}
	if err := c.Core.CarryOutApprovals(t.Context()); err != nil || len(unrecoverable(t, c.Verify())) > 0 {
		t.Errorf("called unrecoverable without a copy: %v", err)
	}
}

// TestGivenAgain: the same command is the same outcome, at once, after a restart and on another core; with another
// content it is a conflict.
func TestGivenAgain(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	add := b.hold()
	hold, err := c.Core.AddHold(t.Context(), add)
	if err != nil {
		t.Fatal(err)
	}
	propose := commands.ProposeRelease{Meta: b.Meta(""), Hold: hold, Asked: asked}
	p, err := c.Core.ProposeRelease(t.Context(), propose)
	if err != nil {
		t.Fatal(err)
	}
	first, second := b.approve(p.Hash, event.ProposalHoldRelease, b.one), b.approve(p.Hash, event.ProposalHoldRelease, b.two)
	for i, cmd := range []commands.Approve{first, second} {
		if done, err := c.Core.Approve(t.Context(), cmd); err != nil || done.Approvals != i+1 {
			t.Fatal(done, err)
		}
	}
	events := len(c.Verify())
	again := func(when string) {
		t.Helper()
		if id, err := c.Core.AddHold(t.Context(), add); err != nil || id != hold {
			t.Errorf("%s, hold: %v %v", when, id, err)
		}
		if q, err := c.Core.ProposeRelease(t.Context(), propose); err != nil || q.Hash != p.Hash {
			t.Errorf("%s, proposal: %v %v", when, q.Hash, err)
		}
		for i, cmd := range []commands.Approve{first, second} {
			if done, err := c.Core.Approve(t.Context(), cmd); err != nil || done.Approvals != i+1 {
				t.Errorf("%s, approval %d: %+v %v", when, i+1, done, err)
			}
		}
		otherHold, otherProposal, otherApproval := add, propose, first
		otherHold.Reason, otherProposal.Reason, otherApproval.Given = "another", "another", second.Given
		if _, err := c.Core.AddHold(t.Context(), otherHold); !errors.Is(err, commands.ErrConflict) {
			t.Errorf("%s, another hold: %v", when, err)
		}
		if _, err := c.Core.ProposeRelease(t.Context(), otherProposal); !errors.Is(err, commands.ErrConflict) {
			t.Errorf("%s, another proposal: %v", when, err)
		}
		if _, err := c.Core.Approve(t.Context(), otherApproval); !errors.Is(err, commands.ErrConflict) {
			t.Errorf("%s, another approval: %v", when, err)
		}
	}
	again("at once")
	if n := len(c.Verify()); n != events {
		t.Errorf("repeated commands left %d events", n-events)
	}
	c.Stop()
	c = b.lead("a")
	again("after a restart")
	c.Stop()
	c = b.lead("elsewhere")
	again("on another core")
	after := c.Verify()
	for eventType, want := range map[string]int{event.TypeHoldAdded: 1, event.TypeProposalMade: 1, event.TypeProposalApproved: 2, event.TypeHoldReleased: 1} {
		if n := nodetest.Count(after, eventType); n != want {
			t.Errorf("%d of %s, want %d", n, eventType, want)
		}
	}
}

// TestAllAtOnce: whoever comes at the same time, two different officials are recorded, and one release.
func TestAllAtOnce(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	hold := b.addHold(c)
	h := b.proposeRelease(c, hold)
	var cmds []commands.Approve
	for i := range 4 {
		for range 3 { // keys
			cmds = append(cmds, b.approve(h, event.ProposalHoldRelease, b.authority.Official(t, fmt.Sprint("Office Holder ", i))))
		}
	}
	cmds = append(cmds, cmds...) // and each twice
	errs := make([]error, len(cmds))
	var wg sync.WaitGroup
	for i, cmd := range cmds {
		wg.Go(func() { _, errs[i] = c.Core.Approve(t.Context(), cmd) })
	}
	wg.Wait()
	ids := map[uuid.UUID]bool{}
	for i, err := range errs {
		switch {
		case err == nil:
			ids[cmds[i].ID] = true
		case !errors.Is(err, approval.ErrSameOfficial) && !errors.Is(err, approval.ErrApproved):
			t.Errorf("%v", err)
		}
	}
	all := c.Verify()
	if n := nodetest.Count(all, event.TypeProposalApproved); n != 2 || len(ids) != 2 {
		t.Errorf("%d approvals recorded, %d commands succeeded, want 2", n, len(ids))
	}
	if n := nodetest.Count(all, event.TypeHoldReleased); n != 1 || !released(c, hold) {
		t.Errorf("%d releases", n)
	}
}

// TestWhatWasApprovedIsCarriedOutAfterARestart: the second approval is durable, and the core ended before it said what
// follows from it.
func TestWhatWasApprovedIsCarriedOutAfterARestart(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	hold := b.addHold(c)
	h := b.proposeRelease(c, hold)
	for i, official := range []approvaltest.Official{b.one, b.two} {
		signer, err := b.authority.Officials(t).Verify(h, official.Approve(t, h), b.Now())
		if err != nil {
			t.Fatal(err)
		}
		b.state(c, event.TypeProposalApproved, event.ProposalApproved{Proposal: h[:], Official: fmt.Sprint("official-", i), Certificate: signer.Certificate[:],
			SPKI: signer.SPKI, Authority: signer.Authority[:], Signature: official.Approve(t, h).Signature, At: b.Now().UnixMicro()})
	}
	if released(c, hold) {
		t.Fatal("released already")
	}
	c.Stop()
	c = b.lead("a")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := c.Core.CarryOutApprovals(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := nodetest.Count(c.Verify(), event.TypeHoldReleased); n != 1 || !released(c, hold) {
		t.Errorf("%d releases", n)
	}
}

// TestAnApprovalWhoseAnswerIsLost: the caller gave up, and gives the command again.
func TestAnApprovalWhoseAnswerIsLost(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	hold := b.addHold(c)
	h := b.proposeRelease(c, hold)
	for _, official := range []approvaltest.Official{b.one, b.two} {
		cmd := b.approve(h, event.ProposalHoldRelease, official)
		for within := time.Duration(0); ; within += time.Millisecond {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			_, err := c.Core.Approve(ctx, cmd)
			cancel()
			if err == nil {
				break
			}
		}
	}
	if err := c.Core.CarryOutApprovals(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := c.Verify()
	if nodetest.Count(all, event.TypeProposalApproved) != 2 || nodetest.Count(all, event.TypeHoldReleased) != 1 || !released(c, hold) {
		t.Errorf("%d approvals, %d releases", nodetest.Count(all, event.TypeProposalApproved), nodetest.Count(all, event.TypeHoldReleased))
	}
}

// TestAStoreThatDoesNotAnswer: the caller is told that nothing is known, gives the command again, and it counts once.
func TestAStoreThatDoesNotAnswer(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	for name, harm := range map[string]func(){"to requests": b.Proxy.HoldRequests, "in time": b.Proxy.HoldResponses} {
		hold := b.addHold(c)
		h := b.proposeRelease(c, hold)
		for _, official := range []approvaltest.Official{b.one, b.two} {
			cmd := b.approve(h, event.ProposalHoldRelease, official)
			harm()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, err := c.Core.Approve(ctx, cmd); err == nil {
				t.Errorf("%s: approved without an answer of the store", name)
			}
			cancel()
			b.Proxy.Cut()
			b.Proxy.Release()
			b.untilDone(func() error { _, err := c.Core.Approve(t.Context(), cmd); return err })
		}
		b.untilDone(func() error { return c.Core.CarryOutApprovals(t.Context()) })
		if !released(c, hold) {
			t.Errorf("%s: the hold is not released", name)
		}
	}
	all := c.Verify()
	if n, m := nodetest.Count(all, event.TypeProposalApproved), nodetest.Count(all, event.TypeHoldReleased); n != 4 || m != 2 {
		t.Errorf("%d approvals and %d releases, want 4 and 2", n, m)
	}
}

// untilDone repeats what may fail while the core finds its store again.
func (b *bureau) untilDone(do func() error) {
	b.TB.Helper()
	ctx, cancel := context.WithTimeout(b.TB.Context(), 2*time.Minute)
	defer cancel()
	for {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			b.TB.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestAnotherCoreTakesOver between two approvals; the one before refuses.
func TestAnotherCoreTakesOver(t *testing.T) {
	b := newBureau(t)
	first := b.lead("a")
	hold := b.addHold(first)
	h := b.proposeRelease(first, hold)
	if _, err := first.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, b.one)); err != nil {
		t.Fatal(err)
	}
	second := b.Open("b", func(c *node.Config) { c.Officials = b.authority.Officials(t) })
	if _, err := second.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, b.two)); !errors.Is(err, sequencer.ErrNotWriter) {
		t.Errorf("a core that stands by: %v", err)
	}
	first.Stop()
	second.WaitLead()
	again := b.authority.Official(t, "Office Holder One")
	if _, err := second.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, again)); !errors.Is(err, approval.ErrSameOfficial) {
		t.Errorf("the same official with another key at another core: %v", err)
	}
	if done, err := second.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, b.two)); err != nil || done.Approvals != 2 || !released(second, hold) {
		t.Errorf("%+v, %v", done, err)
	}
}
