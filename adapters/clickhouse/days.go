package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"kiroku/domain/calendar"
	"kiroku/domain/inquiry"
	"kiroku/projections/statistics"
)

// A day ends in this order: its summary is kept, it is noted as destroyed, its exchanges are dropped, rows and rollups,
// and the summary takes their place, by day and by month. The chunk of the registry that ends it is finished only then,
// so killed anywhere the rest is done again. A chunk with exchanges of such a day that was opened before is stripped of
// them when it is inserted; of two processes that do both at once, the one that inserts looks afterwards, and drops what
// came late.

// admit fails for a chunk that may not be inserted any more, and takes from it the exchanges of days that have ended.
func (d *DB) admit(ctx context.Context, c *statistics.Chunk) error {
	issued := map[calendar.Day]bool{}
	for i := range c.Issuances {
		issued[c.Issuances[i].Day] = true
	}
	var generation, vault uint64
	var ended []string
	query := fmt.Sprintf("SELECT (SELECT max(generation) FROM %s), (SELECT groupUniqArray(toString(day)) FROM %s WHERE %s), (SELECT max(vault) FROM %s WHERE %s)",
		d.name(generationsTable), d.name(destroyedTable), among(exchangeDays(c)), d.name(rotationsTable), among(slices.Collect(maps.Keys(issued))))
	if _, err := d.row(ctx, query, nil, &generation, &ended, &vault); err != nil {
		return err
	}
	switch {
	case generation != c.Beginning:
		return errMovedOn
	case vault > uint64(c.Vault):
		return fmt.Errorf("issuances of generation %d of the vault, now it is %d: %w", c.Vault, vault, statistics.ErrStale)
	}
	if len(ended) > 0 {
		kept := make([]statistics.Exchange, 0, len(c.Exchanges))
		for _, e := range c.Exchanges {
			if !slices.Contains(ended, e.Day.String()) {
				kept = append(kept, e)
			}
		}
		c.Exchanges = kept
	}
	if len(c.Unreadable) == 0 {
		return nil
	}
	return d.note(ctx, unreadableTable, c.Unreadable)
}

// exchangeDays are the days of a chunk's exchanges, of which nobody can read some any more.
func exchangeDays(c *statistics.Chunk) []calendar.Day {
	days := map[calendar.Day]bool{}
	for i := range c.Exchanges {
		days[c.Exchanges[i].Day] = true
	}
	for _, day := range c.Unreadable {
		days[day] = true
	}
	return slices.Collect(maps.Keys(days))
}

// among is the condition that day is one of some days.
func among(days []calendar.Day) string {
	texts := make([]string, len(days))
	for i, day := range days {
		texts[i] = day.String()
	}
	return amongTexts(texts)
}

func amongTexts(days []string) string {
	if len(days) == 0 {
		return "false"
	}
	return "day IN ('" + strings.Join(days, "', '") + "')"
}

