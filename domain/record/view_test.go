package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiroku/domain/inquiry"
)

func shown(t testing.TB, records []ProvisionRecord) string {
	return string(must[[]byte](t)(json.Marshal(PersonView(records))))
}

func TestAPersonSeesOneEntryForEachInquiry(t *testing.T) {
	got := shown(t, []ProvisionRecord{record(t, provided(t)), record(t, request(t))})
	var entries []PersonEntry
	if err := json.Unmarshal([]byte(got), &entries); err != nil || len(entries) != 1 {
		t.Fatalf("%s, want one entry", got)
	}
	e := entries[0]
	if e.Inquirer != "架空市長" || e.Provider != "架空健康保険組合" || e.Department != "保険年金課" || !e.RequestedAt.Equal(requested) ||
		e.ProvidedAt == nil || !e.ProvidedAt.Equal(requested.Add(time.Hour)) || !slices.Equal(e.Items, []string{"支給額"}) ||
		e.Number != (inquiry.ProcessingNumber{1, 2, 3}).String() || e.Amendment != "" || e.Article21 {
		t.Errorf("entry %+v", e)
	}
}

func TestNoRecordsAreAnEmptyList(t *testing.T) {
	if got := shown(t, nil); got != "[]" {
		t.Errorf("%s", got)
	}
	if got := must[[]byte](t)(json.Marshal(CommissionView(nil))); string(got) != "[]" {
		t.Errorf("%s", got)
	}
}

// Without a provision all entries look alike, so that one whose provision is
// withheld is one among many.
func TestAWithheldProvisionLooksLikeAnyInquiryThatWasNotAnswered(t *testing.T) {
	base := request(t)
	unanswered := shown(t, []ProvisionRecord{record(t, base)})
	withheld := provided(t)
	withheld.ProvisionNonDisclosed = true
	nothing, cannot, lapsed := base, base, base
	nothing.Fact, cannot.Fact, lapsed.Fact = NotProvided, NotProvided, Lapsed
	cannot.ProvisionNonDisclosed = true
	for name, answer := range map[string]Fields{"withheld": withheld, "no information": nothing, "cannot provide, withheld": cannot, "lapsed": lapsed} {
		if got := shown(t, []ProvisionRecord{record(t, base), record(t, answer)}); got != unanswered {
			t.Errorf("%s is shown as %s, unanswered as %s", name, got, unanswered)
		}
	}
}

