package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/datadir"
	"kiroku/cmd/kiroku/internal/config"
	"kiroku/domain/calendar"
)

// statsCmd is kiroku stats.
type statsCmd struct {
	List   statsListCmd   `cmd:"" help:"List the reports."`
	Show   statsShowCmd   `cmd:"" help:"Show a report."`
	SQL    statsSQLCmd    `cmd:"" name:"sql" help:"Ask a question of your own."`
	Report statsReportCmd `cmd:"" help:"Write the reports as one page to be printed."`
}

// engineWithin is how long a command waits for ClickHouse to answer.
const engineWithin = 30 * time.Second

// withStatistics runs work on the statistics as the analyst, on the embedded engine, which it starts where no core does,
// or on the server configured.
func (c *call) withStatistics(work func(context.Context, *clickhouse.DB) error) (err error) {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	kept, db, err := openClickHouse(c.ctx, settings, c.quiet(), io.Discard, true)
	if err != nil {
		return fmt.Errorf("opening the statistics: %w", err)
	}
	defer func() {
		err = errors.Join(err, db.Close())
		if kept != nil {
			err = errors.Join(err, kept.stop())
		}
	}()
	if err := answers(c.ctx, db); err != nil {
		if engine := kept.failure(c.ctx); engine != nil {
			err = fmt.Errorf("%s; if its library libchdb.so is broken, remove it and run ops/setup: %w", clickhouse.Text(engine), err)
		}
		return fmt.Errorf("opening the statistics: %w%s", err, ofCore(settings))
	}
	return work(c.ctx, db)
}

// ofCore says who runs the embedded engine where a core does.
func ofCore(settings config.Config) string {
	if settings.Statistics.Connection != config.Embedded {
		return ""
	}
	if held, err := datadir.Held(dir(settings).Run()); err != nil || !held {
		return ""
	}
	return "; the core that runs on this data directory starts it: its log says what is in the way"
}

// period is the days that a report is about.
type period struct {
	From string `placeholder:"YYYY-MM-DD" default:"2017-07-18" help:"First day; none: when exchange began."`
	To   string `placeholder:"YYYY-MM-DD" help:"Last day; none: today."`
}

func (p period) days() (from, to calendar.Day, err error) {
	if from, err = calendar.Parse(p.From); err != nil {
		return from, to, fmt.Errorf("--from: %w", err)
	}
	if p.To == "" {
		return from, calendar.DayOf(time.Now()), nil
	}
	if to, err = calendar.Parse(p.To); err != nil {
		return from, to, fmt.Errorf("--to: %w", err)
	}
	if to.Before(from) {
		return from, to, fmt.Errorf("the period from %s to %s has no day", from, to)
	}
	return from, to, nil
}

// statsListCmd is kiroku stats list.
type statsListCmd struct{}

// Help teaches.
func (statsListCmd) Help() string {
	return `Lists the reports: their names, what they tell, and which of them are for publication, where small counts are kept back.

Example:

    kiroku stats list`
}

// Run lists.
func (statsListCmd) Run(c *call) error {
	type report struct {
		Name   string `json:"name"`
		Title  string `json:"title"`
		About  string `json:"about"`
		Public bool   `json:"public"`
	}
	var all []report
	var text strings.Builder
	for _, r := range clickhouse.Reports() {
		all = append(all, report(r))
		fmt.Fprintf(&text, "%-22s %s\n%22s %s\n", r.Name, r.Title, "", r.About)
	}
	return c.print(map[string]any{"reports": all}, text.String())
}

// statsShowCmd is kiroku stats show.
type statsShowCmd struct {
	Name string `arg:"" name:"report" help:"As kiroku stats list names it."`
	period
}

// Help teaches.
func (statsShowCmd) Help() string {
	return `Shows a report for some days. An exchange counts on the Japanese calendar day on which it ended: provided, unanswerable, lapsed or refused. One that is still open does not count yet.

Examples:

    kiroku stats show by_affair --from 2026-04-01 --to 2026-06-30
    kiroku stats show never_used --json`
}

// Run shows.
func (cmd statsShowCmd) Run(c *call) error {
	from, to, err := cmd.days()
	if err != nil {
		return err
	}
	return c.withStatistics(func(ctx context.Context, db *clickhouse.DB) error {
		table, err := db.Report(ctx, cmd.Name, from, to)
		if err != nil {
			return asking(err)
		}
		if len(table.Rows) == 0 && !c.flags.JSON {
			return c.print(nil, "no rows. "+clickhouse.WhyNothing(cmd.Name))
		}
		return c.printTable(table)
	})
}

// statsSQLCmd is kiroku stats sql.
type statsSQLCmd struct {
	Statement string `arg:"" help:"One SELECT; quote it for the shell."`
}

// Help teaches.
func (statsSQLCmd) Help() string {
	return `Asks ClickHouse as the analyst, who may read the database statistics and nothing else. Its tables and columns are described: SELECT name, comment FROM system.tables WHERE database = 'statistics'.

Examples:

    kiroku stats sql "SELECT day, sum(exchanges) FROM statistics.exchanges_daily GROUP BY day ORDER BY day"
    kiroku stats sql --json "SHOW CREATE TABLE statistics.exchanges"`
}

// formatClause is FORMAT at the end of a statement.
var formatClause = regexp.MustCompile(`(?i)\sFORMAT\s+[A-Za-z]\w*\s*;?\s*$`)

// errFormat is why a statement is refused.
var errFormat = errors.New("FORMAT has no effect here: the answer is a table, or JSON with --json; leave it out")

// Run asks.
func (cmd statsSQLCmd) Run(c *call) error {
	if formatClause.MatchString(cmd.Statement) {
		return errFormat
	}
	return c.withStatistics(func(ctx context.Context, db *clickhouse.DB) error {
		table, err := db.Query(ctx, cmd.Statement)
		if err != nil {
			return asking(err)
		}
		return c.printTable(table)
	})
}

// asking says what a person can do about an error.
func asking(err error) error {
	if errors.Is(err, clickhouse.ErrNoReport) {
		return fmt.Errorf("%w; kiroku stats list names them", err)
	}
	if clickhouse.NothingThere(err) {
		return fmt.Errorf("asking the statistics: there is no such thing; if there are no statistics yet, kiroku serve fills them: %w", err)
	}
	return fmt.Errorf("asking the statistics: %w", err)
}

// printTable aligns the columns as a terminal shows them, where Japanese characters are twice as wide.
func (c *call) printTable(t clickhouse.Table) error {
	header := make([]any, len(t.Columns))
	for i, column := range t.Columns {
		header[i] = column.Name
	}
	var cells [][]string
	widest := make([]int, len(t.Columns))
	for _, row := range append([][]any{header}, t.Rows...) {
		line := make([]string, len(row))
		for i, value := range row {
			line[i] = clickhouse.Text(value)
			widest[i] = max(widest[i], clickhouse.Width(line[i]))
		}
		cells = append(cells, line)
	}
	var text strings.Builder
	for _, line := range cells {
		for i, cell := range line {
			text.WriteString(cell)
			if i < len(line)-1 {
				text.WriteString(strings.Repeat(" ", widest[i]-clickhouse.Width(cell)+2))
			}
		}
		text.WriteByte('\n')
	}
	return c.print(t, text.String())
}
