// Package page writes the statistics as one page of HTML that an official would print: charts drawn here as SVG, tables
// beside them, nothing fetched from anywhere.
package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/domain/calendar"
)

// Page is what is written.
type Page struct {
	From, To calendar.Day
	Made     time.Time
	Sections []Section
}

// Section is one report.
type Section struct {
	clickhouse.Report
	Table clickhouse.Table
}

// mostRows is how many rows of a table are printed; the rest is counted.
const mostRows = 60

//go:embed page.html
var source string

var layout = template.Must(template.New("page").Funcs(template.FuncMap{
	"text":  clickhouse.Text,
	"words": func(name string) string { return strings.ReplaceAll(name, "_", " ") }, // so that a long name can be broken
	"number": func(v any) bool {
		switch v.(type) {
		case uint8, uint16, uint32, uint64, int64, float64:
			return true
		}
		return false
	},
}).Parse(source))

// HTML returns the page.
func (p Page) HTML() ([]byte, error) {
	var b bytes.Buffer
	if err := layout.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("writing the page: %w", err)
	}
	return b.Bytes(), nil
}

// Printed are the rows that are printed.
func (s Section) Printed() [][]any { return s.Table.Rows[:min(len(s.Table.Rows), mostRows)] }

// Left is how many rows are not.
func (s Section) Left() int { return max(0, len(s.Table.Rows)-mostRows) }
