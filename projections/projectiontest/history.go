package projectiontest

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
)

// History makes a course of events that could have happened: persons come into
// the register and change their codes, agencies ask about them, are answered, or not,
// and records are disclosed. Every choice comes from Choose.
type History struct {
	Choose func(n int) int // 0 ≤ result < n

	// Secrets are the values that must be in no view: symbols, management
	// information and salts.
	Secrets [][]byte

	now       time.Time
	persons   []*person
	inquiries []*event.Record
	concluded []*event.Record
	commands  uint64
}

type person struct {
	id, linkage, record, management []byte
	agencies                        int
}

// Begin is the time of the first event of a History.
var Begin = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// Streams of a History.
var Streams = []string{event.StreamRegistry, event.StreamIssuance, event.StreamAudit, event.RecordStream(0), event.RecordStream(1)}

// step lengths of time: most events are close together, some are days apart.
var steps = []time.Duration{0, time.Microsecond, time.Second, time.Minute, 7 * time.Hour, 50 * time.Hour}

// Next makes the next event: the stream it belongs to, and the event.
func (h *History) Next() (stream string, f Fact) {
	if h.now.IsZero() {
		h.now = Begin
	}
	h.now = h.now.Add(steps[h.Choose(len(steps))])
	choices := []func() (string, Fact){h.issue, h.issue, h.inquire, h.inquire, h.conclude, h.conclude, h.amend, h.changeCode, h.askAgain, h.disclose}
	return choices[h.Choose(len(choices))]()
}

func (h *History) secret(kind string, n int) []byte {
	b := make([]byte, 0, n)
	for i := uint64(0); len(b) < n; i++ {
		id := uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%s %d %d", kind, len(h.Secrets), i))
		b = append(b, id[:]...)
	}
	b = b[:n]
	h.Secrets = append(h.Secrets, b)
	return b
}

func (h *History) command() event.Command {
	h.commands++
	digest := binary.BigEndian.AppendUint64(make([]byte, 8), h.commands)
	return event.Command{ID: uuid.NewSHA1(uuid.Nil, digest), Actor: event.Actor{Identity: "official", Role: "operator"}, Digest: digest}
}

// subjectFact seals under the key of the person, recordFact under that of the day.
func (h *History) subjectFact(p *person, eventType string, c event.Command, payload any) (string, Fact) {
	return event.StreamIssuance, Fact{
		Type: eventType, ID: event.IDOf(event.CommandKey(c.Actor.Identity, c.ID), 0), Time: h.now,
		Payload: payload, Key: fmt.Sprintf("subject/%x", p.id[:4]),
	}
}

func (h *History) recordFact(stream, eventType string, c event.Command, payload any) (string, Fact) {
	return stream, Fact{
		Type: eventType, ID: event.IDOf(event.CommandKey(c.Actor.Identity, c.ID), 0), Time: h.now,
		Payload: payload, Key: DayKey(calendar.DayOf(h.now), stream),
	}
}

// DayKey names the data key of a day in a stream of a History.
func DayKey(day calendar.Day, stream string) string {
	return ledger.DataKeyID(day.String(), stream, 0)
}

// Today is the day of the last event.
func (h *History) Today() calendar.Day { return calendar.DayOf(h.now) }

// clone keeps what a reader of a payload wipes apart from the history's own.
func clone(b []byte) event.Protected { return append(event.Protected(nil), b...) }

func (h *History) issue() (string, Fact) {
	c := h.command()
	p, fresh := h.someone()
	e := event.SymbolIssued{
		Command: c, NewPerson: fresh,
		Subject: event.Subject{
			ID: clone(p.id), Linkage: clone(p.linkage), LinkageVersion: 1, Management: clone(p.management), IndexVersion: 1,
		},
		Issuance: event.Issuance{Agency: fmt.Sprintf("A-%03d", p.agencies), Parameter: make([]byte, 16), Scheme: 1, At: h.now.UnixMicro()},
	}
	if fresh {
		e.Subject.Salt = clone(h.secret("salt", 16))
	}
	p.agencies++
	return h.subjectFact(p, event.TypeSymbolIssued, c, e)
}

func (h *History) someone() (p *person, fresh bool) {
	if n := h.Choose(len(h.persons) + 2); n < len(h.persons) {
		return h.persons[n], false
	}
	id := uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "person %d", len(h.persons)))
	p = &person{
		id: id[:], linkage: h.secret("linkage", 16), record: h.secret("record", 16), management: h.secret("management", 32),
	}
	h.persons = append(h.persons, p)
	return p, true
}

// known is a person who is in the register already, if there is one.
func (h *History) known() *person {
	if len(h.persons) == 0 {
		return nil
	}
	return h.persons[h.Choose(len(h.persons))]
}

func (h *History) askAgain() (string, Fact) {
	p := h.known()
	if p == nil {
		return h.issue()
	}
	c := h.command()
	return h.subjectFact(p, event.TypeSymbolAlreadyAcquired, c, event.SymbolAlreadyAcquired{
		Command: c, Subject: clone(p.id), Issuance: event.Issuance{Agency: "A-000", Parameter: make([]byte, 16), Scheme: 1, At: h.now.UnixMicro()},
	})
}

