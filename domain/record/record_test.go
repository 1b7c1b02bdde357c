package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kiroku/domain/agency"
	"kiroku/domain/inquiry"
	"kiroku/domain/symbol"
)

var requested = time.Date(2026, time.April, 1, 1, 2, 3, 456789000, time.UTC)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func party(t testing.TB, code, name string) Party {
	return Party{must[agency.Code](t)(agency.ParseCode(code)), must[agency.Name](t)(agency.ParseName(name))}
}

// request is the record of a mediated inquiry.
func request(t testing.TB) Fields {
	return Fields{
		Fact: Requested, RecordedAt: requested.Add(time.Millisecond),
		Symbol:     symbol.RecordFromBlock([16]byte{7, 7, 7}),
		Number:     inquiry.ProcessingNumber{1, 2, 3},
		Affair:     "国民健康保険の給付",
		Procedure:  "高額療養費の支給",
		Inquirer:   party(t, "13101", "架空市長"),
		Department: must[agency.Department](t)(agency.ParseDepartment("保険年金課")),
		Provider:   party(t, "KENPO-1", "架空健康保険組合"),

		RequestedAt: requested,
		Information: "医療保険給付関係情報",
		Items:       []string{"給付の種類", "支給額"},
	}
}

// provided is the record of its provision.
func provided(t testing.TB) Fields {
	f := request(t)
	f.Fact, f.ProvidedAt, f.Items = Provided, requested.Add(time.Hour), []string{"支給額"}
	f.RecordedAt = requested.Add(time.Hour + time.Second)
	return f
}

func record(t testing.TB, f Fields) ProvisionRecord { return must[ProvisionRecord](t)(New(f)) }

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Fields)
		want   string
	}{
		{"no fact", func(f *Fields) { f.Fact = 0 }, "fact 0"},
		{"no number", func(f *Fields) { f.Number = inquiry.ProcessingNumber{} }, "no processing number"},
		{"branch too high", func(f *Fields) { f.Branch = 1000 }, "branch number 1000"},
		{"amendment on the first branch", func(f *Fields) { f.Fact, f.AmendmentReason = Amended, "誤記" }, "branch 000"},
		{"request on another branch", func(f *Fields) { f.Fact, f.Branch, f.AmendmentReason = Requested, 1, "誤記" }, "requested, on a branch"},
		{"amendment without a reason", func(f *Fields) { f.Fact, f.Branch = Amended, 1 }, "no amendment reason"},
		{"reason without an amendment", func(f *Fields) { f.AmendmentReason = "誤記" }, "branch 000 has an amendment reason"},
		{"no inquirer", func(f *Fields) { f.Inquirer = Party{} }, "agency code"},
		{"no name", func(f *Fields) { f.Provider.Name = agency.Name{} }, "no name"},
		{"no department", func(f *Fields) { f.Department = agency.Department{} }, "no department"},
		{"no affair", func(f *Fields) { f.Affair = "" }, "affair is empty"},
		{"long procedure", func(f *Fields) { f.Procedure = strings.Repeat("手", 501) }, "procedure has 501"},
		{"no information", func(f *Fields) { f.Information = "" }, "information name is empty"},
		{"long reason", func(f *Fields) { f.AmendmentReason = strings.Repeat("由", 501) }, "amendment reason has 501"},
		{"no items", func(f *Fields) { f.Items = nil }, "no information item"},
		{"no time of request", func(f *Fields) { f.RequestedAt = time.Time{} }, "no time"},
		{"recorded before", func(f *Fields) { f.RecordedAt = requested.Add(-time.Second) }, "before it was requested"},
		{"provided without a time", func(f *Fields) { f.ProvidedAt = time.Time{} }, "without a time of provision"},
		{"lapsed with a time", func(f *Fields) { f.Fact = Lapsed }, "with a time of provision"},
		{"provided before", func(f *Fields) { f.ProvidedAt = requested.Add(-time.Hour) }, "provided before"},
		{"withheld provision of none", func(f *Fields) { f.Fact, f.ProvidedAt, f.ProvisionNonDisclosed = Requested, time.Time{}, true }, "provision withheld"},
		{"Act 21(2), yet provided", func(f *Fields) { f.Article21 = true }, "yet provided"},
		{"Act 21(2), yet mediated", func(f *Fields) { f.Fact, f.ProvidedAt, f.Article21 = Requested, time.Time{}, true }, "yet requested"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := provided(t)
			c.change(&f)
			r, err := New(f)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !r.IsZero() {
				t.Errorf("New gives %v, want %q", err, c.want)
			}
		})
	}
}

