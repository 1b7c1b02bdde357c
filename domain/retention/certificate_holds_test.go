package retention_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
)

// orders tells of holds and officials in a tale.
type orders struct {
	*tale
	authority, other *approvaltest.Authority
	one, two         approvaltest.Official
}

var holdID = uuid.MustParse("7b1f4a52-5f56-4c37-9d0e-6f5f5ad0c0de")

func (o *orders) hold(at time.Time, until calendar.Day) {
	day := firstDay.AddDays(1).String()
	o.add(registry(event.TypeHoldAdded, at, event.HoldAdded{Hold: holdID, From: day, To: day, Until: until.String(), Reason: "r", Authority: "a"}))
}

// propose proposes the release of a hold.
func (o *orders) propose(at time.Time, hold uuid.UUID) approval.Hash {
	p := event.ProposalMade{ID: uuid.New(), Kind: event.ProposalHoldRelease, Hold: hold[:], Reason: "r", At: at.UnixMicro(), Until: at.Add(24 * time.Hour).UnixMicro()}
	o.add(registry(event.TypeProposalMade, at, p))
	return approval.HashOf(must(event.Encode(p)))
}

func (o *orders) approve(at time.Time, h approval.Hash, by approvaltest.Official, pseudonym string, changes ...func(*event.ProposalApproved)) {
	given := by.Approve(o.t, h)
	signer := must(o.authority.Officials(o.t).Verify(h, given, at))
	a := event.ProposalApproved{Proposal: h[:], Official: pseudonym, Certificate: signer.Certificate[:], SPKI: signer.SPKI, Authority: signer.Authority[:],
		Signature: given.Signature, At: at.UnixMicro()}
	for _, change := range changes {
		change(&a)
	}
	o.add(registry(event.TypeProposalApproved, at, a))
}

func (o *orders) release(at time.Time, h approval.Hash) {
	o.add(registry(event.TypeHoldReleased, at, event.HoldReleased{Hold: holdID, Proposal: h[:], At: at.UnixMicro()}))
}

// held is a tale in which an order comes to hold the second day before the first ends, and may go before the second does.
func held(t *testing.T, until int, then func(o *orders, at time.Time)) *orders {
	t.Helper()
	o := &orders{authority: approvaltest.NewAuthority(t), other: approvaltest.NewAuthority(t)}
	o.one, o.two = o.authority.Official(t, "Office Holder One"), o.authority.Official(t, "Office Holder Two")
	o.tale = &tale{t: t, key: rightKey, before: func(s *tale, i int, at time.Time) {
		switch i {
		case 0:
			s.add(registry(event.TypeAuthoritiesSet, at.Add(-3*time.Second), event.AuthoritiesSet{Authorities: o.authority.Officials(t).Certificates(), At: at.UnixMicro()}))
			o.hold(at.Add(-2*time.Second), calendar.DayOf(at).AddDays(until))
			s.anchor(at.Add(-time.Second))
		case 1:
			then(o, at.Add(-10*time.Minute))
		}
	}}
	o.tell()
	return o
}