// note writes days into a table of days.
func (d *DB) note(ctx context.Context, t table, days []calendar.Day) error {
	return d.insert(ctx, d.name(t), "day", "", func(b driver.Batch) error {
		for _, day := range days {
			if err := b.Append(date(day)); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropLate drops what a chunk brought of days that ended while it was inserted, also what another process brought that
// was killed before it did the same.
func (d *DB) dropLate(ctx context.Context, c statistics.Chunk) error {
	days := exchangeDays(&c)
	if len(days) == 0 {
		return nil
	}
	late, err := d.leftDays(ctx, among(days))
	if err != nil || len(late) == 0 {
		return err
	}
	return d.replaceDays(ctx, late)
}

// leftDays are the days destroyed, among some, of which exchanges are left, or of which the rollup by day holds something
// else than the summary.
func (d *DB) leftDays(ctx context.Context, condition string) (days []string, err error) {
	var left []string
	for _, t := range exchangeTables {
		if t.name != exchangesDailyTable.name {
			left = append(left, fmt.Sprintf("SELECT day, toInt64(1) AS n FROM %s WHERE %s", d.name(t), condition))
		}
	}
	query := fmt.Sprintf(`SELECT arraySort(groupUniqArray(toString(day))) FROM (SELECT day FROM (%s
		UNION ALL SELECT day, toInt64(exchanges) FROM %s WHERE %s
		UNION ALL SELECT day, -toInt64(exchanges) FROM %s FINAL WHERE %s) GROUP BY day HAVING sum(n) != 0) WHERE day IN (SELECT day FROM %s)`,
		strings.Join(left, " UNION ALL "), d.name(exchangesDailyTable), condition, d.name(summariesTable), condition, d.name(destroyedTable))
	_, err = d.row(ctx, query, nil, &days)
	return days, err
}

// endDays ends days, of which the summaries are there.
func (d *DB) endDays(ctx context.Context, days []calendar.Day) error {
	if len(days) == 0 {
		return nil
	}
	if err := d.note(ctx, destroyedTable, days); err != nil {
		return fmt.Errorf("note that %d days have ended: %w", len(days), err)
	}
	var texts []string
	for _, day := range days {
		texts = append(texts, day.String())
	}
	return d.replaceDays(ctx, texts)
}

// replaceDays destroys the exchanges of days, rows and rollups, and puts in their place what their summaries kept.
// Repeated, also after an error, it ends the same. Issuances stay: they do not die with a day.
//
// Facts of the same months may be inserted meanwhile by this process, and by another only at the price of its doing the
// work again.
func (d *DB) replaceDays(ctx context.Context, days []string) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	// A rollup by month that is made anew knows no tokens: a chunk that is in the tables, and is sent once more because nobody
	// finished it, counts twice in it, which the audit finds when that is finished.
	defer d.auditing.due.Store(true)
	for range attempts {
		if err := d.settle(ctx); err != nil {
			return err
		}
		for _, t := range exchangeTables {
			if err := d.dropDays(ctx, t, days); err != nil {
				return fmt.Errorf("destroy the exchanges of %s: %w", days, err)
			}
		}
		d.forget()
		columns := "day, inquirer, provider, affair, information, outcome, refusal_reason, rule, exchanges"
		again := fmt.Sprintf("INSERT INTO %s (%s) SETTINGS insert_deduplicate = 0 SELECT %s FROM %s FINAL WHERE %s", d.name(exchangesDailyTable), columns, columns, d.name(summariesTable), amongTexts(days))
		if err := d.exec(ctx, again); err != nil {
			return fmt.Errorf("keep the summaries of %s: %w", days, err)
		}
		if err := d.remakeMonths(ctx, days); err != nil {
			return fmt.Errorf("sum up the months of %s again: %w", days, err)
		}
		left, err := d.leftDays(ctx, amongTexts(days))
		if err != nil || len(left) == 0 {
			return err
		}
	}
	return fmt.Errorf("replace %s by their summaries: %w", days, errMovedOn)
}

// dropDays drops days of a table, and with them the files that held their rows.
func (d *DB) dropDays(ctx context.Context, t table, days []string) error {
	var there []string
	if _, err := d.row(ctx, fmt.Sprintf("SELECT groupUniqArray(toString(toYYYYMMDD(day))) FROM %s WHERE %s", d.name(t), amongTexts(days)), nil, &there); err != nil || len(there) == 0 {
		return err
	}
	return d.exec(ctx, fmt.Sprintf("ALTER TABLE %s%s DROP PARTITION %s", d.local(t), d.onCluster(), strings.Join(there, ", DROP PARTITION ")))
}

// remakeMonths makes the rollups by month anew, of the months in which some days lie.
func (d *DB) remakeMonths(ctx context.Context, days []string) error {
	months := map[string]bool{}
	for _, day := range days {
		months[day[:len("2006-01")]] = true
	}
	for _, month := range slices.Sorted(maps.Keys(months)) {
		if err := d.remakeMonth(ctx, month); err != nil {
			return err
		}
	}
	return nil
}

// remakeMonth makes the rollups of a month again from those of its days, until they are the same then.
func (d *DB) remakeMonth(ctx context.Context, month string) error {
	first := fmt.Sprintf("toDate('%s-01')", month)
	inMonth := fmt.Sprintf("WHERE day >= %s AND day < addMonths(%s, 1) ", first, first)
	for range attempts {
		for _, m := range monthlies {
			if err := d.exec(ctx, fmt.Sprintf("ALTER TABLE %s%s DROP PARTITION %s", d.local(m.table), d.onCluster(), strings.ReplaceAll(month, "-", ""))); err != nil {
				return err
			}
			// Under no token: the same rows may have to be put in again.
			again := "INSERT INTO " + d.name(m.table) + " SETTINGS insert_deduplicate = 0 " + m.sums(d.name(m.from), inMonth)
			if err := d.exec(ctx, again); err != nil {
				return err
			}
		}
		var byMonth, byDay uint64
		_, err := d.row(ctx, fmt.Sprintf("SELECT (SELECT sum(exchanges) FROM %s WHERE month = %s), (SELECT sum(exchanges) FROM %s %s)",
			d.name(inquiriesMonthly.table), first, d.name(exchangesDailyTable), inMonth), nil, &byMonth, &byDay)
		if err != nil || byMonth == byDay {
			return err
		}
	}
	return errMovedOn
}

// living are the exchanges by day of the days that have not ended.
func (d *DB) living(ctx context.Context, days []time.Time, counts []uint64) (map[calendar.Day]uint64, error) {
	if len(days) == 0 {
		return nil, nil
	}
	var ended []string
	if _, err := d.row(ctx, "SELECT groupUniqArray(toString(day)) FROM "+d.name(destroyedTable), nil, &ended); err != nil {
		return nil, err
	}
	gone := map[string]bool{}
	for _, day := range ended {
		gone[day] = true
	}
	by := map[calendar.Day]uint64{}
	for i, t := range days {
		if day := calendar.Of(t.Date()); i < len(counts) && !gone[day.String()] {
			by[day] = counts[i]
		}
	}
	return by, nil
}

func byDayOf(by map[calendar.Day]uint64) (days []time.Time, counts []uint64) {
	days, counts = []time.Time{}, []uint64{}
	for _, day := range slices.SortedFunc(maps.Keys(by), calendar.Day.Compare) {
		days, counts = append(days, date(day)), append(counts, by[day])
	}
	return days, counts
}

// addSummaries names what a summary kept back. An agency, an affair and an information name are in every exchange, a reason
// in those that were refused, and a rule in those that were not, so they were kept back where they are empty; where
// a refusal has its reason and no rule, nobody can tell.
func addSummaries(b driver.Batch, kept []statistics.Summary) error {
	named := func(text string, always bool) string {
		if text == "" && always {
			return suppressed
		}
		return text
	}
	for i := range kept {
		s := &kept[i]
		outcome, refused := "suppressed", s.Outcome == 0 || s.Outcome == inquiry.Refused
		if s.Outcome != 0 {
			outcome = s.Outcome.String()
		}
		reason := ""
		if s.Refusal != 0 {
			reason = s.Refusal.Code()
		}
		reason = named(reason, refused)
		if err := b.Append(date(s.Day), uint32(s.Part), uint32(s.Row), named(s.Inquirer, true), named(s.Provider, true), named(s.Affair, true), named(s.Information, true),
			outcome, reason, named(s.Rule, reason == suppressed || !refused), s.Exchanges); err != nil {
			return err
		}
	}
	return nil
}
