package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/projections/statistics"
)

// Rotated implements statistics.Store.
func (d *DB) Rotated(ctx context.Context, r statistics.Rotation) error {
	return d.insert(ctx, d.name(rotationsTable), "vault, day", "", func(b driver.Batch) error {
		for _, day := range r.Days {
			if err := b.Append(uint64(r.Generation), date(day)); err != nil {
				return err
			}
		}
		return nil
	})
}

// recountSlice is how many issuances are sent in one insert.
const recountSlice = 100_000

// Recount implements statistics.Store.
func (d *DB) Recount(ctx context.Context, at statistics.Position, day calendar.Day, again []statistics.Recounted, closed bool) (bool, error) {
	d.sending.Lock()
	defer d.sending.Unlock()
	if still, err := d.still(ctx, at, closed); err != nil || !still {
		return false, err
	}
	if err := d.settle(ctx); err != nil {
		return false, err
	}
	for _, t := range issuanceTables {
		if err := d.dropDays(ctx, t, []string{day.String()}); err != nil {
			return false, err
		}
	}
	d.forget()
	if err := d.insertAgain(ctx, at, day, again); err != nil {
		return false, err
	}
	return d.still(ctx, at, closed)
}

// still reports whether the stream of issuances stands where it stood, with no chunk under way.
func (d *DB) still(ctx context.Context, at statistics.Position, closed bool) (bool, error) {
	a, err := d.agreement(ctx, at.Beginning, event.StreamIssuance, at.Checkpoint.Next)
	if err == nil && a.generation != at.Beginning {
		err = errMovedOn
	}
	return closed || a.finished <= at.Checkpoint.Next && a.next <= at.Checkpoint.Next, err
}

// insertAgain inserts issuances of a day that was dropped, which forgot its tokens then.
func (d *DB) insertAgain(ctx context.Context, at statistics.Position, day calendar.Day, again []statistics.Recounted) error {
	var rows []statistics.Issuance
	slice := 0
	send := func() error {
		token := fmt.Sprintf("again/%d/%s/%d/%d", at.Beginning, day, at.Checkpoint.Next, slice)
		err := d.insert(ctx, d.name(issuancesTable), "day, hour, agency, scheme, result", token, func(b driver.Batch) error { return addIssuances(b, rows) })
		rows, slice = rows[:0], slice+1
		return err
	}
	for i := range again {
		for range again[i].Number {
			if rows = append(rows, again[i].Issuance); len(rows) == recountSlice {
				if err := send(); err != nil {
					return err
				}
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return send()
}
