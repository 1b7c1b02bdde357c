package approval_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/event"
)

// TestOnlyApprovalsUnderAuthoritiesInForceCount: of an authority that nobody put in force, or that was replaced, or that
// came later, none does; what was given while it was in force goes on counting.
func TestOnlyApprovalsUnderAuthoritiesInForceCount(t *testing.T) {
	before, after, stranger := approvaltest.NewAuthority(t), approvaltest.NewAuthority(t), approvaltest.NewAuthority(t)
	p := proposal(t, "order withdrawn")
	change := made.Add(2 * time.Hour)
	terms := replaced(t, since(t, before.Officials(t), made), before, after.Officials(t), change)
	for what, c := range map[string]struct {
		by    *approvaltest.Authority
		at    time.Time
		terms approval.Terms
		want  bool
	}{
		"in force":                 {before, then, terms, true},
		"in force until a change":  {before, change.Add(-time.Microsecond), terms, true},
		"replaced":                 {before, change, terms, false},
		"put in force by a change": {after, change, terms, true},
		"before the change":        {after, change.Add(-time.Microsecond), terms, false},
		"a stranger's":             {stranger, then, terms, false},
		"none ever in force":       {before, then, nil, false},
	} {
		s := p
		s.Terms = c.terms
		for _, name := range []string{"Official 1", "Official 2"} {
			s.Approvals = append(s.Approvals, record(t, c.by.Officials(t), p.Hash, c.by.Official(t, name).Approve(t, p.Hash), c.at))
		}
		if s.Approved() != c.want {
			t.Errorf("%s: approved %v", what, s.Approved())
		}
	}
}

// changing proposes to replace the authorities in force, and has officials approve that.
func changing(t *testing.T, terms approval.Terms, to approval.Officials, at time.Time, by *approvaltest.Authority, names ...string) (event.AuthoritiesSet, *approval.Standing) {
	t.Helper()
	last, _ := terms.Last()
	p := event.ProposalMade{Kind: event.ProposalAuthorities, Authorities: to.Certificates(), Replaces: last.Set.Hash(), At: made.UnixMicro(), Until: at.Add(time.Hour).UnixMicro()}
	payload, err := event.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	s := &approval.Standing{Hash: approval.HashOf(payload), Revision: last.Revision + 1, Made: p}
	for _, name := range names {
		s.Approvals = append(s.Approvals, record(t, by.Officials(t), s.Hash, by.Official(t, name).Approve(t, s.Hash), at.Add(-time.Minute)))
	}
	return event.AuthoritiesSet{Authorities: to.Certificates(), Proposal: s.Hash[:], At: at.UnixMicro()}, s
}

func replaced(t *testing.T, terms approval.Terms, by *approvaltest.Authority, to approval.Officials, at time.Time) approval.Terms {
	t.Helper()
	fact, s := changing(t, terms, to, at, by, "Official 1", "Official 2")
	terms, err := terms.Next(fact, s.Revision+2, s)
	if err != nil {
		t.Fatal(err)
	}
	return terms
}

func TestAuthoritiesChangeOnlyByThoseBefore(t *testing.T) {
	old, own := approvaltest.NewAuthority(t), approvaltest.NewAuthority(t)
	terms := since(t, old.Officials(t), made)
	at := made.Add(time.Hour)
	both := []string{"Official 1", "Official 2"}
	of := func(by *approvaltest.Authority, names ...string) func() (event.AuthoritiesSet, *approval.Standing) {
		return func() (event.AuthoritiesSet, *approval.Standing) {
			return changing(t, terms, own.Officials(t), at, by, names...)
		}
	}
	with := func(f func(*event.AuthoritiesSet, *approval.Standing)) func() (event.AuthoritiesSet, *approval.Standing) {
		return func() (event.AuthoritiesSet, *approval.Standing) {
			fact, s := of(old, both...)()
			f(&fact, s)
			return fact, s
		}
	}
	for what, c := range map[string]struct {
		change func() (event.AuthoritiesSet, *approval.Standing)
		want   error
	}{
		"two of the set before":   {of(old, both...), nil},
		"one of them":             {of(old, "Official 1"), approval.ErrSetUnapproved},
		"one of them twice":       {of(old, "Official 1", "Official 1"), approval.ErrSetUnapproved},
		"two of the new set":      {of(own, both...), approval.ErrSetUnapproved},
		"no proposal":             {func() (event.AuthoritiesSet, *approval.Standing) { f, _ := of(old, both...)(); return f, nil }, approval.ErrSetUnapproved},
		"another set":             {with(func(f *event.AuthoritiesSet, _ *approval.Standing) { f.Authorities = old.Officials(t).Certificates() }), approval.ErrSetUnapproved},
		"no authority at all":     {with(func(f *event.AuthoritiesSet, _ *approval.Standing) { f.Authorities = nil }), approval.ErrAuthorities},
		"a certificate of none":   {with(func(f *event.AuthoritiesSet, _ *approval.Standing) { f.Authorities = [][]byte{{1}} }), approval.ErrAuthorities},
		"another kind":            {with(func(_ *event.AuthoritiesSet, s *approval.Standing) { s.Made.Kind = event.ProposalDeletion }), approval.ErrSetUnapproved},
		"in place of what is not": {with(func(_ *event.AuthoritiesSet, s *approval.Standing) { s.Made.Replaces = make([]byte, 32) }), approval.ErrNotInForce},
		"proposed before the set": {with(func(_ *event.AuthoritiesSet, s *approval.Standing) { s.Revision = 6 }), approval.ErrNotInForce},
		"proposed afterwards":     {with(func(_ *event.AuthoritiesSet, s *approval.Standing) { s.Revision = 12 }), approval.ErrSetUnapproved},
		"ended before the change": {with(func(f *event.AuthoritiesSet, _ *approval.Standing) { f.At = approvaltest.To.Add(time.Hour).UnixMicro() }), approval.ErrEnding},
	} {
		fact, s := c.change()
		next, err := terms.Next(fact, 11, s)
		if !errors.Is(err, c.want) || (len(next) == 2) != (c.want == nil) {
			t.Errorf("%s: %d sets, %v; want %v", what, len(next), err, c.want)
		}
	}
}

