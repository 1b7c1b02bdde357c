package scope

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiroku/domain/agency"
	"kiroku/domain/calendar"
)

var start = calendar.Of(2024, time.May, 27)

func mustSet(t testing.TB, rows ...Row) Set {
	t.Helper()
	var rules []Rule
	for _, r := range rows {
		rule, err := ParseRow(r)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule)
	}
	s, problems := NewSet(rules)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

func TestDecide(t *testing.T) {
	s := mustSet(t,
		Row{"Z9", "市町村長", "給付", "医療保険者", "情報", statute, "2024-05-27", "2025-03-31"},
		Row{"A2", "市町村長", "給付", "医療保険者", "情報", statute, "2025-06-01", ""},
		Row{"A1", "医療保険者", "給付", "医療保険者", "情報", statute, "2024-05-27", ""},
		Row{"A0", "架空市の条例事務", "給付", "医療保険者", "情報", byLaw, "2024-06-01", ""},
		Row{"T1", "架空市の条例事務", "助成", "市町村長", LocalTax, byLaw, "2024-06-01", ""},
		Row{"T2", "市町村長", "助成", "市町村長", LocalTax, statute, "2026-01-01", ""},
	)
	for _, c := range []struct {
		name                  string
		inquirer              string
		affair                string
		provider, information string
		consent               bool
		day, rule             string
		want                  Verdict
	}{
		{"first day", "市町村長", "給付", "医療保険者", "情報", false, "2024-05-27", "Z9", Permitted},
		{"day before", "市町村長", "給付", "医療保険者", "情報", false, "2024-05-26", "", OutOfScope},
		{"last day", "市町村長", "給付", "医療保険者", "情報", false, "2025-03-31", "Z9", Permitted},
		{"in the gap", "市町村長", "給付", "医療保険者", "情報", false, "2025-04-01", "", OutOfScope},
		{"next rule", "市町村長", "給付", "医療保険者", "情報", false, "2030-01-01", "A2", Permitted},
		{"two classes: the smaller id", "市町村長,医療保険者", "給付", "法務大臣,医療保険者", "情報", false, "2024-05-27", "A1", Permitted},
		{"the statute before a by-law", "架空市の条例事務,市町村長", "給付", "医療保険者", "情報", false, "2024-06-01", "Z9", Permitted},
		{"by-law where the statute has a gap", "架空市の条例事務,市町村長", "給付", "医療保険者", "情報", false, "2025-05-01", "A0", Permitted},
		{"unknown affair", "市町村長", "趣味", "医療保険者", "情報", false, "2024-05-27", "", OutOfScope},
		{"unknown information", "市町村長", "給付", "医療保険者", "噂", false, "2024-05-27", "", OutOfScope},
		{"affair in the place of information", "市町村長", "情報", "医療保険者", "給付", false, "2024-05-27", "", OutOfScope},
		{"sides exchanged", "医療保険者", "助成", "市町村長", LocalTax, true, "2026-05-27", "", OutOfScope},
		{"no class", "", "給付", "医療保険者", "情報", false, "2024-05-27", "", OutOfScope},
		{"local tax without consent", "架空市の条例事務", "助成", "市町村長", LocalTax, false, "2024-06-01", "T1", ConsentMissing},
		{"local tax with consent", "架空市の条例事務", "助成", "市町村長", LocalTax, true, "2024-06-01", "T1", Permitted},
		{"consent is not needed where the statute permits", "架空市の条例事務,市町村長", "助成", "市町村長", LocalTax, false, "2026-01-01", "T2", Permitted},
	} {
		t.Run(c.name, func(t *testing.T) {
			rule, got := s.Decide(Tuple{classes(t, c.inquirer), c.affair, classes(t, c.provider), c.information, c.consent}, day(t, c.day))
			if got != c.want || rule.ID != c.rule {
				t.Errorf("verdict %d by %q, want %d by %q", got, rule.ID, c.want, c.rule)
			}
		})
	}
}

func classes(t testing.TB, list string) (out []agency.Class) {
	for s := range strings.SplitSeq(list, ",") {
		if s != "" {
			out = append(out, class(t, s))
		}
	}
	return out
}

