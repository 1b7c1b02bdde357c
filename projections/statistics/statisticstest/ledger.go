// Package statisticstest counts every report of the statistics from the events of a ledger, by means of its own and
// without a database. It promises tests the rows that a report must have, and shares no code with what it checks.
package statisticstest

import (
	"fmt"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
)

// Event is an event with its payload opened. Those of one stream come in their order.
type Event struct {
	Type     string
	Revision uint64
	Time     time.Time // when it was recorded
	Payload  []byte    // CBOR
}

// Ledger is what the events say.
type Ledger struct {
	ended    []ended
	issued   []issued
	agencies map[string]*agency
	rules    []event.RuleRow // in force
	set      map[int][]event.RuleRow
}

type ended struct {
	day                                                         calendar.Day
	at                                                          time.Time // of the request, in Japan
	inquirer, provider, affair, information, outcome, why, rule string
	seconds                                                     int64 // -1: no answer
}

type issued struct {
	day    calendar.Day
	agency string
	again  bool
}

type agency struct {
	name      string
	classes   []string
	suspended bool
}

// Read reads events.
func Read(events []Event) (*Ledger, error) {
	l := &Ledger{agencies: map[string]*agency{}}
	for i := range events {
		if err := l.read(&events[i]); err != nil {
			return nil, fmt.Errorf("%s@%d: %w", events[i].Type, events[i].Revision, err)
		}
	}
	return l, nil
}

// Size is how many exchanges have ended, and how many requests for a symbol there were.
func (l *Ledger) Size() (exchanges, issuances int) { return len(l.ended), len(l.issued) }

// Middle is the day of the exchange in the middle.
func (l *Ledger) Middle() calendar.Day { return l.ended[len(l.ended)/2].day }

func decoded[T any](e *Event, use func(T)) error {
	p, err := event.Decode[T](e.Payload)
	if err == nil {
		use(p)
	}
	return err
}

func (l *Ledger) read(e *Event) error {
	day := calendar.DayOf(e.Time)
	end := func(r event.Record, outcome, why string, seconds int64) {
		if r.AmendmentReason == "" { // a correction is no exchange
			l.ended = append(l.ended, ended{day: day, at: time.UnixMicro(r.RequestedAt).In(calendar.JST), inquirer: r.Inquirer, provider: r.Provider,
				affair: r.Affair, information: r.Information, outcome: outcome, why: why, rule: r.Rule, seconds: seconds})
		}
	}
	switch e.Type {
	case event.TypeInquiryRefused:
		return decoded(e, func(p event.InquiryRefused) { end(p.Record, "refused", p.Reason, -1) })
	case event.TypeProvisionReported:
		return decoded(e, func(p event.ProvisionReported) {
			end(p.Record, p.Answer, "", max(0, p.At-p.Record.RequestedAt)/1_000_000)
		})
	case event.TypeInquiryLapsed:
		return decoded(e, func(p event.InquiryLapsed) { end(p.Record, "lapsed", "", -1) })
	case event.TypeSymbolIssued:
		return decoded(e, func(p event.SymbolIssued) { l.issued = append(l.issued, issued{day, p.Issuance.Agency, false}) })
	case event.TypeSymbolAlreadyAcquired:
		return decoded(e, func(p event.SymbolAlreadyAcquired) { l.issued = append(l.issued, issued{day, p.Issuance.Agency, true}) })
	}
	return l.readRegistry(e)
}

func (l *Ledger) readRegistry(e *Event) error {
	switch e.Type {
	case event.TypeAgencyRegistered:
		return decoded(e, func(p event.AgencyRegistered) {
			a := l.agency(p.Code)
			a.name, a.classes = p.Name, p.Classes
		})
	case event.TypeAgencyStatusChanged:
		return decoded(e, func(p event.AgencyStatusChanged) { l.agency(p.Code).suspended = p.Suspended })
	case event.TypeScopeRulesPublished:
		return decoded(e, l.publish)
	}
	return nil
}

func (l *Ledger) agency(code string) *agency {
	if l.agencies[code] == nil {
		l.agencies[code] = &agency{}
	}
	return l.agencies[code]
}

// publish puts a set in force once its last part is there.
func (l *Ledger) publish(p event.ScopeRulesPublished) {
	if p.Part == 0 {
		l.set = map[int][]event.RuleRow{}
	}
	l.set[p.Part] = p.Rules
	if len(l.set) < p.Parts {
		return
	}
	l.rules = nil
	for part := range p.Parts {
		l.rules = append(l.rules, l.set[part]...)
	}
}

func (l *Ledger) nameOf(code string) string {
	if a := l.agencies[code]; a != nil {
		return a.name
	}
	return ""
}
