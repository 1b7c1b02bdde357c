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

	"kiroku/domain/calendar"
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
	days := map[int][]string{}
	for i, r := range rollups {
		if days[i], err = d.differingDays(ctx, r); err != nil {
			return false, err
		}
	}
	months, err := d.differingMonths(ctx)
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
	return d.mend(ctx, days, months)
}

// mend sums up anew what differs: days of the rollups, given by their index, and months, given by their first days. It
// reports whether nothing did.
func (d *DB) mend(ctx context.Context, days map[int][]string, months []string) (clean bool, err error) {
	d.sending.Lock()
	defer d.sending.Unlock()
	clean = len(months) == 0
	for i, r := range rollups {
		if len(days[i]) == 0 {
			continue
		}
		clean = false
		if err := d.sumUp(ctx, r, days[i]); err != nil {
			return false, err
		}
		if r.of.name == exchangesTable.name { // the months were summed up from the day that was dropped and from the new one
			months = append(months, days[i]...)
		}
	}
	return clean, d.remakeMonths(ctx, months)
}

// standing is how far all streams have come.
type standing struct {
	generation, unfinished uint64 // streams with a chunk under way
	exchanges, issuances   uint64 // that there should be
	mark                   uint64 // another one when any stream has moved
}

func (d *DB) standing(ctx context.Context) (s standing, err error) {
	if s.generation, err = d.generation(ctx); err != nil {
		return s, err
	}
	query := fmt.Sprintf(`SELECT countIf(a.to > p.to), sum(p.e), sum(p.i), sum(cityHash64(a.stream, a.to, p.to)), (SELECT sum(n) FROM (SELECT max(exchanges) AS n FROM %s WHERE generation = ? AND day NOT IN (SELECT DISTINCT day FROM %s) GROUP BY day))
		FROM (SELECT stream, max(next) AS to FROM %s WHERE generation = ? GROUP BY stream) AS a
		LEFT JOIN (SELECT stream, max(next) AS to, argMax(exchanges, next) AS e, argMax(issuances, next) AS i FROM %s WHERE generation = ? GROUP BY stream) AS p ON a.stream = p.stream`,
		d.name(destroyedTable), d.name(exchangesTable), d.name(agreementsTable), d.name(positionsTable))
	var destroyed uint64
	_, err = d.row(ctx, query, []any{s.generation, s.generation, s.generation}, &s.unfinished, &s.exchanges, &s.issuances, &s.mark, &destroyed)
	s.exchanges -= min(destroyed, s.exchanges)
	return s, err
}

// missingFacts says how the facts differ in number from what the streams brought; empty: not at all.
func (d *DB) missingFacts(ctx context.Context, s standing) (string, error) {
	var exchanges, issuances uint64
	_, err := d.row(ctx, fmt.Sprintf("SELECT (SELECT count() FROM %s), (SELECT count() FROM %s)", d.name(exchangesTable), d.name(issuancesTable)), nil, &exchanges, &issuances)
	if err != nil || exchanges == s.exchanges && issuances == s.issuances {
		return "", err
	}
	return fmt.Sprintf("%d exchanges of %d, %d issuances of %d", exchanges, s.exchanges, issuances, s.issuances), nil
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

// differingDays are the days of which a rollup counts another number than there are facts.
// Of a day without facts it may hold what the day's summary kept.
func (d *DB) differingDays(ctx context.Context, r rollup) (days []string, err error) {
	condition := ""
	if r.condition != "" {
		condition = " WHERE " + r.condition
	}
	query := fmt.Sprintf(`SELECT groupArray(toString(f.day)) FROM (SELECT day, count() AS n FROM %s%s GROUP BY day) AS f
		LEFT JOIN (SELECT day, sum(%s) AS n FROM %s GROUP BY day) AS s ON f.day = s.day WHERE f.n != s.n`, d.name(r.of), condition, r.counter, d.name(r.into))
	_, err = d.row(ctx, query, nil, &days)
	return days, err
}

// differingMonths are the first days of the months of which a rollup by month counts another number than that by day.
func (d *DB) differingMonths(ctx context.Context) (months []string, err error) {
	for _, m := range monthlies {
		var differing []string
		query := fmt.Sprintf(`SELECT groupArray(toString(f.month)) FROM (SELECT toStartOfMonth(day) AS month, sum(%s) AS n FROM %s GROUP BY month) AS f
			LEFT JOIN (SELECT month, sum(%s) AS n FROM %s GROUP BY month) AS s ON f.month = s.month WHERE f.n != s.n`, m.counter, d.name(m.from), m.counter, d.name(m.table))
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

// remakeMonths makes the rollups by month anew, of the months in which some days lie.
func (d *DB) remakeMonths(ctx context.Context, days []string) error {
	var done []string
	for _, text := range days {
		day, err := calendar.Parse(text)
		if err != nil {
			return err
		}
		if month := text[:len("2006-01")]; !slices.Contains(done, month) {
			if _, err := d.remakeMonth(ctx, day); err != nil {
				return err
			}
			done = append(done, month)
		}
	}
	return nil
}
