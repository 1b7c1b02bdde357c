package retention_test

import (
	"slices"
	"testing"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/projections/retention"
)

// TestWhatTwoOfficialsDidNotApproveTakesNoEffect, whoever wrote it, and is kept as an alarm: every kind of fact that needs
// them, without a proposal, with one that nobody, one official or the same one twice approved, with one that was approved
// afterwards, of another matter, or of another kind.
func TestWhatTwoOfficialsDidNotApproveTakesNoEffect(t *testing.T) {
	type matter struct {
		asks, other event.ProposalMade // the second of another matter
		states      func(proposal []byte) (eventType string, fact any)
		happened    func(*retention.Snapshot) bool
	}
	kinds := map[string]func(*desk) matter{
		"release of a hold": func(d *desk) matter {
			hold, other := d.hold(d.today(), d.today()), d.hold(d.today(), d.today())
			return matter{event.ProposalMade{Kind: event.ProposalHoldRelease, Hold: hold[:]}, event.ProposalMade{Kind: event.ProposalHoldRelease, Hold: other[:]},
				func(p []byte) (string, any) {
					return event.TypeHoldReleased, event.HoldReleased{Hold: hold, Proposal: p}
				},
				func(s *retention.Snapshot) bool { return s.Holds()[0].Released }}
		},
		"end without copies": func(d *desk) matter {
			day := d.today()
			d.record(event.StreamAudit, 1, false)
			d.destroy(day, true)
			d.certify(day)
			return matter{event.ProposalMade{Kind: event.ProposalAttestation, Copy: copied, From: day.String(), To: day.String()},
				event.ProposalMade{Kind: event.ProposalAttestation, Copy: copied, From: day.AddDays(1).String(), To: day.AddDays(2).String()},
				func(p []byte) (string, any) {
					return event.TypeDayUnrecoverable, event.DayUnrecoverable{From: day.String(), To: day.String(), Copies: []string{copied}, Proposals: [][]byte{p}}
				},
				func(s *retention.Snapshot) bool { got, _ := s.Day(day); return got.Unrecoverable > 0 }}
		},
		"loss of a key": func(d *desk) matter {
			day := d.today()
			d.record(event.StreamAudit, 1, false)
			return matter{event.ProposalMade{Kind: event.ProposalKeyLoss, Day: day.String()}, event.ProposalMade{Kind: event.ProposalKeyLoss, Day: day.AddDays(1).String()},
				func(p []byte) (string, any) {
					return event.TypeDayKeyDestroyed, event.DayKeyDestroyed{Day: day.String(), Streams: d.streamsOf(day), At: d.now.UnixMicro(), Lost: true, Proposal: p}
				},
				func(s *retention.Snapshot) bool { return s.Destroyed(day) || d.keys[day] }}
		},
		"removal of a copy": func(d *desk) matter {
			return matter{event.ProposalMade{Kind: event.ProposalCopyRemoval, Copy: copied}, event.ProposalMade{Kind: event.ProposalCopyRemoval, Copy: "another"},
				func(p []byte) (string, any) {
					return event.TypeCopiesDeclared, event.CopiesDeclared{Copies: []string{}, Proposal: p}
				},
				func(s *retention.Snapshot) bool { return len(s.Copies().InForce()) == 0 }}
		},
		"other authorities": func(d *desk) matter {
			mine, stranger := newStaff(t), newStaff(t)
			asks := event.ProposalMade{Kind: event.ProposalAuthorities, Authorities: [][]byte{mine.authority}, Replaces: approval.Set{[32]byte(d.staff.sum)}.Hash()}
			other := asks
			other.Authorities = [][]byte{stranger.authority}
			return matter{asks, other,
				func(p []byte) (string, any) {
					return event.TypeAuthoritiesSet, event.AuthoritiesSet{Authorities: asks.Authorities, Proposal: p, At: d.now.UnixMicro()}
				},
				func(s *retention.Snapshot) bool { return len(s.Authorities()) > 1 }}
		},
		"deletions of a rotation": func(*desk) matter {
			return matter{event.ProposalMade{Kind: event.ProposalDeletion}, event.ProposalMade{Kind: event.ProposalHoldRelease},
				func(p []byte) (string, any) {
					return event.TypeVaultRotated, event.VaultRotated{Generation: 2, Proposals: [][]byte{p}}
				},
				func(s *retention.Snapshot) bool { return len(s.Rotations()[0].Fact.Proposals) > 0 }}
		},
	}
	ways := map[string]struct {
		does func(*desk, matter) []byte
		want bool
	}{
		"two approve":          {func(d *desk, m matter) []byte { return d.approvedBy(m.asks, 0, 1) }, true},
		"no proposal":          {func(*desk, matter) []byte { return nil }, false},
		"a proposal of nobody": {func(*desk, matter) []byte { return make([]byte, 32) }, false},
		"nobody approves":      {func(d *desk, m matter) []byte { return d.approvedBy(m.asks) }, false},
		"one approves":         {func(d *desk, m matter) []byte { return d.approvedBy(m.asks, 0) }, false},
		"one approves twice":   {func(d *desk, m matter) []byte { return d.approvedBy(m.asks, 2, 2) }, false},
		"of another matter":    {func(d *desk, m matter) []byte { return d.approvedBy(m.other, 0, 1) }, false},
		"of another kind": {func(d *desk, m matter) []byte {
			m.asks.Kind = "another"
			return d.approvedBy(m.asks, 0, 1)
		}, false},
	}
	for kind, of := range kinds {
		for way, w := range ways {
			d := newDesk(t)
			d.employ()
			m := of(d)
			proposal := w.does(d, m)
			eventType, fact := m.states(proposal)
			at := d.registry(eventType, fact)
			s := d.seen()
			if got := m.happened(s); got != w.want {
				t.Errorf("%s, %s: took effect: %v", kind, way, got)
			}
			if refused := slices.Equal(s.Refused(), []retention.Refused{{Revision: at, Type: eventType}}); refused == w.want {
				t.Errorf("%s, %s: refused %+v", kind, way, s.Refused())
			}
			if w.want || len(proposal) == 0 {
				continue
			}
			for _, p := range s.Proposals() {
				if p.Done > 0 {
					t.Errorf("%s, %s: the proposal is called carried out", kind, way)
				}
			}
		}
		d := newDesk(t)
		d.employ()
		m := of(d)
		h := d.propose(m.asks)
		d.approve(h, 0)
		eventType, fact := m.states(h[:])
		d.registry(eventType, fact)
		d.approve(h, 1)
		if s := d.seen(); m.happened(s) || len(s.Refused()) != 1 {
			t.Errorf("%s, approved afterwards: took effect: %v, refused %+v", kind, m.happened(s), s.Refused())
		}
	}
}

