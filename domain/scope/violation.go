package scope

import (
	"fmt"
	"slices"

	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/text"
)

// MaxReason bounds the reason of a violation, in characters.
const MaxReason = 500

// Violation says that the impact assessment (特定個人情報保護評価, Act 28) of a
// file of an agency is missing or unpublished, so that no exchange may touch
// the file (Act 21(2)). A file is named by the affair it serves, for the
// inquirer's side, or by the information it holds, for the provider's side.
type Violation struct {
	Agency agency.Code
	File   string       // affair or information name; "" is every file of the agency, on both sides
	From   calendar.Day // first day, JST
	To     calendar.Day // last day; zero: until further notice
	Reason string
}

// NewViolation checks v and gives it with its texts normalised.
func NewViolation(v Violation) (Violation, error) {
	if v.Agency.IsZero() {
		return Violation{}, fmt.Errorf("%w: PIA violation names no agency", ErrInvalid)
	}
	var err error
	if v.File, err = text.OptionalLine("file", v.File, max(MaxAffair, MaxInformation)); err != nil {
		return Violation{}, fmt.Errorf("PIA violation of agency %s: %w: %w", v.Agency, ErrInvalid, err)
	}
	if v.Reason, err = text.Line("reason", v.Reason, MaxReason); err != nil {
		return Violation{}, fmt.Errorf("PIA violation of agency %s: %w: %w", v.Agency, ErrInvalid, err)
	}
	if v.From.IsZero() {
		return Violation{}, fmt.Errorf("%w: PIA violation of agency %s has no first day", ErrInvalid, v.Agency)
	}
	if !v.To.IsZero() && v.To.Before(v.From) {
		return Violation{}, fmt.Errorf("%w: PIA violation of agency %s ends before it begins", ErrInvalid, v.Agency)
	}
	return v, nil
}

// Holds reports whether the violation stands on a day.
func (v Violation) Holds(day calendar.Day) bool {
	return !day.Before(v.From) && (v.To.IsZero() || !v.To.Before(day))
}

type file struct {
	agency agency.Code
	name   string
}

// Violations is an immutable set of violations. The zero value holds none.
type Violations struct{ by map[file][]Violation }

// NewViolations indexes violations that NewViolation gave, in the order in which
// they were recorded. One with the agency, file and first day of an earlier one
// is the same violation as it came to be known, with its last day for instance,
// and replaces it. Where several others stand on one file and day, the one
// recorded first answers.
func NewViolations(list []Violation) Violations {
	by := make(map[file][]Violation, len(list))
	for _, v := range list {
		f := file{v.Agency, v.File}
		i := slices.IndexFunc(by[f], func(o Violation) bool { return o.From == v.From })
		if i >= 0 {
			by[f][i] = v
			continue
		}
		by[f] = append(by[f], v)
	}
	return Violations{by}
}

// Of gives the violation that bars a file of an agency on a day: one of the
// whole agency, else one of the file of that name.
func (v Violations) Of(a agency.Code, name string, day calendar.Day) (Violation, bool) {
	for _, f := range []file{{a, ""}, {a, name}} {
		for _, x := range v.by[f] {
			if x.Holds(day) {
				return x, true
			}
		}
	}
	return Violation{}, false
}