// A destruction under an order in force does not stand, whatever the registry says of a release that is none.
func TestACertificateOfADayThatWasHeld(t *testing.T) {
	second := firstDay.AddDays(1)
	nothing := func(*orders, time.Time) {}
	both := func(o *orders, at time.Time, h approval.Hash) {
		o.approve(at, h, o.one, "official-1")
		o.approve(at, h, o.two, "official-2")
	}
	for _, row := range []struct {
		name  string
		until int // days after the first end
		then  func(o *orders, at time.Time)
		says  string // of the second day; empty: all is well
		also  string // of no day
	}{
		{"in force", 400, nothing, "while hold 7b1f4a52-5f56-4c37-9d0e-6f5f5ad0c0de was in force", ""},
		{"on its last day", 1, nothing, "was in force", ""},
		{"lapsed", 0, nothing, "", ""},
		{"released by two", 400, func(o *orders, at time.Time) {
			h := o.propose(at, holdID)
			both(o, at, h)
			o.release(at, h)
		}, "", ""},
		{"not released yet", 400, func(o *orders, at time.Time) { both(o, at, o.propose(at, holdID)) }, "was in force", ""},
		{"released by one", 400, func(o *orders, at time.Time) {
			h := o.propose(at, holdID)
			o.approve(at, h, o.one, "official-1")
			o.release(at, h)
		}, "was in force", "two officials did not approve"},
		{"released by nobody", 400, func(o *orders, at time.Time) { o.release(at, approval.Hash{}) }, "was in force", "two officials did not approve"},
		{"released by one twice", 400, func(o *orders, at time.Time) {
			h := o.propose(at, holdID)
			o.approve(at, h, o.one, "official-1")
			o.approve(at, h, o.one, "official-1")
			o.release(at, h)
		}, "was in force", "two officials did not approve"},
		{"approved after the release", 400, func(o *orders, at time.Time) {
			h := o.propose(at, holdID)
			o.approve(at, h, o.one, "official-1")
			o.release(at, h)
			o.approve(at, h, o.two, "official-2")
		}, "was in force", "two officials did not approve"},
		{"the release of another hold", 400, func(o *orders, at time.Time) {
			h := o.propose(at, uuid.New())
			both(o, at, h)
			o.release(at, h)
		}, "was in force", "two officials did not approve"},
		{"the signature of an approval is another's", 400, func(o *orders, at time.Time) {
			h := o.propose(at, holdID)
			o.approve(at, h, o.one, "official-1")
			o.approve(at, h, o.two, "official-2", func(a *event.ProposalApproved) { a.Signature = o.one.Approve(o.t, h).Signature })
			o.release(at, h)
		}, "was in force", "the signature is not one of this certificate's key"},
		{"an approval of long ago", 400, func(o *orders, at time.Time) {
			h := o.propose(at, holdID)
			o.approve(at, h, o.one, "official-1")
			o.approve(at, h, o.two, "official-2", func(a *event.ProposalApproved) { a.At -= int64(time.Hour / time.Microsecond) })
			o.release(at, h)
		}, "was in force", "and was recorded at"},
		{"approved before it was proposed", 400, func(o *orders, at time.Time) {
			o.approve(at, approval.Hash{1}, o.one, "official-1")
		}, "was in force", "does not stand before it"},
		{"lapsed by a clock that nobody watched", 0, func(o *orders, _ time.Time) { o.again = true }, "that this day has passed is not proven yet", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := checked(held(t, row.until, row.then).bundle())
			got := flaws(c)
			if c.OK() != (row.says == "" && row.also == "") || !strings.Contains(got[second], row.says) || !strings.Contains(got[calendar.Day{}], row.also) {
				t.Errorf("%v", got)
			}
			if got[firstDay] != "" || got[firstDay.AddDays(2)] != "" {
				t.Errorf("another day: %v", got)
			}
		})
	}
}

