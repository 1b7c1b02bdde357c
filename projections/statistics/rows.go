package statistics

import (
	"math"
	"slices"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/projections"
)

// NoAnswer in place of the seconds to an answer: the provider gave none.
const NoAnswer = -1

// Exchange is an inquiry that has ended.
type Exchange struct {
	Day           calendar.Day // on which the end was recorded
	Hour          time.Time    // in which the inquiry was received
	Inquirer      string       // code of the agency (情報照会者)
	Department    string       // of the inquirer
	Provider      string       // code of the agency (情報提供者)
	Affair        string       // 事務
	Procedure     string       // 事務手続
	Information   string       // 特定個人情報名
	Outcome       inquiry.State
	Refusal       inquiry.Reason // 0 unless refused
	Rule          string         // that permitted it; empty if none did
	AnswerSeconds int64          // whole seconds from the request to the answer, or NoAnswer
}

// Issuance is a request for an agency symbol (情報提供用個人識別符号) that was answered.
type Issuance struct {
	Day     calendar.Day // on which it was recorded
	Hour    time.Time    // of issue
	Agency  string       // code; empty if the person was deleted since
	Scheme  int          // version of the agency-symbol scheme; 0 likewise
	Already bool         // the agency had the symbol already (Ordinance 44(2))
}

// Agency is an agency as registered at a revision of the registry.
type Agency struct {
	Revision uint64
	Code     string
	Name     string
	Classes  []string
}

// Status says whether an agency is suspended from a revision of the registry on.
type Status struct {
	Revision  uint64
	Code      string
	Suspended bool
}

// Rule is a rule of a published set.
type Rule struct {
	Set   uint64 // revision of the set's first part
	Part  int    // 0-based
	Parts int    // of the set
	event.RuleRow
}

// Rows are what a chunk holds.
type Rows struct {
	Exchanges  []Exchange
	Issuances  []Issuance
	Agencies   []Agency
	Statuses   []Status
	Rules      []Rule
	Summaries  []Summary
	Ended      []calendar.Day // whose key was destroyed: their exchanges give way to their summaries
	Rotations  []Rotation
	Unreadable []calendar.Day // of exchanges that nobody can read any more, each once
}

func (r *Rows) none() bool {
	return len(r.Exchanges)+len(r.Issuances)+len(r.Agencies)+len(r.Statuses)+len(r.Rules)+len(r.Summaries)+len(r.Ended)+len(r.Rotations)+len(r.Unreadable) == 0
}

// fact is what one event says, which may be nothing.
type fact struct {
	after      projections.Checkpoint
	begins     *projections.Checkpoint // before the event, where what came before it was destroyed
	exchange   *Exchange
	unreadable calendar.Day // of an exchange that nobody can read any more
	issuance   *Issuance
	registry   *Rows
}

func rowsOf(facts []fact) Rows {
	var r Rows
	for i := range facts {
		f := &facts[i]
		switch {
		case f.exchange != nil:
			r.Exchanges = append(r.Exchanges, *f.exchange)
		case f.issuance != nil:
			r.Issuances = append(r.Issuances, *f.issuance)
		case f.registry != nil:
			r.Agencies = append(r.Agencies, f.registry.Agencies...)
			r.Statuses = append(r.Statuses, f.registry.Statuses...)
			r.Rules = append(r.Rules, f.registry.Rules...)
			r.Summaries = append(r.Summaries, f.registry.Summaries...)
			r.Ended = append(r.Ended, f.registry.Ended...)
			r.Rotations = append(r.Rotations, f.registry.Rotations...)
		case !f.unreadable.IsZero() && !slices.Contains(r.Unreadable, f.unreadable):
			r.Unreadable = append(r.Unreadable, f.unreadable)
		}
	}
	return r
}

func read(o *projections.Opened) (fact, error) {
	f := fact{after: projections.Checkpoint{Next: o.Event.Revision + 1, Leaf: ledger.LeafHash(o.HeaderBytes), Epoch: o.Header.Epoch}}
	if o.Begins {
		f.begins = &projections.Checkpoint{Next: o.Event.Revision, Leaf: o.Header.Prev}
	}
	var err error
	switch {
	case event.IsRecordStream(o.Event.Stream) && o.Unreadable:
		f.unreadable = calendar.DayOf(o.Header.Time)
	case event.IsRecordStream(o.Event.Stream):
		f.exchange, err = readExchange(o)
	case o.Event.Stream == event.StreamIssuance:
		f.issuance, err = readIssuance(o)
	case o.Event.Stream == event.StreamRegistry:
		f.registry, err = readRegistry(o)
	}
	return f, err
}

