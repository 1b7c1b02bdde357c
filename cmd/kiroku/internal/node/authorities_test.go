package node_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/event"
)

// change has two officials of some authorities replace these.
func (b *bureau) change(c *nodetest.Core, by, to *approvaltest.Authority) approval.Hash {
	b.TB.Helper()
	h, err := b.proposeAuthorities(c, to)
	if err != nil {
		b.TB.Fatal(err)
	}
	b.both(c, h, event.ProposalAuthorities, by)
	return h
}

func (b *bureau) both(c *nodetest.Core, h approval.Hash, kind string, by *approvaltest.Authority) {
	b.TB.Helper()
	for _, name := range []string{"Office Holder One", "Office Holder Two"} {
		if _, err := c.Core.Approve(b.TB.Context(), b.approve(h, kind, by.Official(b.TB, name))); err != nil {
			b.TB.Fatal(err)
		}
	}
}

// settled carries out what there is to carry out, time and again, also once every command is forgotten.
func (b *bureau) settled(c *nodetest.Core) {
	b.TB.Helper()
	for _, wait := range []time.Duration{time.Minute, 9 * 24 * time.Hour, time.Minute} {
		b.Turn(wait)
		if err := c.Core.CarryOutApprovals(b.TB.Context()); err != nil {
			b.TB.Error(err)
		}
	}
}

// TestAChangeOfAuthoritiesIsCarriedOutOnce: after one there and one back neither happens again by itself, not after days,
// not after a restart, not in another core; and a set that comes into force anew needs two officials anew.
func TestAChangeOfAuthoritiesIsCarriedOutOnce(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	next := approvaltest.NewAuthority(t)
	there := b.change(c, b.authority, next)
	b.Turn(time.Minute)
	b.change(c, next, b.authority)
	for _, views := range []string{"a", "a", "elsewhere"} {
		b.settled(c)
		terms := c.Core.Authorities()
		if last, _ := terms.Last(); len(terms) != 3 || !last.Set.Has(b.authority.Officials(t).Set()[0][:]) {
			t.Fatalf("%d sets came into force", len(terms))
		}
		c.Stop()
		c = b.lead(views)
	}
	if _, err := c.Core.Approve(t.Context(), b.approve(there, event.ProposalAuthorities, b.authority.Official(t, "Office Holder Three"))); !errors.Is(err, approval.ErrNotInForce) {
		t.Errorf("a third approval of what is done: %v", err)
	}
	if n := nodetest.Count(c.Verify(), event.TypeAuthoritiesSet); n != 3 {
		t.Errorf("%d sets in the ledger", n)
	}
	b.change(c, b.authority, next)
	if n := nodetest.Count(c.Verify(), event.TypeAuthoritiesSet); n != 4 {
		t.Errorf("proposed anew: %d sets in the ledger", n)
	}
}

