package page_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kiroku/adapters/clickhouse"
	"kiroku/cmd/kiroku/internal/page"
)

var title = regexp.MustCompile(`<title>([^<]*)</title>`)

// drawn are the labels of a report's chart in the order of its bars.
func drawn(name string, columns []string, rows [][]any) (labels []string) {
	s := page.Section{Report: clickhouse.Report{Name: name}}
	for _, c := range columns {
		s.Table.Columns = append(s.Table.Columns, clickhouse.Column{Name: c})
	}
	s.Table.Rows = rows
	for _, found := range title.FindAllStringSubmatch(string(s.Chart()), -1) {
		labels = append(labels, found[1])
	}
	return labels
}

// What follows each other in time is drawn in that order, also where there is too much of it.
func TestTimeStaysInOrder(t *testing.T) {
	var rows [][]any
	for i := range 84 {
		rows = append(rows, []any{fmt.Sprintf("%d-%02d-01", 2020+i/12, 1+i%12), uint64(i * 7 % 50)})
	}
	labels := drawn("by_month", []string{"month", "exchanges"}, rows)
	if !slices.IsSorted(labels) || len(labels) < 12 || labels[len(labels)-1] != "2026-12-01" {
		t.Errorf("the months are drawn as %s", strings.Join(labels, ", "))
	}
}

// Of other things the greatest are drawn.
func TestTheGreatestAreDrawn(t *testing.T) {
	var rows [][]any
	for i := range 84 {
		rows = append(rows, []any{fmt.Sprint("事務", i), "情報", uint64(i)})
	}
	labels := drawn("by_affair", []string{"affair", "information", "exchanges"}, rows)
	if len(labels) == 0 || labels[0] != "事務83 情報" {
		t.Errorf("the affairs are drawn as %s", strings.Join(labels, ", "))
	}
}

// Nothing that a name holds becomes part of the page's markup.
func TestNamesAreNoMarkup(t *testing.T) {
	p := page.Page{Sections: []page.Section{{Report: clickhouse.Report{Name: "by_agency"}, Table: clickhouse.Table{
		Columns: []clickhouse.Column{{Name: "agency"}, {Name: "name"}, {Name: "inquiries"}},
		Rows:    [][]any{{"A-1", `</title><script>alert("&")</script>`, uint64(1)}},
	}}}}
	text, err := p.HTML()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "<script") {
		t.Errorf("the page holds a script:\n%s", text)
	}
}

// Of too many rows the newest or the greatest are printed, and the page says which.
func TestWhichRowsArePrinted(t *testing.T) {
	for name, c := range map[string]struct {
		columns     []string
		first, last uint64
	}{
		"hourly_peaks": {[]string{"peak", "in_peak"}, 300, 499},
		"by_agency":    {[]string{"agency", "inquiries"}, 300, 499},
	} {
		s := page.Section{Report: clickhouse.Report{Name: name}}
		for _, column := range c.columns {
			s.Table.Columns = append(s.Table.Columns, clickhouse.Column{Name: column})
		}
		for i := range uint64(500) {
			s.Table.Rows = append(s.Table.Rows, []any{fmt.Sprintf("%04d", i), i})
		}
		printed := s.Printed()
		if printed[0][1] != c.first || printed[len(printed)-1][1] != c.last || !strings.Contains(s.Which(), "500") {
			t.Errorf("%s prints %v to %v: %s", name, printed[0], printed[len(printed)-1], s.Which())
		}
	}
}

// A page says whether it may be published; figures are written in threes, codes with their terms, labels to their ends.
func TestHowThePageReads(t *testing.T) {
	long := strings.Repeat("長い名前の", 12) + "終"
	p := page.Page{Sections: []page.Section{
		{Report: clickhouse.Report{Name: "by_outcome"}, Table: clickhouse.Table{
			Columns: []clickhouse.Column{{Name: "outcome"}, {Name: "refusal_reason"}, {Name: "exchanges"}},
			Rows:    [][]any{{"refused", "out-of-scope", uint64(1234567)}},
		}},
		{Report: clickhouse.Report{Name: "by_affair"}, Table: clickhouse.Table{
			Columns: []clickhouse.Column{{Name: "affair"}, {Name: "information"}, {Name: "exchanges"}}, Rows: [][]any{{long, "i", uint64(1)}},
		}},
		{Report: clickhouse.Report{Name: "published_by_outcome", Public: true}, Why: clickhouse.WhyNothing("published_by_outcome")},
	}}
	text, err := p.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Not for publication", "1,234,567", "不媒介 refused", `<th class="n">exchanges`, ">500,000<", "months that are over"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	drawn := ""
	for _, found := range regexp.MustCompile(`text-anchor="end">([^<]*)</text>`).FindAllStringSubmatch(string(text), -1) {
		drawn += found[1]
	}
	if !strings.Contains(drawn, long) {
		t.Errorf("of the label %s is drawn %s", long, drawn)
	}
	p.Public = true
	if text, err = p.HTML(); err != nil || strings.Contains(string(text), "Not for publication") {
		t.Errorf("a page for publication says that it is none, %v", err)
	}
}
