// Package clickhouse keeps the statistics in ClickHouse: a server or a cluster over the native protocol, or the
// embedded engine over HTTP, with the same client and the same tables.
//
// It promises projections/statistics that a chunk of rows counts once, in the tables and in everything that is summed
// up from them, however often it is sent and whatever is killed meanwhile; the one who runs it, that after whatever could
// have lost rows it compares what is there with what was brought, sums up anew what differs, and says through Lost when
// facts are missing (not on a cluster: Replicated tables lose none); and analysts a database whose tables, columns
// and reports are described in it.
package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"
	_ "time/tzdata" // hours are columns in the time of Tokyo, on machines without a time zone database too

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// DefaultDatabase is what analysts read.
const DefaultDatabase = "statistics"

// DefaultThreshold is the count below which a cell is not published.
const DefaultThreshold = 10

// Password redacts itself wherever it is printed, logged or marshalled.
type Password string

const redacted = "[redacted]"

// Format shows no password, whatever the verb.
func (Password) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// LogValue shows no password.
func (Password) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText shows no password.
func (Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Location is where ClickHouse is, and who asks.
type Location struct {
	Addresses []string // host:port; one of them is used, another where that fails
	HTTP      bool     // the HTTP interface instead of the native protocol
	TLS       *tls.Config
	User      string
	Password  Password
}

func (l Location) same(other Location) bool {
	return slices.Equal(l.Addresses, other.Addresses) && l.HTTP == other.HTTP && l.User == other.User && l.Password == other.Password
}

// Config of a DB. Locate is required.
type Config struct {
	// Locate says where ClickHouse is. It is asked again after a failure: an embedded engine may come back elsewhere.
	Locate func() (Location, error)
	// Cluster is the name of the cluster on which tables are made, Replicated and Distributed; empty: one server. The
	// server must define the macros shard and replica.
	Cluster string
	// Database that analysts read; DefaultDatabase. What only this package reads lies in another, with _state behind
	// the name.
	Database string
	// Threshold is k: cells with fewer are not published. At least 1; 0: DefaultThreshold.
	Threshold int
	Log       *slog.Logger // nil: slog.Default
}

// DB is ClickHouse. It is safe for concurrent use.
type DB struct {
	schema
	locate    func() (Location, error)
	threshold int
	log       *slog.Logger

	sending  sync.RWMutex // held to read while facts are sent, and to write by whom that would disturb
	auditing auditing

	mu       sync.Mutex // guards the two below
	current  driver.Conn
	location Location

	setup sync.Mutex // held while the schema is brought up to date; guards done
	done  bool
}

// Open makes a DB. It connects when it is used.
func Open(c Config) (*DB, error) {
	if c.Locate == nil {
		return nil, errors.New("opening ClickHouse: nothing says where it is")
	}
	if c.Database == "" {
		c.Database = DefaultDatabase
	}
	if c.Threshold == 0 {
		c.Threshold = DefaultThreshold
	}
	for _, name := range []string{c.Database, c.Cluster} {
		if name != "" && !identifier.MatchString(name) {
			return nil, fmt.Errorf("opening ClickHouse: %q is not a name of letters, digits and underscores", name)
		}
	}
	if c.Threshold < 1 {
		return nil, fmt.Errorf("opening ClickHouse: counts below %d cannot be kept back; give at least 1", c.Threshold)
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	d := &DB{schema: schema{database: c.Database, state: c.Database + "_state", cluster: c.Cluster}, locate: c.Locate, threshold: c.Threshold, log: c.Log}
	d.auditing.life, d.auditing.end = context.WithCancel(context.Background())
	d.auditing.lost = make(chan struct{}, 1)
	d.auditing.due.Store(true) // whoever was here before may have been killed
	return d, nil
}

// Close closes the connections.
func (d *DB) Close() error {
	d.auditing.end()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return nil
	}
	err := d.current.Close()
	d.current = nil
	return err
}

// Times within which ClickHouse must answer.
const (
	dialWithin   = 5 * time.Second
	rowWithin    = 30 * time.Second // what is asked for the bookkeeping
	insertWithin = time.Minute      // a chunk of facts takes a second or two where there is much else to do
	readWithin   = 5 * time.Minute  // anything else
)

// errNoAnswer is why something is given up. Whoever asked asks again: everything that is sent may be sent again.
var errNoAnswer = errors.New("ClickHouse gave no answer in time")

// within makes a call that is given up after a time.
func (d *DB) within(ctx context.Context, limit time.Duration, what string, call func(context.Context) error) error {
	bounded, cancel := context.WithTimeoutCause(ctx, limit, errNoAnswer)
	defer cancel()
	err := call(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		d.log.Warn("ClickHouse gave no answer, and will be asked again", "what", what, "within", limit.String())
		return fmt.Errorf("%s, within %s: %w: %w", what, limit, errNoAnswer, err)
	}
	return err
}

// connection is one to where ClickHouse is now.
func (d *DB) connection() (driver.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != nil {
		return d.current, nil
	}
	if d.auditing.life.Err() != nil {
		return nil, errors.New("connecting to ClickHouse: this end is closed")
	}
	location, err := d.locate()
	if err != nil {
		return nil, fmt.Errorf("finding ClickHouse: %w", err)
	}
	options := &clickhouse.Options{
		Protocol: clickhouse.Native, Addr: location.Addresses, TLS: location.TLS,
		Auth:        clickhouse.Auth{Username: location.User, Password: string(location.Password)},
		DialTimeout: dialWithin, ReadTimeout: readWithin, MaxOpenConns: 16, MaxIdleConns: 8, ConnMaxLifetime: time.Hour,
		ClientInfo: clickhouse.ClientInfo{Products: []struct{ Name, Version string }{{Name: "kiroku", Version: "1"}}},
	}
	if location.HTTP {
		options.Protocol = clickhouse.HTTP
	} else {
		options.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	}
	if d.current, err = clickhouse.Open(options); err != nil {
		return nil, fmt.Errorf("connecting to ClickHouse: %w", err)
	}
	d.location = location
	return d.current, nil
}

// failed forgets the connection after an error that ClickHouse itself did not give, if it is somewhere else by now.
func (d *DB) failed(err error) {
	if _, answered := errors.AsType[*clickhouse.Exception](err); answered || err == nil {
		return
	}
	location, err := d.locate()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil || err == nil && location.same(d.location) {
		return
	}
	_ = d.current.Close()
	d.current = nil
}

// forget closes the connections, which keep what was last sent through them: rows, perhaps, of what was destroyed since.
// The next call opens others.
func (d *DB) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != nil {
		_ = d.current.Close()
		d.current = nil
	}
}

