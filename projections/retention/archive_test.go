package retention_test

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	domain "kiroku/domain/retention"
	"kiroku/projections/projectiontest"
	"kiroku/projections/retention"
)

// streams that the projection wants.
var streams = []string{event.StreamRegistry, event.StreamAudit, event.RecordStream(0), event.RecordStream(1)}

type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func check(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// archive is a ledger in which days come and go, and what each stream holds of which day, noted as it was written.
type archive struct {
	t      tb
	choose func(n int) int
	ledger *projectiontest.Ledger
	now    time.Time

	held       map[calendar.Day]map[string]*event.DayStream
	destroyed  map[calendar.Day]bool
	certified  map[calendar.Day]bool
	current    map[string]string // by stream: the key id that seals now
	holds      []uuid.UUID
	proposals  []approval.Hash
	serial     byte
	generation int
	staff      *staff
}

// staff are officials with their authority.
type staff struct {
	authority []byte // its certificate, DER
	sum       []byte // SHA-256 of that
	officials []approvaltest.Official
}

// copied is the copy of the HSM's keys that is declared.
const copied = "backup"

func newStaff(t testing.TB) *staff {
	t.Helper()
	authority := approvaltest.NewAuthority(t)
	known := authority.Officials(t)
	s := &staff{authority: authority.Certificate.Raw, sum: known.Set()[0][:]}
	for i := range 3 {
		s.officials = append(s.officials, authority.Official(t, fmt.Sprint("Official ", i)))
	}
	return s
}

func newArchive(t tb, s *staff, choose func(n int) int) *archive {
	t.Helper()
	l, err := projectiontest.New()
	check(t, err)
	return &archive{t: t, staff: s, choose: choose, ledger: l, now: projectiontest.Begin, held: map[calendar.Day]map[string]*event.DayStream{},
		destroyed: map[calendar.Day]bool{}, certified: map[calendar.Day]bool{}, current: map[string]string{}}
}

func (a *archive) today() calendar.Day { return calendar.DayOf(a.now) }

func (a *archive) next(stream string) uint64 { return max(1, uint64(len(a.ledger.Events(stream)))) }

// registry appends facts as one batch and returns the revision of the first.
func (a *archive) registry(eventType string, payloads ...any) uint64 {
	a.t.Helper()
	at := a.next(event.StreamRegistry)
	var facts []projectiontest.Fact
	for _, p := range payloads {
		facts = append(facts, projectiontest.Fact{Type: eventType, Time: a.now, Payload: p})
	}
	check(a.t, a.ledger.Append(event.StreamRegistry, facts...))
	return at
}

// record appends n events of today to a stream, the day being opened if it is not, or anew.
func (a *archive) record(stream string, n int, anew bool) {
	a.t.Helper()
	at, today := a.next(stream), a.today()
	var facts []projectiontest.Fact
	if anew || !strings.HasPrefix(a.current[stream], "record/"+today.String()+"/") {
		opened := ledger.DayOpened{Day: today.String(), Salt: [32]byte{a.serial}, Commitment: [16]byte{a.serial, byte(at)}}
		payload, err := opened.Encode()
		check(a.t, err)
		facts = append(facts, projectiontest.Fact{Type: event.TypeDayOpened, Time: a.now, Payload: payload})
		a.current[stream] = ledger.DataKeyID(today.String(), stream, at)
		span := a.span(today, stream, at)
		span.Keys = append(span.Keys, event.DataKey{Revision: at, Commitment: opened.Commitment[:]})
	}
	for range n {
		facts = append(facts, projectiontest.Fact{Type: event.TypeInquiryLapsed, Time: a.now, Payload: []byte{0xa0}, Key: a.current[stream]})
	}
	check(a.t, a.ledger.Append(stream, facts...))
	a.span(today, stream, at).Next = a.next(stream)
}

func (a *archive) span(day calendar.Day, stream string, first uint64) *event.DayStream {
	if a.held[day] == nil {
		a.held[day] = map[string]*event.DayStream{}
	}
	if a.held[day][stream] == nil {
		a.held[day][stream] = &event.DayStream{Stream: stream, First: first}
	}
	return a.held[day][stream]
}

// streamsOf is what the streams hold of a day, sorted.
func (a *archive) streamsOf(day calendar.Day) (all []event.DayStream) {
	for _, stream := range streams {
		if span := a.held[day][stream]; span != nil {
			all = append(all, *span)
		}
	}
	return all
}

func (a *archive) anchor() uint64 {
	a.t.Helper()
	anchor := ledger.Anchor{Time: a.now}
	for _, stream := range streams {
		if n := len(a.ledger.Events(stream)); n > 0 {
			anchor.Heads = append(anchor.Heads, ledger.AnchoredHead{Stream: stream, Count: uint64(n), Leaf: ledger.Hash{1}})
		}
	}
	ledger.SortHeads(anchor.Heads)
	payload, err := anchor.Encode()
	check(a.t, err)
	return a.registry(event.TypeAnchor, payload)
}

func (a *archive) announce(days ...calendar.Day) uint64 {
	a.t.Helper()
	p := event.DestructionAnnounced{At: a.now.UnixMicro()}
	for _, d := range days {
		p.Days = append(p.Days, d.String())
	}
	return a.registry(event.TypeDestructionAnnounced, p)
}

// destroy destroys the keys of a day, and says so in the registry if told.
func (a *archive) destroy(day calendar.Day, told bool) (revision uint64) {
	a.t.Helper()
	for _, span := range a.held[day] {
		for _, k := range span.Keys {
			a.ledger.Destroy(ledger.DataKeyID(day.String(), span.Stream, k.Revision))
		}
	}
	if told {
		a.registry(event.TypeDaySummarised, event.DaySummarised{Day: day.String(), Parts: 1})
		a.registry(event.TypeDestructionDecided, event.DestructionDecided{Day: day.String(), At: a.now.UnixMicro()})
		revision = a.registry(event.TypeDayKeyDestroyed, event.DayKeyDestroyed{Day: day.String(), Label: "record/" + day.String(), Streams: a.streamsOf(day), At: a.now.UnixMicro()})
		a.destroyed[day] = true
	}
	return revision
}

func (a *archive) lose(day calendar.Day, proposal []byte) uint64 {
	a.t.Helper()
	return a.registry(event.TypeDayKeyDestroyed, event.DayKeyDestroyed{Day: day.String(), Label: "record/" + day.String(), Streams: a.streamsOf(day), At: a.now.UnixMicro(),
		Lost: true, Proposal: proposal})
}

func (a *archive) certify(day calendar.Day) uint64 {
	a.t.Helper()
	a.certified[day] = true
	return a.registry(event.TypeDayCertified, event.DayCertified{Day: day.String(), Leaf: make([]byte, 32), At: a.now.UnixMicro()})
}

func (a *archive) command() event.Command {
	a.serial++
	return event.Command{ID: uuid.UUID{a.serial}, Actor: event.Actor{Identity: "pseudonym", Role: "operator"}, Digest: make([]byte, 16)}
}

func (a *archive) hold(from, to calendar.Day) uuid.UUID {
	a.t.Helper()
	c := a.command()
	a.registry(event.TypeHoldAdded, event.HoldAdded{Command: c, Hold: c.ID, From: from.String(), To: to.String(), Reason: "証拠保全", Authority: "東京地方裁判所",
		Until: to.AddYears(9).String()})
	a.holds = append(a.holds, c.ID)
	return c.ID
}

func (a *archive) propose(p event.ProposalMade) approval.Hash {
	a.t.Helper()
	p.Command = a.command()
	p.ID, p.Reason, p.At, p.Until = p.Command.ID, "命令の取消し", a.now.UnixMicro(), a.now.AddDate(0, 0, 7).UnixMicro()
	payload, err := event.Encode(p)
	check(a.t, err)
	a.registry(event.TypeProposalMade, payload)
	a.proposals = append(a.proposals, approval.HashOf(payload))
	return a.proposals[len(a.proposals)-1]
}

// employ puts the authority of the officials in force, and declares a copy.
func (a *archive) employ() {
	a.t.Helper()
	a.registry(event.TypeAuthoritiesSet, event.AuthoritiesSet{Authorities: [][]byte{a.staff.authority}, At: a.now.UnixMicro()})
	a.registry(event.TypeCopiesDeclared, event.CopiesDeclared{Copies: []string{copied}, At: a.now.UnixMicro()})
}

func (a *archive) approve(hash approval.Hash, officials ...int) {
	a.t.Helper()
	for _, i := range officials {
		key := a.staff.officials[i].Key
		spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		check(a.t, err)
		signature, err := approval.Sign(key, hash)
		check(a.t, err)
		a.registry(event.TypeProposalApproved, event.ProposalApproved{Command: a.command(), Proposal: hash[:], Official: fmt.Sprint("official ", i),
			Authority: a.staff.sum, SPKI: spki, Signature: signature, At: a.now.UnixMicro()})
	}
}

func (a *archive) truncate(stream string, first uint64) uint64 {
	a.t.Helper()
	payload, err := ledger.Truncation{Stream: stream, First: first, Prev: a.leaf(stream, first-1)}.Encode()
	check(a.t, err)
	return a.registry(ledger.TypeStreamTruncated, payload)
}

func (a *archive) leaf(stream string, revision uint64) ledger.Hash {
	a.t.Helper()
	_, header, _, err := ledger.DecodeMetadata(a.ledger.Events(stream)[revision].Metadata)
	check(a.t, err)
	return ledger.LeafHash(header)
}

// pick returns a day that is over and holds what is asked for, the zero Day if there is none.
func (a *archive) pick(fits func(calendar.Day) bool) calendar.Day {
	var all []calendar.Day
	for d := range a.held {
		if d.Before(a.today()) && fits(d) {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return calendar.Day{}
	}
	slices.SortFunc(all, calendar.Day.Compare)
	return all[a.choose(len(all))]
}

// step has one thing happen.
func (a *archive) step() {
	steps := []time.Duration{time.Microsecond, time.Second, time.Hour, 9 * time.Hour, 24 * time.Hour, 60 * time.Hour}
	a.now = a.now.Add(steps[a.choose(len(steps))])
	living := func(d calendar.Day) bool { return !a.destroyed[d] }
	any := func(calendar.Day) bool { return true }
	switch a.choose(15) {
	case 10:
		check(a.t, a.ledger.Restart(event.StreamRegistry, a.now))
	default:
		a.record(streams[1+a.choose(3)], 1+a.choose(4), a.choose(8) == 0)
	case 0, 1:
		a.anchor()
	case 2:
		days := []calendar.Day{a.today().AddDays(1)} // which may never hold anything
		if d := a.pick(any); !d.IsZero() {
			days = append(days, d)
		}
		a.announce(days[a.choose(len(days)):]...)
	case 3:
		if d := a.pick(any); !d.IsZero() {
			a.summarise(d, 1+a.choose(3), a.choose(4) == 0)
		}
	case 4:
		if d := a.pick(living); !d.IsZero() {
			a.destroy(d, a.choose(6) > 0)
		}
	case 5:
		if d := a.pick(any); !d.IsZero() && a.destroyed[d] {
			a.certify(d)
		}
	case 6:
		from := a.today().AddDays(-a.choose(4))
		attests := a.decide(event.ProposalMade{Kind: event.ProposalAttestation, Copy: copied, From: from.String(), To: a.today().String()})
		a.registry(event.TypeDayUnrecoverable, event.DayUnrecoverable{From: from.String(), To: a.today().String(), Proposals: [][]byte{attests}})
	case 7:
		if len(a.holds) == 0 || a.choose(2) == 0 {
			a.hold(a.today().AddDays(-a.choose(4)), a.today())
		} else {
			hold := a.holds[a.choose(len(a.holds))]
			a.registry(event.TypeHoldReleased, event.HoldReleased{Hold: hold, Proposal: a.decide(event.ProposalMade{Kind: event.ProposalHoldRelease, Hold: hold[:]})})
		}
	case 8:
		if len(a.proposals) == 0 || a.choose(2) == 0 {
			a.propose(event.ProposalMade{Kind: event.ProposalDeletion})
		} else {
			a.approve(approval.Hash(a.anyProposal()), a.choose(3))
		}
	case 11:
		if d := a.pick(living); !d.IsZero() {
			h := a.propose(event.ProposalMade{Kind: event.ProposalKeyLoss, Day: d.String()})
			a.approve(h, a.choose(3))
			a.lose(d, h[:]) // which one official alone cannot say
		}
	case 9:
		a.generation++
		a.registry(event.TypeVaultRotated, event.VaultRotated{Generation: a.generation, Proposals: [][]byte{a.anyProposal()}})
	}
}

func (a *archive) summarise(day calendar.Day, parts int, broken bool) {
	var all []any
	for i := range parts {
		if i == 0 || !broken {
			all = append(all, event.DaySummarised{Day: day.String(), Part: i, Parts: parts, Least: 10})
		}
	}
	a.registry(event.TypeDaySummarised, all...)
}

// decide returns a proposal that two officials approved, or one, or any that there is.
func (a *archive) decide(p event.ProposalMade) []byte {
	if a.choose(4) == 0 {
		return a.anyProposal()
	}
	h := a.propose(p)
	a.approve(h, []int{0, 2}[:1+min(1, a.choose(3))]...)
	return h[:]
}

func (a *archive) anyProposal() []byte {
	if len(a.proposals) == 0 {
		return make([]byte, 32)
	}
	h := a.proposals[a.choose(len(a.proposals))]
	return h[:]
}

// soon is a policy by which every day that is over is due.
var soon = domain.Policy{LongestGap: 7}

// describe writes down all that a snapshot answers.
func describe(s *retention.Snapshot, now time.Time) string {
	var b strings.Builder
	for _, d := range s.Days() {
		e := s.Evidence(soon, d.Day, domain.Moment{At: now, Epoch: 2})
		e.Holds = nil
		fmt.Fprintf(&b, "%+v %+v\n", d, e)
	}
	fmt.Fprintf(&b, "%+v\n%+v\n%+v\n%+v\n%+v\n", s.Refused(), s.Holds(), s.Proposals(), s.Anchors(time.Time{}), s.Rotations())
	for _, stream := range streams {
		t, ok := s.Truncated(stream)
		fmt.Fprintln(&b, stream, t, ok, s.Next(stream), s.Expendable(stream, nil))
	}
	return b.String()
}

func dump(t tb, r *retention.Retention) string {
	t.Helper()
	text, err := projectiontest.Dump(r.Rows())
	check(t, err)
	return text
}

var _ tb = (*testing.T)(nil)