func TestARefusedInquiryMayNameAnUnknownProvider(t *testing.T) {
	f := request(t)
	f.Fact, f.Provider.Name, f.Symbol, f.Article21 = Refused, agency.Name{}, symbol.Record{}, true
	r := record(t, f)
	if v := PersonView([]ProvisionRecord{r}); len(v) != 1 || v[0].Provider != "KENPO-1" || !v[0].Article21 {
		t.Errorf("view %+v", v)
	}
}

func TestTimesAreMicrosecondsInUTC(t *testing.T) {
	f := provided(t)
	jst := time.FixedZone("JST", 9*60*60)
	f.ProvidedAt = f.ProvidedAt.In(jst).Add(999)
	if got := record(t, f).Fields().ProvidedAt; got != requested.Add(time.Hour) {
		t.Errorf("time %v", got)
	}
}

func TestARecordDoesNotChangeUnderItsHolder(t *testing.T) {
	f := request(t)
	r := record(t, f)
	f.Items[0], r.Fields().Items[0], PersonView([]ProvisionRecord{r})[0].Items[0] = "別", "別", "別"
	if r.Fields().Items[0] != "給付の種類" {
		t.Errorf("items %v", r.Fields().Items)
	}
}

func TestNoFormShowsTheRecordSymbol(t *testing.T) {
	r := record(t, provided(t))
	j := must[[]byte](t)(json.Marshal(CommissionView([]ProvisionRecord{r})))
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %x", r, r, r.Fields(), r.Symbol()), string(j)} {
		for _, trace := range []string{"070707", "BwcH", "7 7 7", "7, 7, 7", "0x7, 0x7"} {
			if strings.Contains(s, trace) {
				t.Errorf("the symbol shows in %s", s)
			}
		}
	}
}

func TestFactOf(t *testing.T) {
	for s, want := range map[inquiry.State]Fact{
		inquiry.Notified: Requested, inquiry.Refused: Refused, inquiry.Provided: Provided,
		inquiry.NoSuchInformation: NotProvided, inquiry.CannotProvide: NotProvided, inquiry.Lapsed: Lapsed,
	} {
		if got, ok := FactOf(s); !ok || got != want {
			t.Errorf("%v makes %v", s, got)
		}
	}
	if _, ok := FactOf(inquiry.Undecided); ok {
		t.Error("an undecided inquiry makes a fact")
	}
}

func ptr[T any](v T) *T { return &v }

