package main

import (
	"context"
	"fmt"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/datadir"
	"kiroku/cmd/kiroku/internal/page"
	"kiroku/domain/calendar"
)

// statsReportCmd is kiroku stats report.
type statsReportCmd struct {
	Out    string `required:"" placeholder:"FILE" help:"The page, HTML."`
	Public bool   `help:"Only the reports for publication."`
	period
}

// Help teaches.
func (statsReportCmd) Help() string {
	return `Writes the reports as one page of HTML with charts and tables. The page needs no network and prints on A4. Reports for publication, which keep small counts back, come last and are marked; the others are exact and for official use, and the page says that it is not to be published. With --public it holds the reports for publication alone.

Examples:

    kiroku stats report --from 2026-04-01 --to 2027-03-31 --out report.html
    kiroku stats report --from 2026-04-01 --to 2027-03-31 --public --out published.html`
}

// Run writes.
func (cmd statsReportCmd) Run(c *call) error {
	from, to, err := cmd.days()
	if err != nil {
		return err
	}
	written := page.Page{From: from, To: to, Made: time.Now().In(calendar.JST), Public: cmd.Public}
	err = c.withStatistics(func(ctx context.Context, db *clickhouse.DB) error {
		for _, r := range clickhouse.Reports() {
			if cmd.Public && !r.Public {
				continue
			}
			table, err := db.Report(ctx, r.Name, from, to)
			if err != nil {
				return asking(err)
			}
			written.Sections = append(written.Sections, page.Section{Report: r, Table: table, Why: clickhouse.WhyNothing(r.Name)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	text, err := written.HTML()
	if err != nil {
		return err
	}
	if err := datadir.WritePublic(cmd.Out, text); err != nil {
		return err
	}
	return c.print(map[string]any{"file": cmd.Out, "reports": len(written.Sections)}, fmt.Sprintf("%d reports written to %s", len(written.Sections), cmd.Out))
}