// TestARemovalOfACopyIsCarriedOutOnce: a second one that was approved, and not needed, does not remove the copy when it is
// declared again.
func TestARemovalOfACopyIsCarriedOutOnce(t *testing.T) {
	b := newBureau(t)
	b.lead("a").Stop()
	with := func(copies ...string) func(*node.Config) {
		return func(c *node.Config) { c.Officials, c.Copies = b.authority.Officials(t), copies }
	}
	c := b.Lead("a", with("backup"))
	var proposals []approval.Hash
	for range 2 {
		p, err := c.Core.ProposeCopyRemoval(t.Context(), commands.ProposeCopyRemoval{Meta: b.Meta(""), Copy: "replica", Asked: asked})
		if err != nil {
			t.Fatal(err)
		}
		proposals = append(proposals, p.Hash)
	}
	for _, h := range proposals {
		b.both(c, h, event.ProposalCopyRemoval, b.authority)
	}
	if got := c.Core.Copies(); len(got) != 1 {
		t.Fatalf("%q", got)
	}
	c.Stop()
	c = b.Lead("a", with("backup", "replica")) // there is another one
	if err := c.Core.TakeConfigured(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Stop()
	c = b.Lead("a", with("backup"))
	b.settled(c)
	if got := c.Core.Copies(); len(got) != 2 {
		t.Errorf("the copy that was declared again was removed: %q", got)
	}
}

// TestAuthoritiesUnderWhichNobodyCouldApprove are not proposed, not approved, and not put in force.
func TestAuthoritiesUnderWhichNobodyCouldApprove(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	until := func(end time.Time) *approvaltest.Authority {
		return approvaltest.NewAuthority(t, func(c *x509.Certificate) { c.NotAfter = end })
	}
	good, stranger := approvaltest.NewAuthority(t), approvaltest.NewAuthority(t)
	showing := func(shown ...approvaltest.Official) commands.ProposeAuthorities {
		cmd := b.other(good)
		cmd.Shown = nil
		for _, o := range shown {
			cmd.Shown = append(cmd.Shown, o.Certified())
		}
		return cmd
	}
	one := good.Official(t, "Office Holder One")
	for what, r := range map[string]struct {
		cmd  commands.ProposeAuthorities
		want error
	}{
		"ended":                       {b.other(until(b.Now().Add(-time.Hour))), approval.ErrEnding},
		"ending in a month":           {b.other(until(b.Now().Add(30*24*time.Hour - time.Second))), approval.ErrEnding},
		"no official shown":           {showing(), approval.ErrNobodyShown},
		"one official":                {showing(one), approval.ErrNobodyShown},
		"one official in two offices": {showing(one, good.Official(t, " office  holder ONE")), approval.ErrNobodyShown},
		"one key":                     {showing(one, good.Certify(t, one.Key, "Office Holder Two")), approval.ErrNobodyShown},
		"an official of another one":  {showing(one, stranger.Official(t, "Office Holder Two")), approval.ErrCertificate},
		"whose certificate has ended": {showing(one, good.Official(t, "Office Holder Two", func(c *x509.Certificate) { c.NotAfter = b.Now() })), approval.ErrCertificate},
	} {
		b.Turn(time.Second)
		if _, err := c.Core.ProposeAuthorities(t.Context(), r.cmd); !errors.Is(err, r.want) {
			t.Errorf("%s: %v, want %v", what, err, r.want)
		}
	}
	if n := nodetest.Count(c.Verify(), event.TypeProposalMade); n != 0 {
		t.Errorf("%d proposals", n)
	}
	late := until(b.Now().Add(30*24*time.Hour + time.Hour))
	h, err := b.proposeAuthorities(c, late)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Core.Approve(t.Context(), b.approve(h, event.ProposalAuthorities, b.one)); err != nil {
		t.Fatal(err)
	}
	b.Turn(2 * time.Hour)
	if _, err := c.Core.Approve(t.Context(), b.approve(h, event.ProposalAuthorities, b.two)); !errors.Is(err, approval.ErrEnding) || !strings.Contains(err.Error(), "the one that ends last") {
		t.Errorf("approved too late: %v", err)
	}
	if n := len(c.Core.Authorities()); n != 1 {
		t.Errorf("%d sets", n)
	}
}

// TestTheFirstAuthoritiesLast as well: otherwise nobody could ever change them.
func TestTheFirstAuthoritiesLast(t *testing.T) {
	b := newBureau(t)
	short := approvaltest.NewAuthority(t, func(c *x509.Certificate) { c.NotAfter = b.Now().Add(29 * 24 * time.Hour) })
	c := b.Lead("a", func(c *node.Config) { c.Officials = short.Officials(t) })
	if err := c.Core.TakeConfigured(t.Context()); !errors.Is(err, approval.ErrEnding) || len(c.Core.Authorities()) != 0 {
		t.Errorf("%v, %d sets", err, len(c.Core.Authorities()))
	}
	b.eventually("the log to say so", func() bool { return strings.Contains(b.Logs.String(), "cannot be put in force") })
	c.Stop()
	if c = b.lead("a"); len(c.Core.Authorities()) != 1 {
		t.Error("authorities that last are not put in force afterwards")
	}
}

// TestTheLastAuthorityEnds: that is told 90 days before, while there is time to replace it.
func TestTheLastAuthorityEnds(t *testing.T) {
	b := newBureau(t)
	end := b.Now().Add(91 * 24 * time.Hour).Truncate(time.Second)
	b.authority = approvaltest.NewAuthority(t, func(c *x509.Certificate) { c.NotAfter = end })
	c := b.lead("a")
	if got, soon := c.Core.OfficialsUntil(); soon || !got.Equal(end) {
		t.Errorf("91 days before: %s, %v", got, soon)
	}
	c.Stop()
	b.Turn(24 * time.Hour)
	c = b.lead("a")
	if _, soon := c.Core.OfficialsUntil(); !soon {
		t.Error("not told 90 days before")
	}
	b.eventually("the log to say so", func() bool { return strings.Contains(b.Logs.String(), "the authorities of officials end") })
	b.change(c, b.authority, approvaltest.NewAuthority(t))
	if got, soon := c.Core.OfficialsUntil(); soon || !got.Equal(approvaltest.To) {
		t.Errorf("replaced: %s, %v", got, soon)
	}
}

// TestAReleaseThatOnlySlippedIntoTheRegistry ends no hold, and is told.
func TestAReleaseThatOnlySlippedIntoTheRegistry(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	hold := b.addHold(c)
	b.state(c, event.TypeHoldReleased, event.HoldReleased{Hold: hold, At: b.Now().UnixMicro()})
	if released(c, hold) {
		t.Error("released without any proposal")
	}
	if got := c.RefusedFacts(); len(got) != 1 || !strings.Contains(got[0], event.TypeHoldReleased) {
		t.Errorf("%q", got)
	}
	c.Stop()
	c = b.lead("elsewhere")
	b.eventually("the log to say so", func() bool { return strings.Contains(b.Logs.String(), "did not approve; it changes nothing") })
	h := b.proposeRelease(c, hold)
	b.both(c, h, event.ProposalHoldRelease, b.authority)
	if !released(c, hold) || len(c.RefusedFacts()) != 1 {
		t.Errorf("released by two: %v, refused %q", released(c, hold), c.RefusedFacts())
	}
}
