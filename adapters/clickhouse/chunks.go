package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"kiroku/domain/calendar"
	"kiroku/projections/statistics"
)

var _ statistics.Store = (*DB)(nil)

// errMovedOn says that another process has finished the chunk, or emptied the statistics, since this one last asked.
var errMovedOn = errors.New("another process has moved on in the stream")

// generation is the number of the beginning from nothing that is in force. One that was begun and not finished, because
// its process ended, is finished first.
func (d *DB) generation(ctx context.Context) (uint64, error) {
	var g uint64
	var emptied bool
	found, err := d.row(ctx, "SELECT generation, max(emptied) FROM "+d.name(generationsTable)+" GROUP BY generation ORDER BY generation DESC LIMIT 1", nil, &g, &emptied)
	if err == nil && found && !emptied {
		err = d.empty(ctx, g)
	}
	return g, err
}

// Position implements statistics.Store. It brings the tables up to date first, and audits them if that is due.
func (d *DB) Position(ctx context.Context, stream string) (statistics.Position, error) {
	var p statistics.Position
	if err := d.Migrate(ctx); err != nil {
		return p, err
	}
	d.audit(ctx)
	g, err := d.generation(ctx)
	if err != nil {
		return p, err
	}
	p.Beginning = g
	var leaf string
	var days []time.Time
	var counts []uint64
	if _, err := d.row(ctx, "SELECT next, leaf, epoch, days, counts, issuances FROM "+d.name(positionsTable)+" WHERE generation = ? AND stream = ? ORDER BY next DESC LIMIT 1",
		[]any{g, stream}, &p.Checkpoint.Next, &leaf, &p.Checkpoint.Epoch, &days, &counts, &p.Facts.Issuances); err != nil {
		return p, err
	}
	copy(p.Checkpoint.Leaf[:], leaf)
	if p.Facts.Exchanges, err = d.living(ctx, days, counts); err != nil {
		return p, err
	}
	a, err := d.agreement(ctx, g, stream, p.Checkpoint.Next)
	p.Agreed = a.next
	return p, err
}

// agreement is what is agreed on about the chunk that begins somewhere.
type agreement struct {
	next       uint64 // its end; 0: nothing
	finished   uint64 // up to where the stream is in the tables
	generation uint64 // in force
}

func (d *DB) agreement(ctx context.Context, g uint64, stream string, from uint64) (a agreement, err error) {
	_, err = d.row(ctx, "SELECT (SELECT max(next) FROM "+d.name(agreementsTable)+" WHERE generation = ? AND stream = ? AND first = ?), "+
		"(SELECT max(next) FROM "+d.name(positionsTable)+" WHERE generation = ? AND stream = ?), (SELECT max(generation) FROM "+d.name(generationsTable)+")",
		[]any{g, stream, from, g, stream}, &a.next, &a.finished, &a.generation)
	return a, err
}

// attempts is how many tokens an agreement tries. A server that was killed between writing down a token and the row
// knows the token and has no row; with the next token the row comes in.
const attempts = 5

// Agree implements statistics.Store. That the first proposal counts is the work of the token: of two inserts under one
// token the table keeps one. An agreement that is not there is either such a row that was lost, or one that was replaced
// by a later one after its chunk was finished.
func (d *DB) Agree(ctx context.Context, stream string, at statistics.Position, to uint64) (uint64, error) {
	g, from := at.Beginning, at.Checkpoint.Next
	for attempt := range attempts {
		err := d.insert(ctx, d.name(agreementsTable), "generation, stream, first, next", fmt.Sprintf("%d/%s/%d/%d", g, stream, from, attempt), func(b driver.Batch) error {
			return b.Append(g, stream, from, to)
		})
		if err != nil {
			return 0, err
		}
		a, err := d.agreement(ctx, g, stream, from)
		switch {
		case err != nil:
			return 0, err
		case a.generation != g || a.finished > from:
			return 0, errMovedOn
		case a.next > from:
			return a.next, nil
		}
	}
	return 0, fmt.Errorf("%s does not keep what is agreed on", d.name(agreementsTable))
}