func day(t testing.TB, s string) calendar.Day {
	t.Helper()
	d, err := calendar.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheEmptySetPermitsNothingAndHasAHash(t *testing.T) {
	empty, problems := NewSet(nil)
	if len(problems) > 0 || empty.Hash() != (Set{}).Hash() || (Set{}).Hash() == (Hash{}) {
		t.Errorf("hashes %x and %x, problems %v", empty.Hash(), Set{}.Hash(), problems)
	}
	if _, v := (Set{}).Decide(Tuple{}, start); v != OutOfScope {
		t.Errorf("verdict %d", v)
	}
}

// The hash names rule sets in records that are kept for years: it may not
// change with the program.
func TestTheHashIsFixed(t *testing.T) {
	s := mustSet(t, Row{"A1", "市町村長", "給付", "医療保険者", "情報", statute, "2024-05-27", ""})
	h := s.Hash()
	const want = "1e1ff43fb9b57346fc7f1825d31b99cac75671f158027418814a5a63cbd133ea"
	if got := hex.EncodeToString(h[:]); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

func TestNewSetRefusesWhatParseRowDidNotMake(t *testing.T) {
	if _, p := NewSet([]Rule{{}}); len(p) != 1 {
		t.Errorf("problems %v", p)
	}
}

// some draws rules over few names, so that classes, affairs and days collide.
func some(t *rapid.T) []Rule {
	var rules []Rule
	n := rapid.IntRange(0, 30).Draw(t, "rules")
	for i := range n {
		r := Row{
			ID:            fmt.Sprintf("R%d", rapid.IntRange(0, 99).Draw(t, "id")),
			InquirerClass: rapid.SampledFrom(names).Draw(t, "inquirer"),
			Affair:        rapid.SampledFrom(names).Draw(t, "affair"),
			ProviderClass: rapid.SampledFrom(names).Draw(t, "provider"),
			Information:   rapid.SampledFrom([]string{"甲", "乙", LocalTax}).Draw(t, "information"),
			LegalBasis:    rapid.SampledFrom([]string{statute, byLaw}).Draw(t, "basis"),
			ValidFrom:     start.AddDays(5 + rapid.IntRange(0, 20).Draw(t, "from")).String(),
		}
		if rapid.Bool().Draw(t, "ends") {
			r.ValidTo = start.AddDays(25 + rapid.IntRange(0, 20).Draw(t, "to")).String()
		}
		rule, err := ParseRow(r)
		if err != nil {
			t.Fatalf("rule %d: %v", i, err)
		}
		if _, p := NewSet(append(slices.Clone(rules), rule)); len(p) == 0 {
			rules = append(rules, rule)
		}
	}
	return rules
}

var names = []string{"甲", "乙", "丙"}

func TestDecideIsWhatReadingAllRulesWouldSay(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rules := some(r)
		s, _ := NewSet(rules)
		q := Tuple{
			InquirerClasses: drawClasses(t, r, "asks"),
			Affair:          rapid.SampledFrom(names).Draw(r, "for"),
			ProviderClasses: drawClasses(t, r, "asked"),
			Information:     rapid.SampledFrom([]string{"甲", "乙", LocalTax}).Draw(r, "what"),
			Consent:         rapid.Bool().Draw(r, "consent"),
		}
		on := start.AddDays(rapid.IntRange(0, 50).Draw(r, "on"))
		wantID, want := "", OutOfScope
		var best Rule
		for _, rule := range rules {
			if !rule.Holds(on) || rule.Affair != q.Affair || rule.Information != q.Information ||
				!slices.Contains(q.InquirerClasses, rule.InquirerClass) || !slices.Contains(q.ProviderClasses, rule.ProviderClass) {
				continue
			}
			v := Permitted
			if rule.Kind() == ByLaw && rule.Information == LocalTax && !q.Consent {
				v = ConsentMissing
			}
			better := rule.Kind() < best.Kind() || rule.Kind() == best.Kind() && rule.ID < best.ID
			if v > want || v == want && better {
				wantID, want, best = rule.ID, v, rule
			}
		}
		if rule, got := s.Decide(q, on); got != want || rule.ID != wantID {
			r.Fatalf("verdict %d by %q, want %d by %q", got, rule.ID, want, wantID)
		}
	})
}