func (h *History) changeCode() (string, Fact) {
	p := h.known()
	if p == nil {
		return h.issue()
	}
	c := h.command()
	old := p.management
	p.management = h.secret("management", 32)
	return h.subjectFact(p, event.TypeResidentCodeChanged, c, event.ResidentCodeChanged{
		Command: c, Subject: clone(p.id), OldManagement: clone(old), Management: clone(p.management), IndexVersion: 1, At: h.now.UnixMicro(),
	})
}

func (h *History) inquire() (string, Fact) {
	c := h.command()
	number := inquiry.NewProcessingNumber(c.ID)
	r := &event.Record{
		ProcessingNumber: number[:], Affair: "児童手当の支給", Procedure: "認定", Inquirer: "A-000", InquirerName: "照会市",
		Department: "子育て課", Provider: fmt.Sprintf("A-%03d", h.Choose(3)), ProviderName: "提供市",
		RequestedAt: h.now.UnixMicro(), Information: "住民票関係情報", Items: []string{"続柄", "住所"}, RuleSet: make([]byte, 32), Rule: "r-1",
	}
	stream := event.RecordStream(number.Shard(2))
	p := h.known()
	if p == nil || h.Choose(6) == 0 {
		return h.recordFact(stream, event.TypeInquiryRefused, c, event.InquiryRefused{Command: c, Record: *r, Reason: "unknown-person"})
	}
	r.Symbol, r.Subject = clone(p.record), clone(p.id)
	r.ValidUntil = h.now.Add(time.Duration(1+h.Choose(72)) * time.Hour).UnixMicro()
	h.inquiries = append(h.inquiries, r)
	return h.recordFact(stream, event.TypeInquiryNotified, c, event.InquiryNotified{Command: c, Record: h.record(r)})
}

// record is a copy that nobody else wipes.
func (h *History) record(r *event.Record) event.Record {
	out := *r
	out.Symbol, out.Subject = clone(r.Symbol), clone(r.Subject)
	return out
}

func (h *History) conclude() (string, Fact) {
	if len(h.inquiries) == 0 {
		return h.inquire()
	}
	i := h.Choose(len(h.inquiries))
	r := h.inquiries[i]
	h.inquiries = append(h.inquiries[:i], h.inquiries[i+1:]...)
	h.concluded = append(h.concluded, r)
	c := h.command()
	stream := event.RecordStream(inquiry.ProcessingNumber(r.ProcessingNumber).Shard(2))
	if h.Choose(3) == 0 {
		return h.recordFact(stream, event.TypeInquiryLapsed, c, event.InquiryLapsed{Command: c, Record: h.record(r), At: h.now.UnixMicro()})
	}
	answers := []inquiry.State{inquiry.Provided, inquiry.NoSuchInformation, inquiry.CannotProvide}
	answer := answers[h.Choose(len(answers))]
	if answer == inquiry.Provided {
		r.ProvidedAt = h.now.UnixMicro()
	}
	return h.recordFact(stream, event.TypeProvisionReported, c, event.ProvisionReported{
		Command: c, Record: h.record(r), Answer: answer.String(), At: h.now.UnixMicro(),
	})
}

// amend corrects the record of an inquiry that was concluded.
func (h *History) amend() (string, Fact) {
	if len(h.concluded) == 0 {
		return h.conclude()
	}
	r := h.concluded[h.Choose(len(h.concluded))]
	c := h.command()
	amended := h.record(r)
	amended.Branch, amended.AmendmentReason = 1, "誤記"
	stream := event.RecordStream(inquiry.ProcessingNumber(r.ProcessingNumber).Shard(2))
	return h.recordFact(stream, event.TypeInquiryNotified, c, event.InquiryNotified{Command: c, Record: amended})
}

func (h *History) disclose() (string, Fact) {
	p := h.known()
	if p == nil {
		return h.issue()
	}
	c := h.command()
	return h.recordFact(event.StreamAudit, event.TypeRecordsDisclosed, c, event.RecordsDisclosed{
		Command: c, Symbol: clone(p.record), Receipt: "R-1", Audience: "person", Count: 1, Given: [][]byte{make([]byte, 8)}, At: h.now.UnixMicro(),
	})
}

// Fill appends n events of the history to a ledger, in batches.
func (h *History) Fill(l *Ledger, n int) error {
	waiting := map[string][]Fact{}
	for range n {
		stream, f := h.Next()
		waiting[stream] = append(waiting[stream], f)
		if len(waiting[stream]) > h.Choose(20) {
			if err := l.Append(stream, waiting[stream]...); err != nil {
				return err
			}
			delete(waiting, stream)
		}
	}
	for _, stream := range Streams {
		if len(waiting[stream]) > 0 {
			if err := l.Append(stream, waiting[stream]...); err != nil {
				return err
			}
		}
	}
	return nil
}
