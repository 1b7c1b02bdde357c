package approval_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"
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
	s := &approval.Standing{Hash: approval.HashOf(payload), Made: p}
	for _, name := range names {
		s.Approvals = append(s.Approvals, record(t, by.Officials(t), s.Hash, by.Official(t, name).Approve(t, s.Hash), at.Add(-time.Minute)))
	}
	return event.AuthoritiesSet{Authorities: to.Certificates(), Proposal: s.Hash[:], At: at.UnixMicro()}, s
}

func replaced(t *testing.T, terms approval.Terms, by *approvaltest.Authority, to approval.Officials, at time.Time) approval.Terms {
	t.Helper()
	fact, s := changing(t, terms, to, at, by, "Official 1", "Official 2")
	terms, err := terms.Next(fact, 9, s)
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
	} {
		fact, s := c.change()
		next, err := terms.Next(fact, 8, s)
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
		"in another office":      {named("Official 1", "S-17", "Security"), approval.ErrSameOfficial},
		"with another name":      {named("Official One", "s-17 ", "Records"), approval.ErrSameOfficial},
		"namesakes":              {named("Official 1", "S-18", "Records"), nil},
		"without a serialNumber": {named("Official 2", "", "Records"), nil},
	} {
		a := record(t, officials, p.Hash, c.second.Approve(t, p.Hash), then)
		if err := p.Admit(a.Official, a.SPKI, then); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	two := authority.Official(t, "Official 1", func(c *x509.Certificate) {
		serial := asn1.ObjectIdentifier{2, 5, 4, 5}
		c.Subject = pkix.Name{CommonName: "Official 1", ExtraNames: []pkix.AttributeTypeAndValue{{Type: serial, Value: "1"}, {Type: serial, Value: "2"}}}
	})
	if _, err := officials.Verify(p.Hash, two.Approve(t, p.Hash), then); !errors.Is(err, approval.ErrCertificate) {
		t.Errorf("two serialNumbers: %v", err)
	}
}