func drawClasses(t *testing.T, r *rapid.T, label string) (out []agency.Class) {
	for _, n := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 3).Draw(r, label) {
		out = append(out, class(t, n))
	}
	return out
}

func TestEqualSetsHaveEqualHashesWhateverTheOrder(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rules := some(r)
		a, _ := NewSet(rules)
		b, problems := NewSet(rapid.Permutation(rules).Draw(r, "order"))
		if len(problems) > 0 || a.Hash() != b.Hash() || !slices.EqualFunc(slices.Collect(a.All()), slices.Collect(b.All()), func(x, y Rule) bool { return x == y }) {
			r.Fatalf("another order gives another set: %v", problems)
		}
		if len(rules) == 0 {
			return
		}
		var file bytes.Buffer
		if err := WriteCSV(&file, a); err != nil {
			r.Fatal(err)
		}
		c, problems := ParseCSV(&file, Classes{})
		if len(problems) > 0 || c.Hash() != a.Hash() {
			r.Fatalf("written and read again: %v", problems)
		}
		if d, _ := NewSet(rules[1:]); d.Hash() == a.Hash() {
			r.Fatal("a rule less, and the same hash")
		}
	})
}

func TestViolations(t *testing.T) {
	code := func(s string) agency.Code {
		c, err := agency.ParseCode(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := code("A"), code("B")
	var list []Violation
	for _, v := range []Violation{
		{a, "給付", day(t, "2025-01-01"), day(t, "2025-01-31"), "未公表"},
		{b, "", day(t, "2025-01-10"), calendar.Day{}, "未実施"},
	} {
		v, err := NewViolation(v)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	set := NewViolations(list)
	for _, c := range []struct {
		agency    agency.Code
		file, day string
		want      string
	}{
		{a, "給付", "2024-12-31", ""},
		{a, "給付", "2025-01-01", "未公表"},
		{a, "給付", "2025-01-31", "未公表"},
		{a, "給付", "2025-02-01", ""},
		{a, "徴収", "2025-01-01", ""},
		{b, "徴収", "2025-01-09", ""},
		{b, "徴収", "2025-01-10", "未実施"},
		{b, "", "2099-01-10", "未実施"},
	} {
		if v, barred := set.Of(c.agency, c.file, day(t, c.day)); barred != (c.want != "") || v.Reason != c.want {
			t.Errorf("%v %s on %s: %v, want %q", c.agency, c.file, c.day, v, c.want)
		}
	}
	ended := list[1]
	ended.To = day(t, "2025-03-31")
	if v, barred := NewViolations(append(list, ended)).Of(b, "徴収", day(t, "2025-04-01")); barred {
		t.Errorf("ended, yet %v stands", v)
	}
	if _, barred := (Violations{}).Of(a, "給付", start); barred {
		t.Error("no violations bar something")
	}
	for _, bad := range []Violation{
		{agency.Code{}, "", start, calendar.Day{}, "r"},
		{a, "x\n", start, calendar.Day{}, "r"},
		{a, "", start, calendar.Day{}, ""},
		{a, "", calendar.Day{}, calendar.Day{}, "r"},
		{a, "", start, start.AddDays(-1), "r"},
	} {
		if _, err := NewViolation(bad); err == nil {
			t.Errorf("%+v passed", bad)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	var rows []Row
	for i := range 5000 {
		rows = append(rows, Row{fmt.Sprint("R", i), "市町村長", fmt.Sprint("事務", i/10), "医療保険者", fmt.Sprint("情報", i%10), statute, "2024-05-27", ""})
	}
	s := mustSet(b, rows...)
	q := Tuple{classes(b, "市町村長,医療保険者,法務大臣"), "事務77", classes(b, "医療保険者,法務大臣"), "情報7", false}
	for b.Loop() {
		if _, v := s.Decide(q, start); v != Permitted {
			b.Fatal(v)
		}
	}
}
