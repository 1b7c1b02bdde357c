package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"kiroku/domain/calendar"
	"kiroku/projections/statistics"
)

// ReplaceDay destroys the exchanges of a day, rows and rollups, and puts in their place what its summary kept. Repeated,
// also after an error, it ends the same. Issuances stay: they do not die with a day.
//
// Facts of the day's month may be inserted meanwhile by this process, and by another only at the price of its doing the
// work again.
func (d *DB) ReplaceDay(ctx context.Context, day calendar.Day, kept []statistics.Summary) error {
	if err := d.Migrate(ctx); err != nil {
		return err
	}
	if err := d.noteDestroyed(ctx, day); err != nil {
		return fmt.Errorf("count the exchanges of %s: %w", day, err)
	}
	d.sending.Lock()
	defer d.sending.Unlock()
	if err := d.replaceDay(ctx, day, kept); err != nil {
		return err
	}
	for range attempts {
		same, err := d.remakeMonth(ctx, day)
		if err != nil {
			return fmt.Errorf("sum up the month of %s again: %w", day, err)
		}
		if same {
			return nil
		}
	}
	return fmt.Errorf("sum up the month of %s again: %w", day, errMovedOn)
}

func (d *DB) replaceDay(ctx context.Context, day calendar.Day, kept []statistics.Summary) error {
	year, month, date := day.Date()
	for _, t := range exchangeTables {
		if err := d.exec(ctx, fmt.Sprintf("ALTER TABLE %s%s DROP PARTITION %04d%02d%02d", d.local(t), d.onCluster(), year, month, date)); err != nil {
			return fmt.Errorf("destroy the exchanges of %s: %w", day, err)
		}
	}
	d.forget()
	if len(kept) == 0 {
		return nil
	}
	// The partition forgot its tokens when it was dropped, so this is new to the table each time.
	err := d.insert(ctx, d.name(exchangesDailyTable), "day, inquirer, provider, affair, information, outcome, refusal_reason, rule, exchanges", "summary/"+day.String(),
		func(b driver.Batch) error { return addSummaries(b, day, kept) })
	if err != nil {
		return fmt.Errorf("keep the summary of %s: %w", day, err)
	}
	return nil
}

// noteDestroyed writes down how many exchanges will be gone. Of several such notes the greatest counts: the others were
// made when some were gone already.
func (d *DB) noteDestroyed(ctx context.Context, day calendar.Day) error {
	g, err := d.generation(ctx)
	if err != nil {
		return err
	}
	var rows uint64
	if _, err := d.row(ctx, "SELECT count() FROM "+d.name(exchangesTable)+" WHERE day = ?", []any{date(day)}, &rows); err != nil || rows == 0 {
		return err
	}
	return d.insert(ctx, d.name(destroyedTable), "generation, day, exchanges", "", func(b driver.Batch) error { return b.Append(g, date(day), rows) })
}

// remakeMonth makes the rollups of a day's month again from those of its days. It reports whether they are the same then.
func (d *DB) remakeMonth(ctx context.Context, day calendar.Day) (same bool, err error) {
	year, month, _ := day.Date()
	first := fmt.Sprintf("toDate('%04d-%02d-01')", year, month)
	inMonth := fmt.Sprintf("WHERE day >= %s AND day < addMonths(%s, 1) ", first, first)
	for _, m := range monthlies {
		if err := d.exec(ctx, fmt.Sprintf("ALTER TABLE %s%s DROP PARTITION %04d%02d", d.local(m.table), d.onCluster(), year, month)); err != nil {
			return false, err
		}
		// Under no token: the same rows may have to be put in again.
		again := "INSERT INTO " + d.name(m.table) + " SETTINGS insert_deduplicate = 0 " + m.sums(d.name(m.from), inMonth)
		if err := d.exec(ctx, again); err != nil {
			return false, err
		}
	}
	var byMonth, byDay uint64
	_, err = d.row(ctx, fmt.Sprintf("SELECT (SELECT sum(exchanges) FROM %s WHERE month = %s), (SELECT sum(exchanges) FROM %s %s)",
		d.name(inquiriesMonthly.table), first, d.name(exchangesDailyTable), inMonth), nil, &byMonth, &byDay)
	return byMonth == byDay, err
}

func addSummaries(b driver.Batch, day calendar.Day, kept []statistics.Summary) error {
	for i := range kept {
		s := &kept[i]
		if err := b.Append(date(day), s.Inquirer, s.Provider, s.Affair, s.Information, s.Outcome.String(), s.Refusal.Code(), s.Rule, s.Exchanges); err != nil {
			return err
		}
	}
	return nil
}
