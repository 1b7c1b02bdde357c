package statistics

import (
	"errors"
	"fmt"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/projections"
)

var (
	errScheme = errors.New("a version of the agency-symbol scheme is one octet")
	errPart   = errors.New("a part of a rule set lies outside the set or before the stream")
)

func malformed(err error) error { return fmt.Errorf("%w: %w", event.ErrMalformed, err) }

// readRegistry reads what the reports name: agencies and the rules in force. It returns nil for anything else.
func readRegistry(o *projections.Opened) (*Rows, error) {
	switch o.Event.Type {
	case event.TypeAgencyRegistered:
		p, err := projections.Decoded[event.AgencyRegistered](o)
		if err != nil {
			return nil, err
		}
		return &Rows{Agencies: []Agency{{Revision: o.Event.Revision, Code: p.Code, Name: p.Name, Classes: p.Classes}}}, nil
	case event.TypeAgencyStatusChanged:
		p, err := projections.Decoded[event.AgencyStatusChanged](o)
		if err != nil {
			return nil, err
		}
		return &Rows{Statuses: []Status{{Revision: o.Event.Revision, Code: p.Code, Suspended: p.Suspended}}}, nil
	case event.TypeScopeRulesPublished:
		p, err := projections.Decoded[event.ScopeRulesPublished](o)
		if err != nil {
			return nil, err
		}
		return readRules(o.Event.Revision, p)
	case event.TypeDaySummarised:
		p, err := projections.Decoded[event.DaySummarised](o)
		if err != nil {
			return nil, err
		}
		return readSummary(p)
	case event.TypeDayKeyDestroyed:
		p, err := projections.Decoded[event.DayKeyDestroyed](o)
		if err != nil {
			return nil, err
		}
		days, err := parsed(p.Day)
		return &Rows{Ended: days}, err
	case event.TypeVaultRotated:
		p, err := projections.Decoded[event.VaultRotated](o)
		if err != nil || len(p.Days) == 0 {
			return nil, err
		}
		days, err := parsed(p.Days...)
		return &Rows{Rotations: []Rotation{{Generation: p.Generation, Days: days}}}, err
	}
	return nil, nil
}

func parsed(texts ...string) (days []calendar.Day, err error) {
	for _, text := range texts {
		day, err := calendar.Parse(text)
		if err != nil {
			return nil, malformed(err)
		}
		days = append(days, day)
	}
	return days, nil
}

func readSummary(p *event.DaySummarised) (*Rows, error) {
	days, err := parsed(p.Day)
	if err != nil {
		return nil, err
	}
	rows := &Rows{}
	for i, r := range p.Rows {
		s := Summary{Day: days[0], Part: p.Part, Row: i, Inquirer: r.Inquirer, Provider: r.Provider, Affair: r.Affair, Information: r.Information,
			Rule: r.Rule, Exchanges: r.Exchanges}
		if r.Outcome != "" {
			s.Outcome, err = inquiry.ParseState(r.Outcome)
		}
		if r.Refusal != "" && err == nil {
			s.Refusal, err = inquiry.ParseReason(r.Refusal)
		}
		if err != nil {
			return nil, malformed(err)
		}
		rows.Summaries = append(rows.Summaries, s)
	}
	return rows, nil
}

// readRules counts on the parts of a set following each other.
func readRules(revision uint64, p *event.ScopeRulesPublished) (*Rows, error) {
	if p.Part < 0 || p.Part >= p.Parts || uint64(p.Part) > revision {
		return nil, malformed(errPart)
	}
	rows := &Rows{}
	for _, r := range p.Rules {
		for _, day := range []string{r.ValidFrom, r.ValidTo} {
			if _, err := calendar.Parse(day); day != "" && err != nil {
				return nil, malformed(err)
			}
		}
		rows.Rules = append(rows.Rules, Rule{Set: revision - uint64(p.Part), Part: p.Part, Parts: p.Parts, RuleRow: r})
	}
	return rows, nil
}