func TestAmend(t *testing.T) {
	later := requested.AddDate(0, 1, 0)
	withheld := provided(t)
	withheld.ProvisionNonDisclosed = true
	for _, c := range []struct {
		name string
		from Fields
		in   Amendment
		want error
		then func(Fields) bool
	}{
		{"time of provision", provided(t), Amendment{At: later, Reason: "誤記", Changes: Changes{ProvidedAt: ptr(requested.Add(time.Minute))}}, nil,
			func(f Fields) bool {
				return f.ProvidedAt == requested.Add(time.Minute) && f.AmendmentReason == "誤記"
			}},
		{"after other branches", provided(t), Amendment{After: 4, At: later, Reason: "誤記", Changes: Changes{Items: []string{"給付の種類"}}}, nil,
			func(f Fields) bool { return f.Branch == 5 && f.Items[0] == "給付の種類" }},
		{"withhold the provision", provided(t), Amendment{At: later, Reason: "不開示情報", Changes: Changes{ProvisionNonDisclosed: ptr(true)}}, nil,
			func(f Fields) bool { return f.ProvisionNonDisclosed }},
		{"lift", withheld, Amendment{At: later, Changes: Changes{ProvisionNonDisclosed: ptr(false)}}, nil,
			func(f Fields) bool { return !f.ProvisionNonDisclosed && f.AmendmentReason == LiftReason }},
		{"lift for another reason", withheld, Amendment{At: later, Reason: "気が変わった", Changes: Changes{ProvisionNonDisclosed: ptr(false)}}, ErrInvalid, nil},
		{"lift and correct", withheld, Amendment{At: later, Changes: Changes{ProvisionNonDisclosed: ptr(false), Affair: ptr("別")}}, ErrInvalid, nil},
		{"lift one and withhold the other", withheld, Amendment{At: later, Changes: Changes{ProvisionNonDisclosed: ptr(false), RequestNonDisclosed: ptr(true)}}, ErrInvalid, nil},
		{"the reason of a lift without one", provided(t), Amendment{At: later, Reason: LiftReason, Changes: Changes{Affair: ptr("別")}}, ErrInvalid, nil},
		{"nothing", provided(t), Amendment{At: later, Reason: "誤記"}, ErrUnchanged, nil},
		{"the same again", provided(t), Amendment{At: later, Reason: "誤記", Changes: Changes{Affair: ptr("国民健康保険の給付")}}, ErrUnchanged, nil},
		{"no reason", provided(t), Amendment{At: later, Changes: Changes{Affair: ptr("別")}}, ErrInvalid, nil},
		{"bad text", provided(t), Amendment{At: later, Reason: "誤記", Changes: Changes{Affair: ptr("別\n")}}, ErrInvalid, nil},
		{"before the request", provided(t), Amendment{At: requested.Add(-time.Hour), Reason: "誤記", Changes: Changes{Affair: ptr("別")}}, ErrInvalid, nil},
		{"a provision that was none", request(t), Amendment{At: later, Reason: "誤記", Changes: Changes{ProvidedAt: ptr(later)}}, ErrInvalid, nil},
		{"past the last branch", provided(t), Amendment{After: inquiry.MaxBranch, At: later, Reason: "誤記", Changes: Changes{Affair: ptr("別")}}, inquiry.ErrNumber, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := record(t, c.from)
			before := r.Fields()
			got, err := r.Amend(c.in)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if !same(r.f, before) || r.f.Branch != before.Branch || r.f.Fact != before.Fact {
				t.Error("the amended record itself changed")
			}
			if err != nil {
				return
			}
			f := got.Fields()
			if f.Fact != Amended || f.Branch != c.in.After+1 || f.Number != before.Number || f.Symbol != before.Symbol || !c.then(f) {
				t.Errorf("amended to %+v", f)
			}
		})
	}
}

func TestAmendmentsComeAfterTheBranchTheyAmend(t *testing.T) {
	later := requested.AddDate(0, 1, 0)
	r := record(t, provided(t))
	a := must[ProvisionRecord](t)(r.Amend(Amendment{At: later, Reason: "誤記", Changes: Changes{Affair: ptr("別")}}))
	if _, err := a.Amend(Amendment{After: 0, At: later, Reason: "誤記", Changes: Changes{Affair: ptr("他")}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("branch 001 twice: %v", err)
	}
	// an open inquiry was amended, then answered on that branch
	open := must[ProvisionRecord](t)(record(t, request(t)).Amend(Amendment{At: requested.Add(time.Minute), Reason: "誤記", Changes: Changes{Affair: ptr("別")}}))
	f := open.Fields()
	f.Fact, f.ProvidedAt, f.RecordedAt = Provided, requested.Add(time.Hour), requested.Add(time.Hour)
	v := PersonView([]ProvisionRecord{record(t, f), open, record(t, request(t))})
	if len(v) != 1 || v[0].ProvidedAt == nil || v[0].Affair != "別" || v[0].Amendment != "誤記" {
		t.Errorf("view %+v", v)
	}
}
