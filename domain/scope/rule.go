package scope

import (
	"errors"
	"fmt"

	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/text"
)

// ErrInvalid is wrapped by every error that says a rule is not acceptable.
var ErrInvalid = errors.New("invalid scope rule")

// Bounds of the texts of a rule, in characters. An affair or information name
// of an inquiry has the same bound.
const (
	MaxID          = 64
	MaxAffair      = 500
	MaxInformation = 500
)

// Row is a rule as its eight columns, all text: the form in which it stands in
// a file and in the ledger.
type Row struct {
	ID, InquirerClass, Affair, ProviderClass, Information, LegalBasis string
	ValidFrom, ValidTo                                                string // YYYY-MM-DD; ValidTo "" is: until further notice
}

// Rule permits one kind of exchange: an agency of InquirerClass may, for
// Affair, ask an agency of ProviderClass for Information, from ValidFrom to
// ValidTo, both days included (JST).
type Rule struct {
	ID            string // ASCII letters, digits, '-', '_' and '.', 1 to 64
	InquirerClass agency.Class
	Affair        string // 事務名
	ProviderClass agency.Class
	Information   string // 特定個人情報名
	Basis         Basis
	ValidFrom     calendar.Day
	ValidTo       calendar.Day // zero: until further notice
}

// ParseRow checks a row alone. Every error wraps ErrInvalid; where several
// cells are wrong it is the first of them.
func ParseRow(row Row) (Rule, error) {
	rule, faults := parseRow(row)
	if len(faults) > 0 {
		return Rule{}, fmt.Errorf("%w: %s: %s", ErrInvalid, faults[0].column, faults[0].message)
	}
	return rule, nil
}

// Row gives the rule as text.
func (r Rule) Row() Row {
	row := Row{
		ID: r.ID, InquirerClass: r.InquirerClass.String(), Affair: r.Affair,
		ProviderClass: r.ProviderClass.String(), Information: r.Information,
		LegalBasis: r.Basis.String(), ValidFrom: r.ValidFrom.String(),
	}
	if !r.open() {
		row.ValidTo = r.ValidTo.String()
	}
	return row
}

// Kind tells the item of the Act the rule rests on.
func (r Rule) Kind() Kind { return r.Basis.kind }

// NeedsConsent reports whether the rule permits only with the person's consent.
func (r Rule) NeedsConsent() bool { return needsConsent(r.Basis.kind, r.Information) }

// Holds reports whether the rule is in force on a day.
func (r Rule) Holds(day calendar.Day) bool {
	return !day.Before(r.ValidFrom) && (r.open() || !r.ValidTo.Before(day))
}

func (r Rule) open() bool { return r.ValidTo.IsZero() }

// overlaps reports whether there is a day on which both hold.
func (r Rule) overlaps(o Rule) bool {
	return (o.open() || !o.ValidTo.Before(r.ValidFrom)) && (r.open() || !r.ValidTo.Before(o.ValidFrom))
}

// fault is one thing wrong in one column of a row.
type fault struct{ column, message string }

func parseRow(row Row) (rule Rule, faults []fault) {
	check := func(column string, err error) {
		if err != nil {
			faults = append(faults, fault{column, plain(err)})
		}
	}
	var err error
	rule.ID, err = parseID(row.ID)
	check("id", err)
	rule.InquirerClass, err = agency.ParseClass(row.InquirerClass)
	check("inquirer_class", err)
	rule.Affair, err = line("affair", row.Affair, MaxAffair)
	check("affair", err)
	rule.ProviderClass, err = agency.ParseClass(row.ProviderClass)
	check("provider_class", err)
	rule.Information, err = line("information", row.Information, MaxInformation)
	check("information", err)
	rule.Basis, err = ParseBasis(row.LegalBasis)
	check("legal_basis", err)
	rule.ValidFrom, err = parseDay(row.ValidFrom)
	check("valid_from", err)
	if row.ValidTo != "" {
		rule.ValidTo, err = parseDay(row.ValidTo)
		check("valid_to", err)
	}
	if len(faults) == 0 {
		faults = together(rule)
	}
	return rule, faults
}

// together checks what only the cells of a row together can tell.
func together(r Rule) (faults []fault) {
	if !r.open() && r.ValidTo.Before(r.ValidFrom) {
		return []fault{{"valid_to", "is before valid_from"}}
	}
	if why := r.Basis.covers(r.ValidFrom, r.ValidTo); why != "" {
		faults = append(faults, fault{"valid_from", why})
	}
	if evadesConsent(r.Basis.kind, r.Information) {
		faults = append(faults, fault{"information", "is tax or income information on a by-law basis; name it " + LocalTax + ", so that the person's consent is asked for"})
	}
	return faults
}

func parseID(s string) (string, error) {
	if s == "" {
		return "", errors.New("is empty")
	}
	if len(s) > MaxID {
		return "", fmt.Errorf("has %d characters, the limit is %d", len(s), MaxID)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_' || c == '.') {
			return "", fmt.Errorf("may hold ASCII letters, digits, '-', '_' and '.' only (character %d)", i+1)
		}
	}
	return s, nil
}

func parseDay(s string) (calendar.Day, error) {
	if s == "" {
		return calendar.Day{}, errors.New("is empty")
	}
	d, err := calendar.Parse(s)
	if err != nil {
		return calendar.Day{}, errors.New("is not a day; write it as 2024-05-27")
	}
	return d, nil
}

func line(what, s string, limit int) (string, error) {
	s, err := text.Line(what, s, limit)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return s, nil
}