// The record of the request ends first. From then on an entry without a visible
// provision is gone, whatever is still kept of its inquiry.
func TestAWithheldProvisionDisappearsWithItsRequest(t *testing.T) {
	withheld, lapsed := provided(t), request(t)
	withheld.ProvisionNonDisclosed = true
	lapsed.Fact = Lapsed
	for name, f := range map[string]Fields{"withheld": withheld, "lapsed": lapsed} {
		if got := shown(t, []ProvisionRecord{record(t, f)}); got != "[]" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := PersonView([]ProvisionRecord{record(t, provided(t))}); len(got) != 1 {
		t.Error("a provision that may be seen is gone with its request")
	}
}

func TestALiftedNonDisclosureIsAsIfItHadNeverBeen(t *testing.T) {
	never := shown(t, []ProvisionRecord{record(t, request(t)), record(t, provided(t))})
	f, g := request(t), provided(t)
	f.RequestNonDisclosed, g.RequestNonDisclosed = true, true
	hidden := []ProvisionRecord{record(t, f), record(t, g)}
	if got := shown(t, hidden); got != "[]" {
		t.Errorf("withheld: %s", got)
	}
	lifted := must[ProvisionRecord](t)(hidden[1].Amend(Amendment{At: requested.AddDate(1, 0, 0), Changes: Changes{RequestNonDisclosed: ptr(false)}}))
	if got := shown(t, append(hidden, lifted)); got != never {
		t.Errorf("lifted: %s, never withheld: %s", got, never)
	}
}

func TestACorrectionBesideAWithheldProvisionIsSeenOnItsOwnBranch(t *testing.T) {
	later := requested.AddDate(0, 1, 0)
	ask, answer := record(t, request(t)), provided(t)
	answer.ProvisionNonDisclosed = true
	correct := Changes{Procedure: ptr("療養費の支給")}
	visible := must[ProvisionRecord](t)(ask.Amend(Amendment{After: 0, At: later, Reason: "誤記", Changes: correct}))
	full := must[ProvisionRecord](t)(record(t, answer).Amend(Amendment{After: 1, At: later, Reason: "誤記", Changes: correct}))
	got := shown(t, []ProvisionRecord{full, visible, record(t, answer), ask})
	if want := shown(t, []ProvisionRecord{ask, visible}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTheCommissionSeesEverything(t *testing.T) {
	f, g := request(t), provided(t)
	f.RequestNonDisclosed, g.RequestNonDisclosed, g.ProvisionNonDisclosed = true, true, true
	v := CommissionView([]ProvisionRecord{record(t, g), record(t, f)})
	if len(v) != 2 || v[0].Fact != "requested" || v[1].Fact != "provided" || !v[1].RequestNonDisclosed || !v[1].ProvisionNonDisclosed ||
		v[1].InquirerCode != "13101" || v[1].ProvidedAt == nil || v[1].Branch != "000" {
		t.Errorf("view %+v", v)
	}
}

// life is one inquiry as it may come about: its records, and those of them that
// would exist had what is withheld never been.
type life struct{ all, unwithheld []ProvisionRecord }

func drawLife(t *testing.T, r *rapid.T, i int) life {
	f := request(t)
	f.Number = inquiry.ProcessingNumber{byte(rapid.IntRange(0, 255).Draw(r, "number")), byte(i), 1}
	f.RequestedAt = requested.Add(time.Duration(rapid.IntRange(0, 5).Draw(r, "hour")) * time.Hour)
	f.RecordedAt = f.RequestedAt
	f.Procedure = fmt.Sprintf("手続%d", rapid.IntRange(0, 3).Draw(r, "procedure"))
	hideRequest := rapid.Bool().Draw(r, "withhold the request")
	f.RequestNonDisclosed = hideRequest
	if rapid.IntRange(0, 9).Draw(r, "refused") == 0 {
		f.Fact = Refused
	}
	var l life
	add := func(rec ProvisionRecord, hidden bool) {
		l.all = append(l.all, rec)
		if !hidden {
			l.unwithheld = append(l.unwithheld, rec)
		}
	}
	latest, branch := record(t, f), inquiry.BranchNumber(0)
	add(latest, hideRequest)
	amend := func(hidden bool) {
		if !rapid.Bool().Draw(r, "amend") {
			return
		}
		a := Amendment{After: branch, At: f.RecordedAt.Add(time.Hour), Reason: "誤記", Changes: Changes{Affair: ptr(fmt.Sprintf("事務%d", branch))}}
		latest = must[ProvisionRecord](t)(latest.Amend(a))
		branch = latest.Branch()
		add(latest, hidden)
	}
	amend(hideRequest)
	if f.Fact == Refused {
		return l
	}
	answer := latest.Fields()
	answer.RecordedAt = answer.RecordedAt.Add(time.Hour)
	answer.Fact = rapid.SampledFrom([]Fact{Requested, Provided, NotProvided, Lapsed}).Draw(r, "answer")
	hideProvision := (answer.Fact == Provided || answer.Fact == NotProvided) && rapid.Bool().Draw(r, "withhold the provision")
	answer.ProvisionNonDisclosed = hideProvision
	switch answer.Fact {
	case Requested: // still open
		return l
	case Provided:
		answer.ProvidedAt, answer.Items = answer.RecordedAt, answer.Items[:1]
	}
	latest = record(t, answer)
	add(latest, hideRequest || hideProvision)
	amend(hideRequest || hideProvision)
	return l
}

func TestWhatIsWithheldCannotBeInferred(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var all, unwithheld []ProvisionRecord
		for i := range rapid.IntRange(0, 8).Draw(r, "inquiries") {
			l := drawLife(t, r, i)
			all, unwithheld = append(all, l.all...), append(unwithheld, l.unwithheld...)
		}
		got := []byte(shown(t, rapid.Permutation(all).Draw(r, "order")))
		want := []byte(shown(t, unwithheld))
		if !bytes.Equal(got, want) {
			r.Fatalf("shown:\n%s\nhad it never been:\n%s", got, want)
		}
		if c := CommissionView(all); len(c) != len(all) {
			r.Fatalf("the commission sees %d records of %d", len(c), len(all))
		}
	})
}