// readExchange returns nil for what ends no inquiry.
func readExchange(o *projections.Opened) (*Exchange, error) {
	switch o.Event.Type {
	case event.TypeInquiryRefused:
		p, err := projections.Decoded[event.InquiryRefused](o)
		if err != nil {
			return nil, err
		}
		reason, err := inquiry.ParseReason(p.Reason)
		if err != nil {
			return nil, malformed(err)
		}
		return ended(o, &p.Record, inquiry.Refused, reason, NoAnswer), nil
	case event.TypeProvisionReported:
		p, err := projections.Decoded[event.ProvisionReported](o)
		if err != nil {
			return nil, err
		}
		answer, err := inquiry.ParseAnswerKind(p.Answer)
		if err != nil {
			return nil, malformed(err)
		}
		return ended(o, &p.Record, answer, 0, seconds(p.Record.RequestedAt, p.At)), nil
	case event.TypeInquiryLapsed:
		p, err := projections.Decoded[event.InquiryLapsed](o)
		if err != nil {
			return nil, err
		}
		return ended(o, &p.Record, inquiry.Lapsed, 0, NoAnswer), nil
	}
	return nil, nil
}

func ended(o *projections.Opened, r *event.Record, outcome inquiry.State, refusal inquiry.Reason, answer int64) *Exchange {
	if r.AmendmentReason != "" {
		return nil
	}
	return &Exchange{
		Day: calendar.DayOf(o.Header.Time), Hour: hour(r.RequestedAt),
		Inquirer: r.Inquirer, Department: r.Department, Provider: r.Provider,
		Affair: r.Affair, Procedure: r.Procedure, Information: r.Information,
		Outcome: outcome, Refusal: refusal, Rule: r.Rule, AnswerSeconds: answer,
	}
}

// hour truncates to the hour, which is the same in Japan and in UTC.
func hour(micros int64) time.Time { return time.UnixMicro(micros).UTC().Truncate(time.Hour) }

// seconds between two times in microseconds; a clock that was put back makes no negative ones.
func seconds(from, to int64) int64 { return min(max(0, to-from)/1e6, math.MaxUint32) }

func readIssuance(o *projections.Opened) (*Issuance, error) {
	row := &Issuance{Day: calendar.DayOf(o.Header.Time), Already: o.Event.Type == event.TypeSymbolAlreadyAcquired}
	var in event.Issuance
	switch {
	case o.Event.Type != event.TypeSymbolIssued && !row.Already:
		return nil, nil
	case o.Unreadable:
		in.At = o.Header.Time.UnixMicro()
	case row.Already:
		p, err := projections.Decoded[event.SymbolAlreadyAcquired](o)
		if err != nil {
			return nil, err
		}
		in = p.Issuance
	default:
		p, err := projections.Decoded[event.SymbolIssued](o)
		if err != nil {
			return nil, err
		}
		in = p.Issuance
	}
	if in.Scheme < 0 || in.Scheme > math.MaxUint8 {
		return nil, malformed(errScheme)
	}
	row.Agency, row.Scheme, row.Hour = in.Agency, in.Scheme, hour(in.At)
	return row, nil
}

// Summary is what a day's summary keeps of the exchanges that were alike, once the day itself is gone. What was
// suppressed is empty.
type Summary struct {
	Day  calendar.Day
	Part int // of the day's summary, 0-based
	Row  int // of the part, 0-based

	Inquirer, Provider, Affair, Information string
	Outcome                                 inquiry.State
	Refusal                                 inquiry.Reason
	Rule                                    string
	Exchanges                               uint64
}

// Rotation is a rotation of the vault by which persons were deleted.
type Rotation struct {
	Generation int            // of the vault from which on they are gone
	Days       []calendar.Day // on which they had symbols issued, of all together
}

// Recounted is how many issuances of a day are alike.
type Recounted struct {
	Issuance
	Number uint64
}
