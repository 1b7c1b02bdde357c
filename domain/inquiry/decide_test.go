package inquiry

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiroku/domain/agency"
	"kiroku/domain/calendar"
	"kiroku/domain/scope"
)

var today = calendar.Of(2026, time.April, 1)

const byLawBasis = "番号法19条9号・届出13101-2024-3・公表2024-06-01"

func rules(t testing.TB) scope.Set {
	var out []scope.Rule
	for _, r := range []scope.Row{
		{ID: "S1", InquirerClass: "市町村長", Affair: "国民健康保険の給付", ProviderClass: "医療保険者", Information: "医療保険給付関係情報", LegalBasis: "番号法19条8号・主務省令2条の表69の項", ValidFrom: "2024-05-27"},
		{ID: "B1", InquirerClass: "架空市の条例事務", Affair: "医療費の助成", ProviderClass: "医療保険者", Information: scope.LocalTax, LegalBasis: byLawBasis, ValidFrom: "2024-06-01"},
	} {
		out = append(out, must[scope.Rule](t)(scope.ParseRow(r)))
	}
	set, problems := scope.NewSet(out)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

func organisation(t testing.TB, code string, status agency.Status, classes ...string) agency.Agency {
	f := agency.Fields{
		Code: must[agency.Code](t)(agency.ParseCode(code)), Name: must[agency.Name](t)(agency.ParseName("機関" + code)),
		Parameter: agency.Parameter{1}, Status: status,
	}
	for _, c := range classes {
		f.Classes = append(f.Classes, must[agency.Class](t)(agency.ParseClass(c)))
	}
	return must[agency.Agency](t)(agency.New(f))
}

func facts(t testing.TB) Facts {
	return Facts{
		Inquirer: organisation(t, "13101", agency.Active, "市町村長", "架空市の条例事務"),
		Provider: organisation(t, "KENPO-1", agency.Active, "医療保険者"),
		Rules:    rules(t),
	}
}

func violation(t testing.TB, code, file string) scope.Violation {
	return must[scope.Violation](t)(scope.NewViolation(scope.Violation{
		Agency: must[agency.Code](t)(agency.ParseCode(code)), File: file, From: today, Reason: "未公表",
	}))
}

var present = PersonFacts{Known: true, ProviderHasSymbol: true}

func TestDecide(t *testing.T) {
	tax := func(f *Fields) { f.Affair, f.Information = "医療費の助成", scope.LocalTax }
	for _, c := range []struct {
		name   string
		ask    func(*Fields)
		facts  func(*Facts)
		person PersonFacts
		want   Reason
		rule   string
	}{
		{"permitted", nil, nil, present, 0, "S1"},
		{"inquirer unknown", nil, func(f *Facts) { f.Inquirer = agency.Agency{} }, present, UnknownInquirer, ""},
		{"facts of another inquirer", nil, func(f *Facts) { f.Inquirer = f.Provider }, present, UnknownInquirer, ""},
		{"inquirer suspended", nil, func(f *Facts) { f.Inquirer = organisation(t, "13101", agency.Suspended, "市町村長") }, present, SuspendedInquirer, ""},
		{"provider unknown", nil, func(f *Facts) { f.Provider = agency.Agency{} }, present, UnknownProvider, ""},
		{"facts of another provider", nil, func(f *Facts) { f.Provider = f.Inquirer }, present, UnknownProvider, ""},
		{"provider suspended", nil, func(f *Facts) { f.Provider = organisation(t, "KENPO-1", agency.Suspended, "医療保険者") }, present, SuspendedProvider, ""},
		{"other affair", func(f *Fields) { f.Affair = "趣味" }, nil, present, OutOfScope, ""},
		{"no rules at all", nil, func(f *Facts) { f.Rules = scope.Set{} }, present, OutOfScope, ""},
		{"asks itself", func(f *Fields) { f.Provider = f.Inquirer }, func(f *Facts) {
			f.Inquirer = organisation(t, "13101", agency.Active, "市町村長", "医療保険者")
			f.Provider = f.Inquirer
		}, present, OutOfScope, ""},
		{"tax by a by-law", tax, nil, present, ConsentMissing, ""},
		{"tax by a by-law with consent", func(f *Fields) { tax(f); f.Consent = true }, nil, present, 0, "B1"},
		{"violation on the affair", nil, func(f *Facts) {
			f.Violations = scope.NewViolations([]scope.Violation{violation(t, "13101", "国民健康保険の給付")})
		}, present, InquirerViolation, "S1"},
		{"violation on the information", nil, func(f *Facts) {
			f.Violations = scope.NewViolations([]scope.Violation{violation(t, "KENPO-1", "医療保険給付関係情報")})
		}, present, ProviderViolation, "S1"},
		{"violation of the whole provider", nil, func(f *Facts) {
			f.Violations = scope.NewViolations([]scope.Violation{violation(t, "KENPO-1", "")})
		}, present, ProviderViolation, "S1"},
		{"violation on another file", nil, func(f *Facts) {
			f.Violations = scope.NewViolations([]scope.Violation{violation(t, "13101", "医療費の助成"), violation(t, "KENPO-1", "国民健康保険の給付")})
		}, present, 0, "S1"},
		{"person unknown", nil, nil, PersonFacts{}, UnknownPerson, "S1"},
		{"provider has no symbol", nil, nil, PersonFacts{Known: true}, ProviderHasNoSymbol, "S1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := facts(t)
			if c.facts != nil {
				c.facts(&f)
			}
			d := Decide(request(t, c.ask), f, c.person, today)
			if d.Refusal() != c.want || d.Permitted() != (c.want == 0) || d.RuleID() != c.rule || d.RuleSet() != f.Rules.Hash() {
				t.Errorf("refusal %v by %q, permitted %v", d.Refusal(), d.RuleID(), d.Permitted())
			}
			if d.Article21() != slices.Contains([]Reason{OutOfScope, ConsentMissing, InquirerViolation, ProviderViolation}, c.want) {
				t.Errorf("Act 21(2): %v", d.Article21())
			}
		})
	}
}