func (a *archive) approvedBy(p event.ProposalMade, officials ...int) []byte {
	a.t.Helper()
	h := a.propose(p)
	a.approve(h, officials...)
	return h[:]
}

// TestALossThatOfficialsApprovedLongAgo: what they knew of a token says nothing of it today.
func TestALossThatOfficialsApprovedLongAgo(t *testing.T) {
	d := newDesk(t)
	d.employ()
	day := d.today()
	d.record(event.StreamAudit, 1, false)
	proposal := d.approvedBy(event.ProposalMade{Kind: event.ProposalKeyLoss, Day: day.String()}, 0, 1)
	d.now = d.now.AddDate(0, 0, 8)
	d.lose(day, proposal)
	if s := d.seen(); s.Destroyed(day) || len(s.Refused()) != 1 {
		t.Errorf("destroyed: %v, refused %+v", s.Destroyed(day), s.Refused())
	}
}

// TestADayForWhichNoCopyWasDeclared is called unrecoverable by nobody.
func TestADayForWhichNoCopyWasDeclared(t *testing.T) {
	d := newDesk(t)
	day := calendar.DayOf(d.now)
	d.record(event.StreamAudit, 1, false)
	d.destroy(day, true)
	d.certify(day)
	d.registry(event.TypeDayUnrecoverable, event.DayUnrecoverable{From: day.String(), To: day.String()})
	if got := d.day(d.seen(), day); got.Unrecoverable > 0 || len(d.seen().Refused()) != 1 {
		t.Errorf("%+v", got)
	}
}