// Whose word counts on officials can be said from outside, and their certificates shown.
func TestOfficialsKnownFromOutside(t *testing.T) {
	o := held(t, 400, func(o *orders, at time.Time) {
		h := o.propose(at, holdID)
		o.approve(at, h, o.one, "official-1")
		o.approve(at, h, o.two, "official-2")
		o.release(at, h)
	})
	one := held(t, 400, func(o *orders, at time.Time) { // one official in two offices, by a core that takes part
		h := o.propose(at, holdID)
		again := o.authority.Official(t, "office holder ONE")
		o.two = again
		o.approve(at, h, o.one, "official-1")
		o.approve(at, h, again, "official-2")
		o.release(at, h)
	})
	forged := held(t, 400, func(o *orders, at time.Time) { // a key that the certificate has not
		h := o.propose(at, holdID)
		o.approve(at, h, o.one, "official-1")
		stranger := o.authority.Official(t, "Stranger")
		signer := must(o.authority.Officials(t).Verify(h, stranger.Approve(t, h), at))
		o.approve(at, h, o.two, "official-2", func(a *event.ProposalApproved) { a.SPKI, a.Signature = signer.SPKI, stranger.Approve(t, h).Signature })
		o.release(at, h)
	})
	none := approval.Officials{}
	for _, row := range []struct {
		name         string
		of           *orders
		authorities  approval.Officials
		certificates [][]byte
		officials    int
		says, not    string
	}{
		{"the registry's word", o, none, nil, 0, "", "the registry's own word"},
		{"the authority", o, o.authority.Officials(t), nil, 0, "", "officials of 2 approvals"},
		{"the authority and the officials", o, o.authority.Officials(t), [][]byte{o.one.Certificate, o.two.Certificate}, 2, "", "revoked"},
		{"the officials alone", o, none, [][]byte{o.one.Certificate, o.two.Certificate}, 2, "", "revoked"},
		{"one official", o, none, [][]byte{o.one.Certificate}, 1, "", "officials of 1 approvals"},
		{"another authority", o, o.other.Officials(t), nil, 0, "which is none of those given", ""},
		{"one official under two pseudonyms, unseen", one, none, nil, 0, "", "different persons"},
		{"one official under two pseudonyms", one, none, [][]byte{one.one.Certificate, one.two.Certificate}, 1, "under another pseudonym", ""},
		{"another key", forged, none, [][]byte{forged.one.Certificate, forged.two.Certificate}, 1, "not one of this certificate's key", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := retention.NewChecker(lenient, must(rightKey.KeySet()))
			if err := c.Trust(row.authorities, row.certificates...); err != nil {
				t.Fatal(err)
			}
			found := fed(c, row.of.bundle())
			not := strings.Join(found.NotChecked, "\n")
			if got := flaws(found); found.OK() != (row.says == "") || !strings.Contains(got[calendar.Day{}], row.says) || found.Officials != row.officials || !strings.Contains(not, row.not) {
				t.Errorf("%d of %d officials: %v\n%s", found.Officials, found.Approvals, got, not)
			}
			if got := flaws(found)[firstDay.AddDays(1)]; row.says != "" && !strings.Contains(got, "was in force") {
				t.Errorf("a release that does not stand ends the hold all the same: %v", flaws(found))
			}
		})
	}
	if c := retention.NewChecker(lenient, must(rightKey.KeySet())); c.Trust(none, []byte("no certificate")) == nil {
		t.Error("what is no certificate")
	}
}

// The anchors have to prove that the time passed: the clock in the events' headers alone does not.
func TestACertificateWithoutProvenTime(t *testing.T) {
	lost := func(from, to int) func(*deed) { // anchors of the notice that are none
		n := 0
		return func(d *deed) {
			if d.kind != ledger.TypeAnchor {
				return
			}
			if n++; n > from && n <= to {
				d.kind, d.says = "note-made", []byte{0xa0}
			}
		}
	}
	for _, row := range []struct {
		name   string
		policy retention.Policy
		change func(*deed)
		says   string
	}{
		{"proven", lenient, nil, ""},
		{"too few anchors", retention.Statutory, lost(1, 4), "it was not proven that the time had passed"},
		{"a long time without", lenient, lost(1, 5), "it was not proven that the time had passed"},
		{"seven years without", func() retention.Policy {
			p := lenient
			p.Unproven = 0
			return p
		}(), nil, "since the day"},
	} {
		t.Run(row.name, func(t *testing.T) {
			found := fed(retention.NewChecker(row.policy, must(rightKey.KeySet())), newTale(t, row.change).bundle())
			for _, d := range found.Days {
				if got := strings.Join(d.Flaws, "; "); (got == "") != (row.says == "") || !strings.Contains(got, row.says) {
					t.Errorf("%s: %v", d.Day, got)
				}
			}
			if len(found.Days) != daysInAll {
				t.Errorf("%d days", len(found.Days))
			}
		})
	}
}
