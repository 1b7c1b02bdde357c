// Package page writes the statistics as one page of HTML that an official would print: charts drawn here as SVG, tables
// beside them, nothing fetched from anywhere. A page for publication holds the reports for publication and nothing else.
package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/domain/calendar"
)

// Page is what is written.
type Page struct {
	From, To calendar.Day
	Made     time.Time
	Public   bool // all sections are for publication; otherwise the page says that it is not
	Sections []Section
}

// Section is one report.
type Section struct {
	clickhouse.Report
	Table clickhouse.Table
	Why   string // there are no rows; empty where that needs no explanation
}

// mostRows is how many rows of a table are printed; of more those that say most.
const mostRows = 200

//go:embed page.html
var source string

var layout = template.Must(template.New("page").Funcs(template.FuncMap{
	"words":  func(name string) string { return strings.ReplaceAll(name, "_", " ") }, // so that a long name can be broken
	"number": func(v any) bool { _, ok := figure(v); return ok },
}).Parse(source))

// HTML returns the page.
func (p Page) HTML() ([]byte, error) {
	var b bytes.Buffer
	if err := layout.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("writing the page: %w", err)
	}
	return b.Bytes(), nil
}

// Printed are the rows that are printed: all, or of too many the newest where they follow each other in time, else the
// greatest by the figure that is drawn, in the order of the report; where nothing is drawn, the first.
func (s Section) Printed() [][]any {
	rows := s.Table.Rows
	if len(rows) <= mostRows {
		return rows
	}
	switch c, drawn := charts[s.Name]; {
	case !drawn:
		return rows[:mostRows]
	case c.inTime:
		return rows[len(rows)-mostRows:]
	default:
		return greatest(rows, at(s.Table, c.figure))
	}
}

// greatest are the rows with the greatest figures, in the order in which they stood.
func greatest(rows [][]any, column int) [][]any {
	if column < 0 {
		return rows[:mostRows]
	}
	places := make([]int, len(rows))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int {
		left, _ := figure(rows[a][column])
		right, _ := figure(rows[b][column])
		return descending(left, right)
	})
	places = places[:mostRows]
	slices.Sort(places)
	printed := make([][]any, 0, mostRows)
	for _, i := range places {
		printed = append(printed, rows[i])
	}
	return printed
}

// Which says which rows are printed; empty: all.
func (s Section) Which() string {
	if len(s.Table.Rows) <= mostRows {
		return ""
	}
	c, drawn := charts[s.Name]
	japanese, english := "先頭", "the first"
	switch {
	case drawn && c.inTime:
		japanese, english = "直近", "the newest"
	case drawn:
		japanese, english = "上位", "the greatest"
	}
	return fmt.Sprintf("全 %d 行のうち%s %d 行 – %s %d of %d rows; all: kiroku stats show %s", len(s.Table.Rows), japanese, mostRows, english, mostRows, len(s.Table.Rows), s.Name)
}

// Numeric reports whether a column holds figures.
func (s Section) Numeric(column int) bool {
	for _, row := range s.Table.Rows {
		if row[column] != nil {
			_, ok := figure(row[column])
			return ok
		}
	}
	return false
}

// Cell is a value as it is printed: a code of an outcome or a refusal with the term of the law beside it.
func (s Section) Cell(column int, v any) string {
	text := cell(v)
	if term := clickhouse.Term(s.Table.Columns[column].Name, text); term != "" {
		return term + " " + text
	}
	return text
}