func TestASetHasOneForm(t *testing.T) {
	a, b := approvaltest.NewAuthority(t), approvaltest.NewAuthority(t)
	for _, text := range [][]byte{append(a.PEM(), b.PEM()...), append(append(b.PEM(), a.PEM()...), b.PEM()...)} {
		o, err := approval.ParseOfficials(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := approval.NewOfficials(o.Certificates())
		if err != nil || len(again.Set()) != 2 || !slices.Equal(again.Set(), o.Set()) || !again.Set().Has(sum(a)) || !again.Set().Has(sum(b)) {
			t.Errorf("%x, %v", again.Set(), err)
		}
		ders := o.Certificates()
		slices.Reverse(ders)
		if _, err := approval.NewOfficials(ders); !errors.Is(err, approval.ErrAuthorities) {
			t.Errorf("in another order: %v", err)
		}
		if bytes.Equal(o.Set().Hash(), a.Officials(t).Set().Hash()) {
			t.Error("two sets have one hash")
		}
	}
}

func sum(a *approvaltest.Authority) []byte { s := sumOf(a.Certificate.Raw); return s[:] }

// TestASerialNumberSaysWhoItIs: whatever else the certificate says.
func TestASerialNumberSaysWhoItIs(t *testing.T) {
	authority := approvaltest.NewAuthority(t)
	officials := authority.Officials(t)
	p := proposal(t, "order withdrawn")
	p.Terms = since(t, officials, made)
	named := func(name, serial, unit string) approvaltest.Official {
		return authority.Official(t, name, func(c *x509.Certificate) {
			c.Subject = pkix.Name{CommonName: name, SerialNumber: serial, OrganizationalUnit: []string{unit}}
		})
	}
	p.Approvals = []event.ProposalApproved{record(t, officials, p.Hash, named("Official 1", "S-17", "Records").Approve(t, p.Hash), then)}
	for what, c := range map[string]struct {
		second approvaltest.Official
		want   error
	}{
		"in another office":     {named("Official 1", "S-17", "Security"), approval.ErrSameOfficial},
		"with another name":     {named("Official One", "s-17 ", "Records"), approval.ErrSameOfficial},
		"namesakes":             {named("Official 1", "S-18", "Records"), nil},
		"with what nobody sees": {named("Official One", "\ufeffS\u00ad-\u200b1\u20637\U000e0020", "Records"), approval.ErrSameOfficial},
		"with wide digits":      {named("Official One", "Ｓ－１７", "Records"), approval.ErrSameOfficial},
		"with spaces around it": {named("Official One", "\u3000S-17\u00a0", "Records"), approval.ErrSameOfficial},
	} {
		a := record(t, officials, p.Hash, c.second.Approve(t, p.Hash), then)
		if err := p.Admit(a.Official, a.SPKI, then); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	serial := asn1.ObjectIdentifier{2, 5, 4, 5}
	for what, subject := range map[string]pkix.Name{
		"two serialNumbers":        {ExtraNames: []pkix.AttributeTypeAndValue{{Type: serial, Value: "1"}, {Type: serial, Value: "2"}}},
		"none":                     {CommonName: "Official 2"},
		"one that is empty":        {SerialNumber: "\u200b"},
		"letters that look alike":  {SerialNumber: "\u0405-17"},
		"signs of another kind":    {SerialNumber: "S_17"},
		"a character of no script": {SerialNumber: "S-17\ufffd"},
	} {
		o := authority.Official(t, "", func(c *x509.Certificate) { c.Subject = subject })
		if _, err := officials.Verify(p.Hash, o.Approve(t, p.Hash), then); !errors.Is(err, approval.ErrCertificate) || !strings.Contains(err.Error(), "serialNumber") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestAChangeIsMadeOnce: when the set before is in force again, no proposal of then changes it, neither the one that did so
// nor another that was approved too late.
func TestAChangeIsMadeOnce(t *testing.T) {
	a, b := approvaltest.NewAuthority(t), approvaltest.NewAuthority(t)
	both := []string{"Official 1", "Official 2"}
	at := func(hours int) time.Time { return made.Add(time.Duration(hours) * time.Hour) }
	terms := since(t, a.Officials(t), made)
	there, s := changing(t, terms, b.Officials(t), at(1), a, both...)
	late, second := changing(t, terms, b.Officials(t), at(1).Add(-time.Minute), a, both...)
	terms = must(t)(terms.Next(there, 10, s))
	back, r := changing(t, terms, a.Officials(t), at(3), b, both...)
	terms = must(t)(terms.Next(back, 13, r))
	for what, c := range map[string]struct {
		fact event.AuthoritiesSet
		by   *approval.Standing
	}{"the one that was carried out": {there, s}, "another of then": {late, second}, "the way back": {back, r}} {
		c.fact.At = at(4).UnixMicro()
		if next, err := terms.Next(c.fact, 15, c.by); !errors.Is(err, approval.ErrNotInForce) || len(next) != 3 {
			t.Errorf("%s: %d sets, %v", what, len(next), err)
		}
		again := *c.by
		again.Terms = terms
		if again.Timely() == nil || again.Replaces() == nil {
			t.Errorf("%s can change it again", what)
		}
	}
	fact, anew := changing(t, terms, b.Officials(t), at(5), a, both...)
	if next, err := terms.Next(fact, 16, anew); err != nil || len(next) != 4 {
		t.Errorf("proposed anew: %d sets, %v", len(next), err)
	}
}

// TestApprovalsOfTheSetBeforeChangeNothing: also where the clock that dated them was set back to its time.
func TestApprovalsOfTheSetBeforeChangeNothing(t *testing.T) {
	a, b := approvaltest.NewAuthority(t), approvaltest.NewAuthority(t)
	terms := replaced(t, since(t, a.Officials(t), made), a, b.Officials(t), made.Add(2*time.Hour))
	fact, s := changing(t, terms, a.Officials(t), made.Add(90*time.Minute), a, "Official 1", "Official 2")
	s.Terms = terms
	if !s.Approved() {
		t.Fatal("this is to be about approvals that seem to count")
	}
	if _, err := terms.Next(fact, 20, s); !errors.Is(err, approval.ErrSetUnapproved) {
		t.Error(err)
	}
}

func must(t *testing.T) func(approval.Terms, error) approval.Terms {
	return func(terms approval.Terms, err error) approval.Terms {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return terms
	}
}

// TestASetLasts while one of its authorities does.
func TestASetLasts(t *testing.T) {
	of := func(from, to time.Time) *approvaltest.Authority {
		return approvaltest.NewAuthority(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to })
	}
	end := then.Add(approval.LeastValid)
	ended, short, just := of(made.AddDate(-3, 0, 0), made), of(made, end.Add(-time.Second)), of(then, end)
	later := of(then.Add(time.Second), end.AddDate(5, 0, 0))
	for what, c := range map[string]struct {
		by   []*approvaltest.Authority
		want error
		says string
		end  time.Time
	}{
		"thirty days":          {[]*approvaltest.Authority{just}, nil, "", end},
		"one that lasts":       {[]*approvaltest.Authority{ended, short, just}, nil, "", end},
		"a second less":        {[]*approvaltest.Authority{short, ended}, approval.ErrEnding, "to 2026-05-01T00:59:59Z", end.Add(-time.Second)},
		"ended":                {[]*approvaltest.Authority{ended}, approval.ErrEnding, "to 2026-04-01T00:00:00Z", made},
		"one that begins soon": {[]*approvaltest.Authority{later}, approval.ErrEnding, "from 2026-04-01T01:00:01Z", end.AddDate(5, 0, 0)},
	} {
		var text []byte
		for _, a := range c.by {
			text = append(text, a.PEM()...)
		}
		o, err := approval.ParseOfficials(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Lasts(then); !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) || !o.End().Equal(c.end) {
			t.Errorf("%s: ends %s, %v", what, o.End(), err)
		}
	}
	if (approval.Officials{}).Lasts(then) == nil || !(approval.Officials{}).End().IsZero() {
		t.Error("no authority lasts")
	}
}

// TestAnAuthorityThatCanCertifyNobody is none.
func TestAnAuthorityThatCanCertifyNobody(t *testing.T) {
	for what, c := range map[string]struct {
		change approvaltest.Change
		says   string
	}{
		"of servers": {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "leave out signing documents"},
		"with something critical": {func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, "critical extension 1.2.3"},
		"that signs lists only": {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }, "not an authority's"},
	} {
		if _, err := approval.ParseOfficials(approvaltest.NewAuthority(t, c.change).PEM()); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: approvaltest.From, NotAfter: approvaltest.To, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "Authority of officials"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := approval.NewOfficials([][]byte{der}); !errors.Is(err, approval.ErrAuthorities) || !strings.Contains(err.Error(), "RSA of 2048") {
		t.Error(err)
	}
}