// token names a chunk, the same whoever sends it.
func token(c statistics.Chunk) string {
	return fmt.Sprintf("%d/%s/%d-%d", c.Beginning, c.Stream, c.From, c.To.Next)
}

// inForce fails if the statistics were emptied since a generation, or are being emptied.
func (d *DB) inForce(ctx context.Context, generation uint64) error {
	var g uint64
	_, err := d.row(ctx, "SELECT max(generation) FROM "+d.name(generationsTable), nil, &g)
	if err == nil && g != generation {
		err = errMovedOn
	}
	return err
}

// Insert implements statistics.Store. Days that end, end with it.
func (d *DB) Insert(ctx context.Context, c statistics.Chunk) error {
	if err := d.insertRows(ctx, c); err != nil {
		return err
	}
	if err := d.dropLate(ctx, c); err != nil {
		return err
	}
	return d.endDays(ctx, c.Ended)
}

func (d *DB) insertRows(ctx context.Context, c statistics.Chunk) error {
	d.sending.RLock()
	defer d.sending.RUnlock()
	if err := d.admit(ctx, &c); err != nil {
		return err
	}
	for _, part := range []struct {
		table   table
		columns string
		rows    int
		add     func(driver.Batch) error
	}{
		{exchangesTable, "day, hour, inquirer, department, provider, affair, procedure, information, outcome, refusal_reason, rule, answer_seconds",
			len(c.Exchanges), func(b driver.Batch) error { return addExchanges(b, c.Exchanges) }},
		{issuancesTable, "day, hour, agency, scheme, result", len(c.Issuances), func(b driver.Batch) error { return addIssuances(b, c.Issuances) }},
		{registrationsTable, "code, name, classes, revision", len(c.Agencies), func(b driver.Batch) error { return addAgencies(b, c.Agencies) }},
		{statusesTable, "code, suspended, revision", len(c.Statuses), func(b driver.Batch) error { return addStatuses(b, c.Statuses) }},
		{rulesTable, "rule_set, part, parts, id, inquirer_class, affair, provider_class, information, legal_basis, valid_from, valid_to",
			len(c.Rules), func(b driver.Batch) error { return addRules(b, c.Rules) }},
		{summariesTable, "day, part, row, inquirer, provider, affair, information, outcome, refusal_reason, rule, exchanges",
			len(c.Summaries), func(b driver.Batch) error { return addSummaries(b, c.Summaries) }},
	} {
		if part.rows == 0 {
			continue
		}
		if err := d.insert(ctx, d.name(part.table), part.columns, token(c), part.add); err != nil {
			return fmt.Errorf("%s: %w", part.table.name, err)
		}
	}
	return nil
}

// Finish implements statistics.Store.
func (d *DB) Finish(ctx context.Context, c statistics.Chunk) error {
	if err := d.inForce(ctx, c.Beginning); err != nil {
		return err
	}
	days, counts := byDayOf(c.Facts.Exchanges)
	err := d.insert(ctx, d.name(positionsTable), "generation, stream, next, leaf, epoch, days, counts, issuances", "", func(b driver.Batch) error {
		return b.Append(c.Beginning, c.Stream, c.To.Next, string(c.To.Leaf[:]), c.To.Epoch, days, counts, c.Facts.Issuances)
	})
	if err == nil {
		d.audit(ctx)
	}
	return err
}

// Empty implements statistics.Store. Interrupted, it is completed by whoever asks for a position next.
func (d *DB) Empty(ctx context.Context) error {
	if err := d.Migrate(ctx); err != nil {
		return err
	}
	g, err := d.generation(ctx)
	if err != nil {
		return err
	}
	if err := d.setGeneration(ctx, g+1, false); err != nil {
		return err
	}
	return d.empty(ctx, g+1)
}

func (d *DB) empty(ctx context.Context, g uint64) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	if done, err := d.emptied(ctx, g); err != nil || done {
		return err
	}
	if err := d.settle(ctx); err != nil {
		return err
	}
	for _, t := range filledTables {
		if done, err := d.emptied(ctx, g); err != nil || done {
			return err
		}
		if err := d.exec(ctx, "TRUNCATE TABLE "+d.local(t)+d.onCluster()); err != nil {
			return err
		}
	}
	return d.setGeneration(ctx, g, true)
}

