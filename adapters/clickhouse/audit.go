package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// A server notes the token of an insert, keeps the rows, and does the same for each rollup. Killed in between it takes
// for kept what it has lost, and after a power loss it may have lost more (the embedded engine is mended before it
// starts, Replicated tables note both at once). So after whatever could have been such an end, and when nothing is under
// way, the tables are compared with what the streams say they have brought, and the rollups with the tables: a rollup
// that differs is summed up anew, day by day; where facts are missing they have to be counted anew from the ledger, which
// is for the owner of the DB to do.

// auditing says when the next audit is.
type auditing struct {
	due atomic.Bool // something has happened after which rows could be missing

	lost chan struct{} // see DB.Lost

	life context.Context // of the DB
	end  context.CancelFunc

	mu     sync.Mutex // held during an audit; guards the rest
	last   time.Time
	coming bool // another attempt, though nothing else may happen
	told   bool // that facts are missing: not again before an audit after a rebuild was clean, lest it never ends
	built  bool // they were counted anew since
}

// Times between two attempts at an audit.
const (
	auditPause = time.Second     // at least, where there is an occasion
	auditAgain = 5 * time.Second // about, where there is none
)

// audit compares and mends, if that is due and can be done now. What fails is tried at the next occasion.
func (d *DB) audit(ctx context.Context) {
	if d.cluster != "" || !d.auditing.due.Load() || !d.auditing.mu.TryLock() {
		return
	}
	defer d.auditing.mu.Unlock()
	defer d.auditLater()
	if time.Since(d.auditing.last) < auditPause {
		return
	}
	clean, err := d.compare(ctx)
	if _, answered := errors.AsType[*clickhouse.Exception](err); answered {
		d.log.Warn("auditing the statistics failed, and will be tried again", "error", err.Error())
	}
	if err != nil || !clean {
		d.auditing.due.Store(true)
	}
	d.auditing.last = time.Now()
}

// auditLater sees to it that an audit which is still due is tried again. The caller holds auditing.mu.
func (d *DB) auditLater() {
	if !d.auditing.due.Load() || d.auditing.coming {
		return
	}
	d.auditing.coming = true
	// Not at the same time as another process that found the same.
	time.AfterFunc(auditAgain/2+rand.N(auditAgain), func() {
		d.auditing.mu.Lock()
		d.auditing.coming = false
		d.auditing.mu.Unlock()
		if d.auditing.life.Err() == nil {
			d.audit(d.auditing.life)
		}
	})
}

// compare reports whether it found everything in its place. It mends what it did not find so.
func (d *DB) compare(ctx context.Context) (clean bool, err error) {
	before, err := d.standing(ctx)
	if err != nil || before.unfinished > 0 {
		return false, err
	}
	d.auditing.due.Store(false) // whatever fails from now on makes another one due
	facts, err := d.missingFacts(ctx, before)
	if err != nil {
		return false, err
	}
	found, err := d.differing(ctx)
	if err != nil {
		return false, err
	}
	after, err := d.standing(ctx)
	if err != nil || after != before {
		return false, err // what was compared was not at rest
	}
	if facts != "" {
		d.tell(facts)
		return true, nil
	}
	if d.auditing.built {
		d.auditing.told, d.auditing.built = false, false
	}
	return found.none(), d.mend(ctx, found)
}

// differences are what an audit can mend.
type differences struct {
	days   [][]string // of each rollup, that differ from the facts
	months []string   // first days of those that differ from the days
	left   []string   // days destroyed that are not what their summaries kept
}

func (f *differences) none() bool {
	return len(f.months)+len(f.left) == 0 && !slices.ContainsFunc(f.days, func(days []string) bool { return len(days) > 0 })
}

func (d *DB) differing(ctx context.Context) (f differences, err error) {
	f.days = make([][]string, len(rollups))
	for i, r := range rollups {
		if f.days[i], err = d.differingDays(ctx, r); err != nil {
			return f, err
		}
	}
	if f.months, err = d.differingMonths(ctx); err != nil {
		return f, err
	}
	f.left, err = d.leftDays(ctx, "day IN (SELECT day FROM "+d.name(destroyedTable)+")")
	return f, err
}

// mend sums up anew what differs, and drops what is left of days that were destroyed.
func (d *DB) mend(ctx context.Context, f differences) error {
	if err := d.mendRollups(ctx, f); err != nil || len(f.left) == 0 {
		return err
	}
	d.log.Error("something was left of days that were destroyed, and goes now", "days", f.left)
	return d.replaceDays(ctx, f.left)
}

func (d *DB) mendRollups(ctx context.Context, f differences) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	months := f.months
	for i, r := range rollups {
		if len(f.days[i]) == 0 {
			continue
		}
		if err := d.sumUp(ctx, r, f.days[i]); err != nil {
			return err
		}
		if r.of.name == exchangesTable.name { // the months were summed up from the day that was dropped and from the new one
			months = append(months, f.days[i]...)
		}
	}
	return d.remakeMonths(ctx, months)
}

// standing is how far all streams have come.
type standing struct {
	generation, unfinished uint64 // streams with a chunk under way
	issuances              uint64 // that there should be
	mark                   uint64 // another one when any stream has moved
}

