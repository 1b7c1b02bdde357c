package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/cmd/kiroku/internal/pki"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// TestOneOperatorWithAnAuthorityOfTheirOwn cannot approve: the authorities that were configured first are pinned in the
// registry, other ones do not count, and the core says so.
func TestOneOperatorWithAnAuthorityOfTheirOwn(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	hold := b.addHold(c)
	h := b.proposeRelease(c, hold)
	if len(c.Core.Unheeded()) != 0 {
		t.Errorf("from the start: %q", c.Core.Unheeded())
	}
	c.Stop()
	own := approvaltest.NewAuthority(t)
	c = b.Lead("a", func(c *node.Config) {
		c.Officials, c.Copies = own.Officials(t), []string{"backup", "replica"}
	})
	for _, name := range []string{"Office Holder One", "Office Holder Two"} {
		if _, err := c.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, own.Official(t, name))); !errors.Is(err, approval.ErrCertificate) {
			t.Errorf("an official of one's own: %v", err)
		}
	}
	if got := c.Core.Unheeded(); len(got) != 1 || !strings.Contains(got[0], "officials.ca_file") {
		t.Errorf("unheeded: %q", got)
	}
	b.eventually("the log to say so", func() bool { return strings.Contains(b.Logs.String(), "differs from the registry") })
	for _, official := range []approvaltest.Official{b.one, b.two} { // those in force count, whatever is configured
		if _, err := c.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, official)); err != nil {
			t.Error(err)
		}
	}
	all := c.Verify()
	if nodetest.Count(all, event.TypeAuthoritiesSet) != 1 || nodetest.Count(all, event.TypeProposalApproved) != 2 || !released(c, hold) {
		t.Errorf("%d sets of authorities, %d approvals, released: %v", nodetest.Count(all, event.TypeAuthoritiesSet), nodetest.Count(all, event.TypeProposalApproved), released(c, hold))
	}
	b.namesNobodyInTheOpen(c)
}

func (b *bureau) eventually(what string, holds func() bool) {
	b.TB.Helper()
	b.untilDone(func() error {
		if !holds() {
			return errors.New("waiting for " + what)
		}
		return nil
	})
}

// TestAnAuthorityThatOnlySlippedIntoTheRegistry changes nothing, nor do approvals under it.
func TestAnAuthorityThatOnlySlippedIntoTheRegistry(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	hold := b.addHold(c)
	h := b.proposeRelease(c, hold)
	own := approvaltest.NewAuthority(t)
	b.state(c, event.TypeAuthoritiesSet, event.AuthoritiesSet{Authorities: own.Officials(t).Certificates(), At: b.Now().UnixMicro()})
	for i, name := range []string{"Office Holder One", "Office Holder Two"} {
		official := own.Official(t, name)
		signer, err := own.Officials(t).Verify(h, official.Approve(t, h), b.Now())
		if err != nil {
			t.Fatal(err)
		}
		b.state(c, event.TypeProposalApproved, event.ProposalApproved{Proposal: h[:], Official: fmt.Sprint("official-", i), Certificate: signer.Certificate[:],
			SPKI: signer.SPKI, Authority: signer.Authority[:], Signature: official.Approve(t, h).Signature, At: b.Now().UnixMicro()})
	}
	if err := c.Core.CarryOutApprovals(t.Context()); err != nil || released(c, hold) || len(c.Core.ApprovedProposals("")) != 0 {
		t.Errorf("released: %v, %v", released(c, hold), err)
	}
	if terms := c.Core.Authorities(); len(terms) != 1 || !terms[0].Set.Has(b.authority.Officials(t).Set()[0][:]) {
		t.Errorf("in force: %d sets", len(terms))
	}
}

func (b *bureau) proposeAuthorities(c *nodetest.Core, to *approvaltest.Authority) (approval.Hash, error) {
	b.TB.Helper()
	p, err := c.Core.ProposeAuthorities(b.TB.Context(), b.other(to))
	return p.Hash, err
}

func (b *bureau) other(to *approvaltest.Authority) commands.ProposeAuthorities {
	b.TB.Helper()
	return commands.ProposeAuthorities{Meta: b.Meta(""), Authorities: to.Officials(b.TB), Asked: asked,
		Shown: []approval.Certified{to.Official(b.TB, "Office Holder One").Certified(), to.Official(b.TB, "Office Holder Two").Certified()}}
}