func TestTheZeroDecisionPermitsNothing(t *testing.T) {
	if (Decision{}).Permitted() || (Decision{}).WithPerson(present).Permitted() {
		t.Error("permitted")
	}
}

// What makes an inquiry fail, for one reason at a time.
var spoilers = map[Reason]func(testing.TB, *Fields, *Facts, *PersonFacts){
	UnknownInquirer:   func(_ testing.TB, _ *Fields, f *Facts, _ *PersonFacts) { f.Inquirer = agency.Agency{} },
	SuspendedInquirer: func(t testing.TB, _ *Fields, f *Facts, _ *PersonFacts) { suspend(t, &f.Inquirer) },
	UnknownProvider:   func(_ testing.TB, _ *Fields, f *Facts, _ *PersonFacts) { f.Provider = agency.Agency{} },
	SuspendedProvider: func(t testing.TB, _ *Fields, f *Facts, _ *PersonFacts) { suspend(t, &f.Provider) },
	OutOfScope:        func(_ testing.TB, r *Fields, _ *Facts, _ *PersonFacts) { r.Information = "噂" },
	ConsentMissing: func(_ testing.TB, r *Fields, _ *Facts, _ *PersonFacts) {
		r.Affair, r.Information = "医療費の助成", scope.LocalTax
	},
	InquirerViolation:   func(t testing.TB, _ *Fields, f *Facts, _ *PersonFacts) { bar(t, f, "13101") },
	ProviderViolation:   func(t testing.TB, _ *Fields, f *Facts, _ *PersonFacts) { bar(t, f, "KENPO-1") },
	UnknownPerson:       func(_ testing.TB, _ *Fields, _ *Facts, p *PersonFacts) { p.Known = false },
	ProviderHasNoSymbol: func(_ testing.TB, _ *Fields, _ *Facts, p *PersonFacts) { p.ProviderHasSymbol = false },
}

func suspend(t testing.TB, a *agency.Agency) {
	if !a.IsZero() {
		*a = must[agency.Agency](t)(a.WithStatus(agency.Suspended))
	}
}

func bar(t testing.TB, f *Facts, code string) {
	var list []scope.Violation
	for _, c := range []string{"13101", "KENPO-1"} {
		a := must[agency.Code](t)(agency.ParseCode(c))
		if v, barred := f.Violations.Of(a, "", today); barred {
			list = append(list, v)
		}
	}
	f.Violations = scope.NewViolations(append(list, violation(t, code, "")))
}

func TestOfSeveralReasonsTheFirstIsTold(t *testing.T) {
	if len(spoilers) != len(Reasons()) {
		t.Fatal("a reason has no spoiler")
	}
	rapid.Check(t, func(r *rapid.T) {
		var applied []Reason
		ask, f, p := fields(t), facts(t), present
		for _, reason := range rapid.Permutation(Reasons()).Draw(r, "order") {
			if rapid.Bool().Draw(r, reason.Code()) {
				applied = append(applied, reason)
				spoilers[reason](t, &ask, &f, &p)
			}
		}
		if slices.Contains(applied, OutOfScope) { // whichever came last: no rule covers it
			ask.Information = "噂"
		}
		var want Reason
		if len(applied) > 0 {
			want = slices.Min(applied)
		}
		if got := Decide(must[Request](t)(NewRequest(ask)), f, p, today).Refusal(); got != want {
			r.Fatalf("%v apply, told %v, want %v", applied, got, want)
		}
	})
}

// An inquirer that may not ask must get the same answer whoever the person is.
func TestARefusalOnTheLawTellsNothingOfThePerson(t *testing.T) {
	for _, reason := range Reasons() {
		if reason >= UnknownPerson {
			continue
		}
		ask, f, p := fields(t), facts(t), present
		spoilers[reason](t, &ask, &f, &p)
		r := must[Request](t)(NewRequest(ask))
		want := Screen(r, f, today)
		for _, p := range []PersonFacts{{}, {Known: true}, {ProviderHasSymbol: true}, present} {
			if got := Decide(r, f, p, today); got != want || got.Refusal() != reason {
				t.Errorf("%v: the person shows: %v", reason, got.Refusal())
			}
		}
	}
}

func TestReasonsHaveCodesTermsAndDays(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		if r.Code() == "" || r.Term() == "" || r.Explanation() == "" || seen[r.Code()] || seen[r.Term()] {
			t.Errorf("reason %d: %q, %q, %q", r, r.Code(), r.Term(), r.Explanation())
		}
		seen[r.Code()], seen[r.Term()] = true, true
		if got, err := ParseReason(r.Code()); got != r || err != nil {
			t.Errorf("%q reads back as %v, %v", r.Code(), got, err)
		}
		if !r.Holds(today) || r.Holds(calendar.Of(2015, time.January, 1)) {
			t.Errorf("%v holds on wrong days", r)
		}
	}
	if _, err := ParseReason("because"); err == nil {
		t.Error("unknown code read")
	}
	if ConsentMissing.Holds(calendar.Of(2021, time.August, 31)) || Reason(99).Holds(today) {
		t.Error("a reason is given before its law")
	}
}
