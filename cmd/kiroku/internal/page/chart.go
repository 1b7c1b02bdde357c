package page

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"kiroku/adapters/clickhouse"
)

// chart says which columns of a report are drawn: bars of one figure, beside labels.
type chart struct {
	labels []string // columns
	of     string   // what the labels are
	figure string   // column
	axis   string   // what the figure is
	inTime bool     // rows follow each other in time: they stay in that order, and of too many the newest are drawn
}

var charts = map[string]chart{
	"by_month":              {[]string{"month"}, "月 month", "exchanges", "件数 exchanges", true},
	"by_agency":             {[]string{"agency", "name"}, "照会者 inquirer", "inquiries", "照会件数 inquiries", false},
	"by_affair":             {[]string{"affair", "information"}, "事務・特定個人情報 affair, information", "exchanges", "件数 exchanges", false},
	"by_outcome":            {[]string{"outcome", "refusal_reason"}, "結果・不媒介の理由 outcome, reason", "exchanges", "件数 exchanges", false},
	"answer_times":          {[]string{"affair", "information"}, "事務・特定個人情報 affair, information", "p50", "中央値（秒） median, seconds", false},
	"hourly_peaks":          {[]string{"peak"}, "最多時間帯 busiest hour", "in_peak", "最多時間帯の照会件数 inquiries in the busiest hour", true},
	"hours_of_day":          {[]string{"hour_of_day"}, "時 hour", "inquiries", "照会件数 inquiries, by hour (JST)", false},
	"issuance_by_agency":    {[]string{"month", "agency", "name"}, "月・機関 month, agency", "issued", "新規 symbols issued", false},
	"published_by_inquirer": {[]string{"month", "agency", "name"}, "月・照会者 month, inquirer", "exchanges", "件数 exchanges", false},
	"published_by_affair":   {[]string{"month", "affair", "information"}, "月・事務・特定個人情報 month, affair, information", "exchanges", "件数 exchanges", false},
	"published_by_outcome":  {[]string{"month", "outcome"}, "月・結果 month, outcome", "exchanges", "件数 exchanges", false},
	"published_issuance":    {[]string{"month", "agency", "result"}, "月・機関・結果 month, agency, result", "issuances", "件数 requests", false},
}

// Measures of a chart, in units of the drawing, which is as wide as the page.
const (
	width      = 760
	labelPart  = 330 // for labels, on the left
	valuePart  = 80  // for figures, on the right
	lineHeight = 15
	barHeight  = 12
	gap        = 8 // between two bars
	mostBars   = 24
	most       = 54 // Latin characters on a line of a label; a Japanese one counts for two
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
		slices.SortStableFunc(bars, func(a, b bar) int { return descending(a.value, b.value) })
		bars = bars[:mostBars]
	}
	return c.draw(bars, note)
}

func (c chart) bars(t clickhouse.Table) (bars []bar) {
	drawn := at(t, c.figure)
	if drawn < 0 {
		return nil
	}
	for _, row := range t.Rows {
		var labels []string
		for _, name := range c.labels {
			if i := at(t, name); i >= 0 && clickhouse.Text(row[i]) != "" {
				labels = append(labels, Section{Table: t}.Cell(i, row[i]))
			}
		}
		value, _ := figure(row[drawn])
		bars = append(bars, bar{strings.Join(labels, " "), value})
	}
	return bars
}

func at(t clickhouse.Table, name string) int {
	return slices.IndexFunc(t.Columns, func(c clickhouse.Column) bool { return c.Name == name })
}

func (c chart) draw(bars []bar, note string) template.HTML {
	var b strings.Builder
	top := 40
	end := top
	labels := make([][]string, len(bars))
	greatest := 1.0
	for i, x := range bars {
		labels[i] = lines(x.label)
		end += len(labels[i])*lineHeight + gap
		greatest = max(greatest, x.value)
	}
	room, mark := float64(width-labelPart-valuePart), step(greatest)
	scale := room / (mark * math.Ceil(greatest/mark))
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img"><text x="%d" y="14" text-anchor="end">%s</text><text x="%d" y="14">%s</text>`,
		width, end+8, labelPart-8, template.HTMLEscapeString(c.of), labelPart, template.HTMLEscapeString(c.axis+note))
	for value := 0.0; value*scale <= room+0.5; value += mark {
		x := labelPart + value*scale
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ccc"/><text x="%.1f" y="%d" text-anchor="middle" class="t">%s</text>`, x, top-4, x, end, x, top-8, cell(value))
	}
	y := top
	for i, x := range bars {
		height := len(labels[i]) * lineHeight
		length := x.value * scale
		fmt.Fprintf(&b, `<g><title>%s</title>`, template.HTMLEscapeString(x.label))
		for n, line := range labels[i] {
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelPart-8, y+n*lineHeight+14, template.HTMLEscapeString(line))
		}
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="#1f4e79"/><text x="%.1f" y="%d" class="v">%s</text></g>`,
			labelPart, y+(height-barHeight)/2+2, length, barHeight, labelPart+length+6, y+height/2+6, cell(x.value))
		y += height + gap
	}
	fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#1a1a1a"/></svg>`, labelPart, top-4, labelPart, end)
	return template.HTML(b.String()) //nolint:gosec // labels are escaped
}

// lines break a label that is too wide, at the last space or dot if there is one, else anywhere: Japanese has no spaces.
func lines(label string) (broken []string) {
	for clickhouse.Width(label) > most {
		letters := []rune(label)
		fits, wide, space := 0, 0, 0
		for i, r := range letters {
			if wide += clickhouse.Width(string(r)); wide > most {
				break
			}
			fits = i + 1
			if r == ' ' || r == '・' || r == '、' {
				space = i + 1
			}
		}
		if space > fits/2 {
			fits = space
		}
		broken = append(broken, strings.TrimSpace(string(letters[:fits])))
		label = string(letters[fits:])
	}
	return append(broken, strings.TrimSpace(label))
}