// TestTheAuthoritiesChange by two officials of those before; proposals that were made for another set are void.
func TestTheAuthoritiesChange(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	hold := b.addHold(c)
	release := b.proposeRelease(c, hold)
	next, never := approvaltest.NewAuthority(t), approvaltest.NewAuthority(t)
	change, err := b.proposeAuthorities(c, next)
	if err != nil {
		t.Fatal(err)
	}
	void, err := b.proposeAuthorities(c, never)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.proposeAuthorities(c, b.authority); !errors.Is(err, approval.ErrSameSet) {
		t.Errorf("the same set: %v", err)
	}
	approve := func(h approval.Hash, kind string, by approvaltest.Official, want error) {
		t.Helper()
		if _, err := c.Core.Approve(t.Context(), b.approve(h, kind, by)); !errors.Is(err, want) {
			t.Errorf("approve a %s: %v, want %v", kind, err, want)
		}
	}
	approve(release, event.ProposalHoldRelease, b.one, nil)
	approve(change, event.ProposalAuthorities, next.Official(t, "Office Holder One"), approval.ErrCertificate)
	approve(void, event.ProposalAuthorities, b.one, nil)
	approve(change, event.ProposalAuthorities, b.one, nil)
	if len(c.Core.Authorities()) != 1 {
		t.Error("changed by one official")
	}
	approve(change, event.ProposalAuthorities, b.two, nil)
	if terms := c.Core.Authorities(); len(terms) != 2 || !terms[1].Set.Has(next.Officials(t).Set()[0][:]) || len(c.Core.Unheeded()) != 1 {
		t.Fatalf("%d sets, unheeded %q", len(c.Core.Authorities()), c.Core.Unheeded())
	}
	approve(void, event.ProposalAuthorities, next.Official(t, "Office Holder Two"), approval.ErrNotInForce)
	approve(release, event.ProposalHoldRelease, b.two, approval.ErrCertificate)
	approve(release, event.ProposalHoldRelease, next.Official(t, "Office Holder Two"), nil) // the first counts still
	if !released(c, hold) {
		t.Error("not released by one official of the old and one of the new authorities")
	}
	c.Stop()
	c = b.Lead("elsewhere", func(c *node.Config) { c.Officials, c.Copies = next.Officials(t), []string{"backup", "replica"} }) // with views made anew
	if terms := c.Core.Authorities(); len(terms) != 2 || len(c.Core.Unheeded()) != 0 {
		t.Errorf("made anew: %d sets, unheeded %q", len(terms), c.Core.Unheeded())
	}
	if n := nodetest.Count(c.Verify(), event.TypeAuthoritiesSet); n != 2 {
		t.Errorf("%d sets", n)
	}
}

// TestAuthoritiesForDevelopment count only where they may.
func TestAuthoritiesForDevelopment(t *testing.T) {
	b := newBureau(t)
	made, err := pki.Develop(t.TempDir(), 2, b.Now())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(made.Authority)
	if err != nil {
		t.Fatal(err)
	}
	development, err := approval.ParseOfficials(text)
	if err != nil {
		t.Fatal(err)
	}
	as := func(may bool) func(*node.Config) {
		return func(c *node.Config) { c.Officials, c.Development = development, may }
	}
	c := b.Lead("a", as(false))
	if err := c.Core.TakeConfigured(t.Context()); !errors.Is(err, approval.ErrDevelopment) {
		t.Errorf("put in force in production: %v", err)
	}
	if _, err := c.Core.ProposeAuthorities(t.Context(), commands.ProposeAuthorities{Meta: b.Meta(""), Authorities: development, Asked: asked}); !errors.Is(err, approval.ErrDevelopment) {
		t.Errorf("proposed in production: %v", err)
	}
	c.Stop()
	c = b.Lead("a", as(true))
	if err := c.Core.TakeConfigured(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := b.proposeRelease(c, b.addHold(c))
	c.Stop()
	c = b.Lead("a", func(*node.Config) {}) // in force, and the core is one of production now
	if _, err := c.Core.Approve(t.Context(), b.approve(h, event.ProposalHoldRelease, b.one)); !errors.Is(err, approval.ErrDevelopment) {
		t.Errorf("approved in production: %v", err)
	}
}

// TestAShorterListOfCopies changes nothing for days that were destroyed before; two officials shorten it for later ones.
func TestAShorterListOfCopies(t *testing.T) {
	b := newBureau(t)
	c := b.lead("a")
	before, after := calendar.Of(2018, time.March, 1), calendar.Of(2018, time.March, 2)
	b.end(c, before, true)
	if _, err := c.Core.ProposeCopyRemoval(t.Context(), commands.ProposeCopyRemoval{Meta: b.Meta(""), Copy: "replica", Asked: asked}); !errors.Is(err, commands.ErrCopyConfigured) {
		t.Errorf("removed while it is configured: %v", err)
	}
	c.Stop()
	c = b.Lead("a", func(c *node.Config) { c.Officials, c.Copies = b.authority.Officials(t), []string{"backup"} })
	b.attest(c, "backup", before, before)
	if got := unrecoverable(t, c.Verify()); len(got) != 0 {
		t.Errorf("by a shorter list: %q", got)
	}
	if got := c.Core.Unheeded(); len(got) != 1 || !strings.Contains(got[0], "leaves out replica") {
		t.Errorf("unheeded: %q", got)
	}
	p, err := c.Core.ProposeCopyRemoval(t.Context(), commands.ProposeCopyRemoval{Meta: b.Meta(""), Copy: "replica", Asked: asked})
	if err != nil {
		t.Fatal(err)
	}
	for i, official := range []approvaltest.Official{b.one, b.two} {
		if got := fmt.Sprint(c.Core.Copies()); got != "[backup replica]" {
			t.Errorf("after %d approvals: %s", i, got)
		}
		if _, err := c.Core.Approve(t.Context(), b.approve(p.Hash, event.ProposalCopyRemoval, official)); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(c.Core.Copies(), c.Core.Unheeded()); got != "[backup] []" {
		t.Error(got)
	}
	b.end(c, after, true)
	b.attest(c, "backup", after, after)
	want := []string{"2018-03-02..2018-03-02 [backup] 1"}
	if got := unrecoverable(t, c.Verify()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	b.attest(c, "replica", before, before) // that is none any more, and held the key then
	want = append(want, "2018-03-01..2018-03-01 [backup replica] 2")
	if got := unrecoverable(t, c.Verify()); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	for range 2 {
		if err := errors.Join(c.Core.TakeConfigured(t.Context()), c.Core.CarryOutApprovals(context.WithoutCancel(t.Context()))); err != nil {
			t.Error(err)
		}
	}
	if n := nodetest.Count(c.Verify(), event.TypeCopiesDeclared); n != 2 {
		t.Errorf("%d lists of copies", n)
	}
}