// Ping reports whether ClickHouse answers.
func (d *DB) Ping(ctx context.Context) error {
	c, err := d.connection()
	if err != nil {
		return err
	}
	if err := c.Ping(clickhouse.Context(ctx, clickhouse.WithQuotaKey(reportKey))); err != nil { // connecting asks a question
		d.failed(err)
		return fmt.Errorf("asking ClickHouse: %w", err)
	}
	return nil
}

// writing are the settings of every statement of the writer. On a cluster what was written is on most replicas, and
// what is read is the newest.
func (d *DB) writing(ctx context.Context, more clickhouse.Settings) context.Context {
	settings := clickhouse.Settings{"max_partitions_per_insert_block": 0}
	if d.cluster != "" {
		settings["insert_quorum"], settings["insert_quorum_parallel"], settings["select_sequential_consistency"] = "auto", 0, 1
		settings["distributed_foreground_insert"], settings["distributed_ddl_output_mode"] = 1, "none"
	}
	for name, value := range more {
		settings[name] = value
	}
	return clickhouse.Context(ctx, clickhouse.WithSettings(settings))
}

func (d *DB) exec(ctx context.Context, statement string, arguments ...any) error {
	c, err := d.connection()
	if err != nil {
		return err
	}
	err = c.Exec(d.writing(ctx, nil), statement, arguments...)
	d.failed(err)
	return err
}

// row reads one row; found is false if there is none.
func (d *DB) row(ctx context.Context, query string, arguments []any, into ...any) (found bool, err error) {
	err = d.within(ctx, rowWithin, "asking how far the statistics have come", func(ctx context.Context) error {
		found, err = d.rowOf(ctx, query, arguments, into)
		return err
	})
	d.failed(err)
	return found, err
}

func (d *DB) rowOf(ctx context.Context, query string, arguments, into []any) (found bool, err error) {
	c, err := d.connection()
	if err != nil {
		return false, err
	}
	rows, err := c.Query(d.writing(ctx, nil), query, arguments...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	if rows.Next() {
		found = true
		if err := rows.Scan(into...); err != nil {
			return false, err
		}
	}
	return found, rows.Err()
}

// insert sends rows under a token: of two inserts into a table under one token the second does nothing. After an error
// they may be there or not, and an audit is due.
func (d *DB) insert(ctx context.Context, table, columns, token string, add func(driver.Batch) error) error {
	err := d.within(ctx, insertWithin, "inserting into "+table, func(ctx context.Context) error {
		return d.send(ctx, table, columns, token, add)
	})
	if err != nil {
		d.auditing.due.Store(true)
		d.failed(err)
	}
	return err
}

func (d *DB) send(ctx context.Context, table, columns, token string, add func(driver.Batch) error) error {
	c, err := d.connection()
	if err != nil {
		return err
	}
	ctx = d.writing(ctx, clickhouse.Settings{
		"insert_deduplicate": 1, "insert_deduplication_token": token, "deduplicate_blocks_in_dependent_materialized_views": 1,
		"optimize_on_insert": 0, // what is inserted has no two rows with one key, so there is nothing to merge before it is written
	})
	batch, err := c.PrepareBatch(ctx, "INSERT INTO "+table+" ("+columns+")")
	if err != nil {
		return err
	}
	if err := add(batch); err != nil {
		_ = batch.Abort()
		return err
	}
	return batch.Send()
}
