package inquiry

import (
	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/scope"
)

// Facts are what is known of the organisations and the law when an inquiry is
// decided. None of them concerns a person.
type Facts struct {
	Inquirer   agency.Agency // zero: not registered
	Provider   agency.Agency // zero: not registered
	Rules      scope.Set
	Violations scope.Violations
}

// PersonFacts are what is known of the person asked about. Finding them out
// costs calls to the HSM; Screen tells whether they are needed at all.
type PersonFacts struct {
	Known             bool // the inquirer's symbol names a registered person
	ProviderHasSymbol bool // the provider was issued this person's symbol
}

// Decision says whether the core mediates an inquiry, and on what ground. A
// decision always names the rule set that was consulted; it names a rule when
// one was found to permit, also where something else then refused.
type Decision struct {
	rules   scope.Hash
	rule    string
	kind    scope.Kind
	refusal Reason
}

// Permitted reports whether the provider is to be notified.
func (d Decision) Permitted() bool { return d.refusal == 0 && d.rule != "" }

// Refusal gives the reason, or 0 where the inquiry is permitted.
func (d Decision) Refusal() Reason { return d.refusal }

// RuleSet names the rule set that was consulted.
func (d Decision) RuleSet() scope.Hash { return d.rules }

// RuleID names the rule that permits; "" where none was found.
func (d Decision) RuleID() string { return d.rule }

// Kind tells the item of Act 19 of that rule; 0 where none was found.
func (d Decision) Kind() scope.Kind { return d.kind }

// Article21 reports whether the inquiry falls under an item of Act 21(2).
func (d Decision) Article21() bool { return d.refusal.Article21() }

// Decide answers for one day (JST). Where several reasons refuse, the one
// given is the first in the order of Reasons. An agency that asks itself is
// out of scope: what an organisation does with its own files is no provision
// through the core.
func Decide(r Request, f Facts, p PersonFacts, day calendar.Day) Decision {
	return Screen(r, f, day).WithPerson(p)
}

// Screen answers as far as the law and the organisations go. What it refuses
// stays refused whoever the person is; what it permits needs WithPerson.
func Screen(r Request, f Facts, day calendar.Day) Decision {
	d := Decision{rules: f.Rules.Hash()}
	if d.refusal = standing(r, f); d.refusal != 0 {
		return d
	}
	if d.permit(r, f, day); d.refusal != 0 {
		return d
	}
	if _, barred := f.Violations.Of(r.Inquirer(), r.Affair(), day); barred {
		d.refusal = InquirerViolation
	} else if _, barred := f.Violations.Of(r.Provider(), r.Information(), day); barred {
		d.refusal = ProviderViolation
	}
	return d
}

// WithPerson completes what Screen began.
func (d Decision) WithPerson(p PersonFacts) Decision {
	switch {
	case d.refusal != 0:
	case !p.Known:
		d.refusal = UnknownPerson
	case !p.ProviderHasSymbol:
		d.refusal = ProviderHasNoSymbol
	}
	return d
}

// standing gives the reason that lies in the organisations, or 0. Facts about
// another agency than the request names are facts about no agency.
func standing(r Request, f Facts) Reason {
	switch {
	case f.Inquirer.IsZero() || f.Inquirer.Code() != r.Inquirer():
		return UnknownInquirer
	case !f.Inquirer.IsActive():
		return SuspendedInquirer
	case f.Provider.IsZero() || f.Provider.Code() != r.Provider():
		return UnknownProvider
	case !f.Provider.IsActive():
		return SuspendedProvider
	}
	return 0
}

func (d *Decision) permit(r Request, f Facts, day calendar.Day) {
	if r.Inquirer() == r.Provider() {
		d.refusal = OutOfScope
		return
	}
	rule, verdict := f.Rules.Decide(scope.Tuple{
		InquirerClasses: f.Inquirer.Classes(),
		Affair:          r.Affair(),
		ProviderClasses: f.Provider.Classes(),
		Information:     r.Information(),
		Consent:         r.Consent(),
	}, day)
	switch verdict {
	case scope.Permitted:
		d.rule, d.kind = rule.ID, rule.Kind()
	case scope.ConsentMissing:
		d.refusal = ConsentMissing
	default:
		d.refusal = OutOfScope
	}
}
