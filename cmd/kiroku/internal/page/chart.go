package page

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"kiroku/adapters/clickhouse"
)

// chart says which columns of a report are drawn: bars of one figure, beside labels.
type chart struct {
	labels []string // columns
	figure string   // column
	axis   string   // what the figure is
	inTime bool     // rows follow each other in time: they stay in that order, and of too many the newest are drawn
}

var charts = map[string]chart{
	"by_month":              {[]string{"month"}, "exchanges", "件数 exchanges", true},
	"by_agency":             {[]string{"agency", "name"}, "inquiries", "照会件数 inquiries", false},
	"by_affair":             {[]string{"affair", "information"}, "exchanges", "件数 exchanges", false},
	"by_outcome":            {[]string{"outcome", "refusal_reason"}, "exchanges", "件数 exchanges", false},
	"answer_times":          {[]string{"affair", "information"}, "p50", "中央値（秒） median, seconds", false},
	"hourly_peaks":          {[]string{"peak"}, "in_peak", "最多時間帯の照会件数 inquiries in the busiest hour", true},
	"hours_of_day":          {[]string{"hour_of_day"}, "inquiries", "照会件数 inquiries, by hour (JST)", false},
	"issuance_by_agency":    {[]string{"month", "agency", "name"}, "issued", "新規 symbols issued", false},
	"published_by_inquirer": {[]string{"month", "agency", "name"}, "exchanges", "件数 exchanges", false},
	"published_by_affair":   {[]string{"month", "affair", "information"}, "exchanges", "件数 exchanges", false},
	"published_by_outcome":  {[]string{"month", "outcome"}, "exchanges", "件数 exchanges", false},
	"published_issuance":    {[]string{"month", "agency", "result"}, "issuances", "件数 requests", false},
}

// Measures of a chart, in units of the drawing, which is as wide as the page.
const (
	width     = 760
	labelPart = 330 // for labels, on the left
	valuePart = 80  // for figures, on the right
	barHeight = 20
	mostBars  = 24
	most      = 28 // wide characters of a label
)

type bar struct {
	label string
	value float64
}

// Chart draws the report, or nothing where a drawing would say nothing.
func (s Section) Chart() template.HTML {
	c, ok := charts[s.Name]
	bars := c.bars(s.Table)
	if !ok || len(bars) == 0 {
		return ""
	}
	note := ""
	switch {
	case len(bars) <= mostBars:
	case c.inTime:
		note = fmt.Sprintf("（直近 %d / %d, the newest）", mostBars, len(bars))
		bars = bars[len(bars)-mostBars:]
	default:
		note = fmt.Sprintf("（上位 %d / %d, the greatest）", mostBars, len(bars))
		slices.SortStableFunc(bars, func(a, b bar) int { return int(b.value - a.value) })
		bars = bars[:mostBars]
	}
	return c.draw(bars, note)
}

func (c chart) bars(t clickhouse.Table) (bars []bar) {
	figure := at(t, c.figure)
	for _, row := range t.Rows {
		var labels []string
		for _, name := range c.labels {
			if i := at(t, name); i >= 0 && clickhouse.Text(row[i]) != "" {
				labels = append(labels, clickhouse.Text(row[i]))
			}
		}
		if figure >= 0 {
			bars = append(bars, bar{strings.Join(labels, " "), float(row[figure])})
		}
	}
	return bars
}

func at(t clickhouse.Table, name string) int {
	return slices.IndexFunc(t.Columns, func(c clickhouse.Column) bool { return c.Name == name })
}

func float(v any) float64 {
	switch n := v.(type) {
	case uint64:
		return float64(n)
	case uint32:
		return float64(n)
	case uint8:
		return float64(n)
	}
	return 0
}

func (c chart) draw(bars []bar, note string) template.HTML {
	greatest := 1.0
	for _, b := range bars {
		greatest = max(greatest, b.value)
	}
	top, room := 24, float64(width-labelPart-valuePart)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img"><text x="%d" y="14">%s</text>`,
		width, top+len(bars)*barHeight+6, labelPart, template.HTMLEscapeString(c.axis+note))
	for i, x := range bars {
		y := top + i*barHeight
		length := room * x.value / greatest
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end"><title>%s</title>%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="#1f4e79"/><text x="%.1f" y="%d">%.0f</text>`,
			labelPart-8, y+14, template.HTMLEscapeString(x.label), template.HTMLEscapeString(shorten(x.label)),
			labelPart, y+3, length, barHeight-6, float64(labelPart)+length+6, y+14, x.value)
	}
	fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#1a1a1a"/></svg>`, labelPart, top, labelPart, top+len(bars)*barHeight)
	return template.HTML(b.String()) //nolint:gosec // labels are escaped
}

// shorten leaves out the middle of a label that is too wide: names differ at both ends.
func shorten(label string) string {
	wide := 0
	for _, r := range label {
		wide += columns(r)
	}
	if wide <= 2*most {
		return label
	}
	letters := []rune(label)
	left, right, used := 0, len(letters), 2
	for left < right && used < 2*most-2 {
		if left <= len(letters)-right {
			used += columns(letters[left])
			left++
		} else {
			right--
			used += columns(letters[right])
		}
	}
	return string(letters[:left]) + "…" + string(letters[right:])
}

// columns is how wide a letter is: those of Japanese are twice as wide as Latin ones.
func columns(r rune) int {
	if r >= 0x1100 {
		return 2
	}
	return 1
}
