package retention

import (
	"fmt"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/retention"
)

// tally counts the exchanges that ended on a day, alike ones together. It keeps no event, and each text once: its size
// grows with the kinds of exchange, not with the exchanges.
type tally struct {
	numbers map[string]uint32
	texts   []string
	by      map[kind]uint64
}

// kind is what exchanges have in common, by numbers of texts.
type kind struct {
	inquirer, provider, affair, information, outcome, refusal, rule uint32
}

func newTally() *tally {
	t := &tally{numbers: map[string]uint32{}, by: map[kind]uint64{}}
	t.number("")
	return t
}

func (t *tally) number(text string) uint32 {
	n, ok := t.numbers[text]
	if !ok {
		n = uint32(len(t.texts))
		t.numbers[text] = n
		t.texts = append(t.texts, text)
	}
	return n
}

// add counts an event if it ends an exchange. An exchange counts once, on the day on which its end was recorded; the
// correction of a record is none.
func (t *tally) add(eventType string, plaintext []byte) error {
	switch eventType {
	case event.TypeInquiryRefused:
		e, err := event.Decode[event.InquiryRefused](plaintext)
		if err != nil {
			return err
		}
		if _, err := inquiry.ParseReason(e.Reason); err != nil {
			return err
		}
		t.ended(&e.Record, inquiry.Refused.String(), e.Reason)
	case event.TypeProvisionReported:
		e, err := event.Decode[event.ProvisionReported](plaintext)
		if err != nil {
			return err
		}
		if _, err := inquiry.ParseAnswerKind(e.Answer); err != nil {
			return err
		}
		t.ended(&e.Record, e.Answer, "")
	case event.TypeInquiryLapsed:
		e, err := event.Decode[event.InquiryLapsed](plaintext)
		if err != nil {
			return err
		}
		t.ended(&e.Record, inquiry.Lapsed.String(), "")
	case event.TypeInquiryNotified:
	default:
		return fmt.Errorf("event type %q in a record stream: %w", eventType, event.ErrMalformed)
	}
	return nil
}

func (t *tally) ended(r *event.Record, outcome, refusal string) {
	if r.AmendmentReason != "" {
		return
	}
	t.by[kind{t.number(r.Inquirer), t.number(r.Provider), t.number(r.Affair), t.number(r.Information),
		t.number(outcome), t.number(refusal), t.number(r.Rule)}]++
}

// counts returns what was counted, in no order.
func (t *tally) counts() []retention.Counted {
	counts := make([]retention.Counted, 0, len(t.by))
	for k, n := range t.by {
		counts = append(counts, retention.Counted{Inquirer: t.texts[k.inquirer], Provider: t.texts[k.provider], Affair: t.texts[k.affair],
			Information: t.texts[k.information], Outcome: t.texts[k.outcome], Refusal: t.texts[k.refusal], Rule: t.texts[k.rule], Exchanges: n})
	}
	return counts
}

// Bounds of a summary: its parts go into the registry in one append.
const (
	maxSummary     = 900_000 // octets of all parts
	maxSummaryPart = 128_000 // octets of one part, about
)

// summaryParts cuts a day's summary into the payloads of one append. Should the rows be too many for that, smaller counts
// than otherwise are suppressed, until they fit.
func summaryParts(day calendar.Day, counts []retention.Counted) ([]any, error) {
	for least := uint64(SummaryLeast); ; least *= 2 {
		groups, size, err := grouped(retention.Summarise(counts, least))
		if err != nil {
			return nil, err
		}
		if size > maxSummary {
			continue
		}
		parts := make([]any, len(groups))
		for i, rows := range groups {
			parts[i] = event.DaySummarised{Day: day.String(), Part: i, Parts: len(groups), Least: least, Rows: rows}
		}
		return parts, nil
	}
}

// grouped puts rows together that make a part, at least one part, and returns how long they are encoded.
func grouped(rows []event.SummaryRow) (groups [][]event.SummaryRow, total int, err error) {
	size := 0
	group := []event.SummaryRow{}
	for _, r := range rows {
		encoded, err := event.Encode(r)
		if err != nil {
			return nil, 0, err
		}
		if size+len(encoded) > maxSummaryPart {
			groups, group, size = append(groups, group), nil, 0
		}
		group = append(group, r)
		size += len(encoded)
		total += len(encoded)
	}
	return append(groups, group), total, nil
}
