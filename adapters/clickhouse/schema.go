package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

var (
	identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,62}$`)
	reference  = regexp.MustCompile(`\{([a-z_]+)\}`) // of a table, in the text of a view
)

// ErrNewerSchema says that a newer kiroku has changed the tables: nothing leads back.
var ErrNewerSchema = errors.New("the tables are of a newer kiroku; run that one, or give another database")

// schema is where the tables lie.
type schema struct {
	database string // of the analysts
	state    string // of this package
	cluster  string
}

// migration changes the tables from the version before. Its statements may be run again, and by two processes at once.
type migration struct {
	name       string
	statements func(schema) []string
}

// migrations in order: what was released is never changed, only added to.
var migrations = []migration{
	{"facts, rollups and registry", schema.firstTables},
	{"reports", definedLater},
	{"publication", definedLater},
	{"rollups by month", schema.monthlyTables},
	{"reports that read them", definedLater},
	{"totals", schema.withTotals},
	{"days that end", schema.withEndedDays},
}

// definedLater stands for views that a later migration defines anew, for whoever has the ones before as well.
func definedLater(schema) []string { return nil }

// column is a column with what analysts read about it.
type column struct{ name, kind, comment string }

// table is a table with what analysts read about it.
type table struct {
	name, comment string
	columns       []column
	engine        string // of the MergeTree family
	arguments     string // of the engine
	partition     string
	order         string
	shard         string // key that says on which shard of a cluster a row lies; empty: on all
	state         bool   // lies in the database of this package
}

// remembered is how many tokens a table knows again. The engine makes two for each day in a chunk: with four record
// streams that follow along, a chunk a second each, that is twenty minutes. A sender that slept for longer between asking
// where a stream stands and inserting would count its chunk twice.
const remembered = 10_000

func (s schema) onCluster() string {
	if s.cluster == "" {
		return ""
	}
	return " ON CLUSTER " + s.cluster
}

// local is the name of the table that holds the rows of this server.
func (s schema) local(t table) string {
	if s.cluster == "" || t.shard == "" {
		return s.name(t)
	}
	return s.name(t) + "_local"
}

// name is the name of the table that holds all rows.
func (s schema) name(t table) string {
	if t.state {
		return s.state + "." + t.name
	}
	return s.database + "." + t.name
}

func (s schema) create(t table) []string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s%s (", s.local(t), s.onCluster())
	for i, c := range t.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s COMMENT %s", c.name, c.kind, quote(c.comment))
	}
	fmt.Fprintf(&b, ") ENGINE = %s", s.engine(t))
	if t.partition != "" {
		fmt.Fprintf(&b, " PARTITION BY %s", t.partition)
	}
	window := "non_replicated_deduplication_window"
	if s.cluster != "" {
		window = "replicated_deduplication_window"
	}
	fmt.Fprintf(&b, " ORDER BY (%s) SETTINGS %s = %d COMMENT %s", t.order, window, remembered, quote(t.comment))
	statements := []string{b.String()}
	if s.local(t) != s.name(t) {
		database, local, _ := strings.Cut(s.local(t), ".")
		statements = append(statements, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s%s AS %s ENGINE = Distributed(%s, %s, %s, %s) COMMENT %s",
			s.name(t), s.onCluster(), s.local(t), s.cluster, database, local, t.shard, quote(t.comment)))
	}
	return statements
}

func (s schema) engine(t table) string {
	var arguments []string
	engine := t.engine
	if s.cluster != "" {
		shard := "{shard}"
		if t.shard == "" {
			shard = "all"
		}
		engine = "Replicated" + engine
		arguments = []string{quote("/clickhouse/tables/" + shard + "/" + strings.ReplaceAll(s.name(t), ".", "/")), quote("{replica}")}
		if t.shard == "" {
			arguments[1] = quote("{shard}-{replica}")
		}
	}
	if t.arguments != "" {
		arguments = append(arguments, t.arguments)
	}
	return engine + "(" + strings.Join(arguments, ", ") + ")"
}

// feed makes a view that adds what is inserted into one table to another.
func (s schema) feed(r rollup) string {
	return fmt.Sprintf("CREATE MATERIALIZED VIEW IF NOT EXISTS %s_feed%s TO %s AS %s", s.name(r.into), s.onCluster(), s.local(r.into), s.summing(r, ""))
}

// summing is the SELECT whose rows a rollup holds, of the facts that fulfil a further condition.
func (s schema) summing(r rollup, further string) string {
	text := "SELECT " + r.selecting + " FROM " + s.local(r.of)
	if condition := both(r.condition, further); condition != "" {
		text += " WHERE " + condition
	}
	return text + " GROUP BY " + r.grouping
}

// both are two conditions at once, of which each may be empty.
func both(a, b string) string {
	if a != "" && b != "" {
		return a + " AND " + b
	}
	return a + b
}

func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// Migrate brings the tables up to date. It may be run again, and by several processes at once; it never goes back.
func (d *DB) Migrate(ctx context.Context) error {
	d.setup.Lock()
	defer d.setup.Unlock()
	if d.done {
		return nil
	}
	if err := d.migrate(ctx); err != nil {
		return fmt.Errorf("bringing the tables of ClickHouse up to date: %w", err)
	}
	d.done = true
	return nil
}

func (d *DB) migrate(ctx context.Context) error {
	begin := []string{
		"CREATE DATABASE IF NOT EXISTS " + d.database + d.onCluster() + " COMMENT " + quote("情報提供ネットワークシステムの統計: counts of exchanges and issuances; holds no handle on a person"),
		"CREATE DATABASE IF NOT EXISTS " + d.state + d.onCluster() + " COMMENT " + quote("How far the statistics have come; for kiroku only"),
	}
	for _, statement := range slices.Concat(begin, d.create(versionsTable)) {
		if err := d.exec(ctx, statement); err != nil {
			return err
		}
	}
	var version uint32
	if _, err := d.row(ctx, "SELECT max(version) FROM "+d.name(versionsTable), nil, &version); err != nil {
		return err
	}
	if int(version) > len(migrations) {
		return fmt.Errorf("version %d, known are %d: %w", version, len(migrations), ErrNewerSchema)
	}
	for i := int(version); i < len(migrations); i++ {
		if err := d.step(ctx, i); err != nil {
			return fmt.Errorf("version %d, %s: %w", i+1, migrations[i].name, err)
		}
	}
	return d.setThreshold(ctx)
}

func (d *DB) step(ctx context.Context, i int) error {
	for _, statement := range migrations[i].statements(d.schema) {
		if err := d.exec(ctx, statement); err != nil {
			return err
		}
	}
	return d.insert(ctx, d.name(versionsTable), "version, name", fmt.Sprintf("version/%d", i+1), func(b driver.Batch) error {
		return b.Append(uint32(i+1), migrations[i].name)
	})
}

// setThreshold records k, if it is another than before. Of cores that are configured otherwise and start one after the
// other the greatest stands: what was kept back does not come and go.
func (d *DB) setThreshold(ctx context.Context) error {
	var k uint32
	var recent bool
	found, err := d.row(ctx, "SELECT threshold, since > now() - INTERVAL 10 MINUTE FROM "+d.name(thresholdTable)+" ORDER BY since DESC, threshold DESC LIMIT 1", nil, &k, &recent)
	switch {
	case err != nil || found && int(k) == d.threshold:
		return err
	case found && recent && int(k) > d.threshold:
		d.log.Warn("another core has set the count from which cells are published, and it stands; configure all alike, and to lower it start them again after ten minutes", "configured", d.threshold, "stands", k)
		return nil
	case found:
		d.log.Warn("the count from which cells are published changes", "from", k, "to", d.threshold)
	}
	return d.exec(ctx, fmt.Sprintf("INSERT INTO %s (threshold) VALUES (%d)", d.name(thresholdTable), d.threshold))
}
