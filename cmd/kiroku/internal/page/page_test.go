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
