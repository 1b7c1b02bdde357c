package retention_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/retention"
)

// removal is an approved, or half approved, proposal that a copy is no more.
func removal(t *testing.T, name string, officials int) *approval.Standing {
	t.Helper()
	at := time.Date(2035, time.May, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	made := event.ProposalMade{Kind: event.ProposalCopyRemoval, Copy: name, At: at, Until: at}
	return approved(t, made, 7, officials)
}

// attestation is of the last two days of a February.
func attestation(t *testing.T, name string, revision uint64) *approval.Standing {
	t.Helper()
	at := time.Date(2035, time.May, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	made := event.ProposalMade{Kind: event.ProposalAttestation, Copy: name, From: "2028-02-28", To: "2028-02-29", At: at, Until: at}
	return approved(t, made, revision, approval.Needed)
}

func approved(t *testing.T, made event.ProposalMade, revision uint64, officials int) *approval.Standing {
	t.Helper()
	at := made.At
	s := &approval.Standing{Hash: approval.HashOf(must(event.Encode(made))), Revision: revision, Made: made}
	authority := approvaltest.NewAuthority(t)
	known := authority.Officials(t)
	s.Terms = must(approval.Terms{}.Next(event.AuthoritiesSet{Authorities: known.Certificates()}, 1, nil))
	for i := range officials {
		o := authority.Official(t, fmt.Sprint("Office Holder ", i))
		s.Approvals = append(s.Approvals, event.ProposalApproved{Proposal: s.Hash[:], Official: fmt.Sprint(i), At: at, Authority: known.Set()[0][:],
			SPKI: must(x509.MarshalPKIXPublicKey(&o.Key.PublicKey)), Signature: o.Approve(t, s.Hash).Signature})
	}
	return s
}

func declared(names ...string) event.CopiesDeclared { return event.CopiesDeclared{Copies: names} }

// TestACopyLeavesTheListByTwoOfficials, and comes back without.
func TestACopyLeavesTheListByTwoOfficials(t *testing.T) {
	both := must(retention.Copies{}.Next(declared("backup", "replica"), 5, nil))
	for what, c := range map[string]struct {
		names []string
		by    *approval.Standing
		fails bool
	}{
		"another is added":         {[]string{"backup", "replica", "tape"}, nil, false},
		"one is left out":          {[]string{"backup"}, nil, true},
		"by one official":          {[]string{"backup"}, removal(t, "replica", 1), true},
		"by two":                   {[]string{"backup"}, removal(t, "replica", 2), false},
		"by two, of another one":   {[]string{"backup"}, removal(t, "backup", 2), true},
		"by two, more than theirs": {[]string{}, removal(t, "replica", 2), true},
		"one for another":          {[]string{"backup", "none"}, nil, true},
		"not sorted":               {[]string{"replica", "backup"}, nil, true},
	} {
		fact := declared(c.names...)
		if c.by != nil {
			fact.Proposal = c.by.Hash[:]
		}
		next, err := both.Next(fact, 9, c.by)
		if errors.Is(err, retention.ErrCopies) != c.fails || (len(next) == 2) == c.fails {
			t.Errorf("%s: %v", what, err)
		}
	}
	by := removal(t, "replica", 2)
	one := must(both.Next(event.CopiesDeclared{Copies: []string{"backup"}, Proposal: by.Hash[:]}, 9, by))
	again := must(one.Next(declared("backup", "replica"), 12, nil))
	if _, err := again.Next(event.CopiesDeclared{Copies: []string{"backup"}, Proposal: by.Hash[:]}, 15, by); err == nil {
		t.Error("one proposal removed a copy twice")
	}
	made := by.Made // approved too, and not needed when the first one was carried out
	made.Reason = "another"
	second := approved(t, made, 7, 2)
	if fact := (event.CopiesDeclared{Copies: []string{"backup"}, Proposal: second.Hash[:]}); again.Removes(second) || !errors.Is(failed(again.Next(fact, 15, second)), retention.ErrCopies) {
		t.Error("a copy that was declared again was removed by a proposal from before")
	}
	second.Revision = 13
	if fact := (event.CopiesDeclared{Copies: []string{"backup"}, Proposal: second.Hash[:]}); !again.Removes(second) || failed(again.Next(fact, 15, second)) != nil {
		t.Error("a copy that was declared again is removed by nobody")
	}
	if one.Removes(second) {
		t.Error("a copy that is none is removed")
	}
	for destroyed, want := range map[uint64][]string{3: {"backup", "replica"}, 7: {"backup", "replica"}, 10: {"backup", "replica"}, 20: {"backup", "replica"}} {
		if got := again.Of(destroyed); !slices.Equal(got, want) {
			t.Errorf("destroyed at %d: %q", destroyed, got)
		}
	}
	if got := one.Of(10); !slices.Equal(got, []string{"backup"}) {
		t.Errorf("destroyed after a copy was removed: %q", got)
	}
	if got := one.Of(7); !slices.Equal(got, []string{"backup", "replica"}) {
		t.Errorf("destroyed before a copy was removed: %q", got)
	}
}

func failed[A, B any](_ A, b B) B { return b }

// TestACopyThatIsDeclaredAgainIsAnotherOne: it is attested anew.
func TestACopyThatIsDeclaredAgainIsAnotherOne(t *testing.T) {
	one := must(retention.Copies{}.Next(declared("backup", "replica"), 5, nil))
	by := removal(t, "replica", 2)
	gone := must(one.Next(event.CopiesDeclared{Copies: []string{"backup"}, Proposal: by.Hash[:]}, 9, by))
	again := must(gone.Next(declared("backup", "replica"), 12, nil))
	attests := attestation(t, "replica", 7)
	for what, c := range map[string]struct {
		copies retention.Copies
		want   bool
	}{"in force": {one, true}, "removed": {gone, true}, "declared again": {again, false}} {
		if got := c.copies.Attested(attests, "replica", calendar.Of(2028, time.February, 28)); got != c.want {
			t.Errorf("%s: attested %v", what, got)
		}
		if c.copies.Attested(attests, "backup", calendar.Of(2028, time.February, 28)) || c.copies.Attested(attests, "replica", calendar.Of(2028, time.March, 1)) || c.copies.Attested(nil, "replica", calendar.Of(2028, time.February, 28)) {
			t.Errorf("%s: attested what it does not say", what)
		}
	}
	if !again.Attested(attestation(t, "replica", 13), "replica", calendar.Of(2028, time.February, 28)) {
		t.Error("not attested anew")
	}
}

// attestReplica adds the attestation of a copy, approved by two officials of authorities that are in force, and the second
// stage that rests on it.
func (s *tale) attestReplica(day calendar.Day) {
	s.t.Helper()
	at := s.heads[event.StreamRegistry].Time
	authority := approvaltest.NewAuthority(s.t)
	known := authority.Officials(s.t)
	s.add(registry(event.TypeAuthoritiesSet, at, event.AuthoritiesSet{Authorities: known.Certificates(), At: at.UnixMicro()}))
	made := event.ProposalMade{Kind: event.ProposalAttestation, Copy: "replica", From: day.String(), To: day.String(), At: at.UnixMicro(), Until: at.Add(time.Hour).UnixMicro()}
	hash := approval.HashOf(must(event.Encode(made)))
	s.add(registry(event.TypeProposalMade, at, made))
	for i := range approval.Needed {
		o := authority.Official(s.t, fmt.Sprint("Office Holder ", i))
		s.add(registry(event.TypeProposalApproved, at, event.ProposalApproved{Proposal: hash[:], Official: fmt.Sprint(i), Authority: known.Set()[0][:], At: at.UnixMicro(),
			SPKI: must(x509.MarshalPKIXPublicKey(&o.Key.PublicKey)), Signature: o.Approve(s.t, hash).Signature}))
	}
	s.add(registry(event.TypeDayUnrecoverable, at, event.DayUnrecoverable{From: day.String(), To: day.String(), Copies: []string{"replica"}, Proposals: [][]byte{hash[:]}, At: at.UnixMicro()}))
	s.anchor(at)
}

// TestTheSecondStageNeedsEveryDeclaredCopy: also where the core that stated it knew of fewer.
func TestTheSecondStageNeedsEveryDeclaredCopy(t *testing.T) {
	s := newTale(t, nil)
	s.add(registry(event.TypeCopiesDeclared, s.heads[event.StreamRegistry].Time, declared("replica")))
	s.attestReplica(firstDay)
	if c := checked(s.bundle()); !c.OK() {
		t.Errorf("%+v", c)
	}
	s = newTale(t, nil)
	s.add(registry(event.TypeCopiesDeclared, s.heads[event.StreamRegistry].Time, declared("backup", "replica")))
	s.add(registry(event.TypeCopiesDeclared, s.heads[event.StreamRegistry].Time, declared("replica")))
	s.attestReplica(firstDay)
	c := checked(s.bundle())
	if got := flaws(c)[firstDay]; !strings.Contains(got, `without copy "backup"`) {
		t.Errorf("%q", got)
	}
	if !strings.Contains(strings.Join(c.Flaws, " "), "did not approve") {
		t.Errorf("the list that nobody approved is not reported: %q", c.Flaws)
	}
}

func TestBoundsOfAHold(t *testing.T) {
	today := calendar.Of(2026, time.April, 1)
	for what, c := range map[string]struct {
		from, to, until calendar.Day
		says            string
	}{
		"a fiscal year, three years": {today, today.AddDays(364), today.AddYears(3), ""},
		"as many days as there may":  {today.AddDays(-2000), today.AddDays(-1601), today, ""},
		"one day more":               {today, today.AddDays(400), today, "401 days, and one hold can hold 400"},
		"three years and a day":      {today, today, today.AddYears(3).AddDays(1), "can hold until 2029-04-01"},
		"for ever":                   {today, today, calendar.Of(9999, time.December, 31), "add it again"},
		"until yesterday":            {today, today, today.AddDays(-1), "has passed"},
	} {
		err := retention.Hold{From: c.from, To: c.to, Until: c.until}.Admit(today)
		if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, retention.ErrHold) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