func (d *DB) standing(ctx context.Context) (s standing, err error) {
	if s.generation, err = d.generation(ctx); err != nil {
		return s, err
	}
	query := fmt.Sprintf(`SELECT countIf(a.to > p.to), sum(p.i), sum(cityHash64(a.stream, a.to, p.to))
		FROM (SELECT stream, max(next) AS to FROM %s WHERE generation = ? GROUP BY stream) AS a
		LEFT JOIN (SELECT stream, max(next) AS to, argMax(issuances, next) AS i FROM %s WHERE generation = ? GROUP BY stream) AS p ON a.stream = p.stream`,
		d.name(agreementsTable), d.name(positionsTable))
	_, err = d.row(ctx, query, []any{s.generation, s.generation}, &s.unfinished, &s.issuances, &s.mark)
	return s, err
}

// missingFacts says how the facts differ in number from what the streams brought; empty: not at all. Days count that have
// not ended, and of which everything can still be read: of one whose key is gone, though the registry was not read so
// far, whoever continued after another may have brought less.
func (d *DB) missingFacts(ctx context.Context, s standing) (string, error) {
	var exchanges int64
	var days, issuances uint64
	query := fmt.Sprintf(`SELECT sum(n), count(), (SELECT count() FROM %s) FROM (SELECT day, sum(n) AS n FROM (SELECT day, toInt64(1) AS n FROM %s UNION ALL
			SELECT day, -toInt64(n) FROM (SELECT argMax(days, next) AS ds, argMax(counts, next) AS ns FROM %s WHERE generation = ? GROUP BY stream) ARRAY JOIN ds AS day, ns AS n)
		WHERE day NOT IN (SELECT day FROM %s) AND day NOT IN (SELECT day FROM %s) GROUP BY day HAVING n != 0)`,
		d.name(issuancesTable), d.name(exchangesTable), d.name(positionsTable), d.name(destroyedTable), d.name(unreadableTable))
	_, err := d.row(ctx, query, []any{s.generation}, &exchanges, &days, &issuances)
	if err != nil || days == 0 && issuances == s.issuances {
		return "", err
	}
	return fmt.Sprintf("%+d exchanges, on %d days, %+d issuances", exchanges, days, int64(issuances)-int64(s.issuances)), nil
}

// Lost has an element when facts were found missing that were there once: the server lost them, or somebody removed them.
// They come back when the projection is rebuilt.
func (d *DB) Lost() <-chan struct{} { return d.auditing.lost }

// Rebuilt is to be called when the facts were counted anew from the ledger to the end: if an audit finds them all there,
// what is lost later is told of again.
func (d *DB) Rebuilt() {
	d.auditing.mu.Lock()
	defer d.auditing.mu.Unlock()
	d.auditing.built = true
	d.auditing.due.Store(true)
	d.auditLater()
}

func (d *DB) tell(facts string) {
	d.log.Error("the statistics differ from what was brought to them, and have to be rebuilt from the ledger: kiroku projections rebuild statistics", "found", facts, "rebuilding", !d.auditing.told)
	if !d.auditing.told {
		d.auditing.told = true
		d.auditing.lost <- struct{}{}
	}
}

// differingDays are the days of which a rollup counts another number than there are facts, but for those whose facts were
// destroyed.
func (d *DB) differingDays(ctx context.Context, r rollup) (days []string, err error) {
	where := ""
	if r.of.name == exchangesTable.name {
		where = "WHERE day NOT IN (SELECT day FROM " + d.name(destroyedTable) + ") "
	}
	condition := ""
	if r.condition != "" {
		condition = " WHERE " + r.condition
	}
	query := fmt.Sprintf(`SELECT groupArray(toString(day)) FROM (SELECT day FROM (SELECT day, toInt64(1) AS n FROM %s%s
		UNION ALL SELECT day, -toInt64(%s) FROM %s) %sGROUP BY day HAVING sum(n) != 0)`, d.name(r.of), condition, r.counter, d.name(r.into), where)
	_, err = d.row(ctx, query, nil, &days)
	return days, err
}

// differingMonths are the first days of the months of which a rollup by month counts another number than that by day.
func (d *DB) differingMonths(ctx context.Context) (months []string, err error) {
	for _, m := range monthlies {
		var differing []string
		query := fmt.Sprintf(`SELECT groupArray(toString(month)) FROM (SELECT month FROM (SELECT toStartOfMonth(day) AS month, toInt64(%s) AS n FROM %s
			UNION ALL SELECT month, -toInt64(%s) FROM %s) GROUP BY month HAVING sum(n) != 0)`, m.counter, d.name(m.from), m.counter, d.name(m.table))
		if _, err := d.row(ctx, query, nil, &differing); err != nil {
			return nil, err
		}
		months = append(months, differing...)
	}
	return months, nil
}

// sumUp makes some days of a rollup anew. Cut short, or disturbed by another process that does the same, it is found by
// the audit that follows whenever something was mended.
func (d *DB) sumUp(ctx context.Context, r rollup, days []string) error {
	d.log.Error("a rollup differs from the facts and is summed up anew", "table", d.name(r.into), "days", days)
	for _, day := range days {
		if err := d.exec(ctx, fmt.Sprintf("ALTER TABLE %s DROP PARTITION %s", d.local(r.into), strings.ReplaceAll(day, "-", ""))); err != nil {
			return err
		}
		if err := d.exec(ctx, "INSERT INTO "+d.local(r.into)+" SETTINGS insert_deduplicate = 0 "+d.summing(r, "day = "+quote(day))); err != nil {
			return err
		}
	}
	return nil
}