// emptied reports whether somebody has finished what empty is about to do. Several find a beginning that was cut short, the
// streams of one process all at once, and by now rows may be there that are of it. (Between this look and what follows
// another process can still finish: whoever empties audits afterwards.)
func (d *DB) emptied(ctx context.Context, g uint64) (done bool, err error) {
	var newest uint64
	_, err = d.row(ctx, "SELECT max(generation), maxIf(emptied, generation = ?) FROM "+d.name(generationsTable), []any{g}, &newest, &done)
	if err == nil && newest != g {
		err = errMovedOn
	}
	d.auditing.due.Store(true)
	return done, err
}

// settle waits for what is still under way in the engine, of another process or of a call that was given up: inserts, which
// bring what is of the generation before, and the end of an emptying. (A process that is held up between asking for the generation and sending
// can still come later; the audit of that process, or of the next one, finds it.)
func (d *DB) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, insertWithin)
	defer cancel()
	for {
		var running uint64
		_, err := d.row(ctx, "SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND position(query, ?) > 0 OR startsWith(query_kind, 'Drop') AND position(query, ?) > 0",
			[]any{"INTO " + d.database + ".", "TRUNCATE TABLE " + d.database + "."}, &running)
		if _, refused := errors.AsType[*clickhouse.Exception](err); refused || err == nil && running == 0 {
			return nil // who may not ask does without
		}
		if err != nil {
			return fmt.Errorf("waiting for inserts under way: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for inserts under way: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (d *DB) setGeneration(ctx context.Context, g uint64, emptied bool) error {
	return d.insert(ctx, d.name(generationsTable), "generation, emptied", fmt.Sprintf("%d/%t", g, emptied), func(b driver.Batch) error {
		return b.Append(g, emptied)
	})
}

// date is a day as the driver takes it.
func date(day calendar.Day) time.Time {
	year, month, d := day.Date()
	return time.Date(year, month, d, 0, 0, 0, 0, time.UTC)
}

func addExchanges(b driver.Batch, rows []statistics.Exchange) error {
	for i := range rows {
		r := &rows[i]
		var seconds *uint32
		if r.AnswerSeconds != statistics.NoAnswer {
			n := uint32(r.AnswerSeconds)
			seconds = &n
		}
		if err := b.Append(date(r.Day), r.Hour, r.Inquirer, r.Department, r.Provider, r.Affair, r.Procedure, r.Information,
			r.Outcome.String(), r.Refusal.Code(), r.Rule, seconds); err != nil {
			return err
		}
	}
	return nil
}

func addIssuances(b driver.Batch, rows []statistics.Issuance) error {
	for i := range rows {
		r, result := &rows[i], "new"
		if r.Already {
			result = "already-acquired"
		}
		if err := b.Append(date(r.Day), r.Hour, r.Agency, uint8(r.Scheme), result); err != nil {
			return err
		}
	}
	return nil
}

func addAgencies(b driver.Batch, rows []statistics.Agency) error {
	for i := range rows {
		r := &rows[i]
		if err := b.Append(r.Code, r.Name, r.Classes, r.Revision); err != nil {
			return err
		}
	}
	return nil
}

func addStatuses(b driver.Batch, rows []statistics.Status) error {
	for i := range rows {
		if err := b.Append(rows[i].Code, rows[i].Suspended, rows[i].Revision); err != nil {
			return err
		}
	}
	return nil
}

func addRules(b driver.Batch, rows []statistics.Rule) error {
	for i := range rows {
		r := &rows[i]
		from, err := calendar.Parse(r.ValidFrom)
		if err != nil {
			return fmt.Errorf("rule %s: %w", r.ID, err)
		}
		var to *time.Time
		if last, err := calendar.Parse(r.ValidTo); err == nil {
			t := date(last)
			to = &t
		}
		if err := b.Append(r.Set, uint32(r.Part), uint32(r.Parts), r.ID, r.InquirerClass, r.Affair, r.ProviderClass, r.Information, r.LegalBasis, date(from), to); err != nil {
			return err
		}
	}
	return nil
}
