// Package embedded runs the ClickHouse engine inside this process and answers
// ClickHouse's HTTP interface with it, so that the product has statistics
// without a ClickHouse server and through the same client. The engine is chDB:
// ClickHouse as a library, which ops/setup fetches and Find finds.
//
// It promises that client (clickhouse-go over HTTP, and whatever else speaks
// the interface):
//   - Every request is a session of its own, on a fresh connection to the
//     engine: nothing one request sets is seen by another. Connections run at
//     once, as many as Config allows; further requests wait in a queue of
//     bounded length, and beyond it are refused.
//   - Inserts in any format, any bytes; results in any format, Native ones as
//     the client's protocol version has them; query parameters; settings in
//     the address; compression of bodies both ways; exceptions with the code,
//     name and status that a server gives.
//   - Results are whole: they are sent once the query has ended, so that no
//     failure comes after the first byte. Their size is bounded.
//   - A query ends when its client goes away, when its time is up and when the
//     server closes: it is killed in the engine, which notices within a block
//     of rows. Where it does not, Serve ends, for the process to be started
//     again: a query that hangs would take the place of others for ever.
//   - What was answered survives the end of the process, however it ends. An
//     insert that was not answered is there in whole blocks or not at all, and
//     sent again under its deduplication token it brings what is missing, in
//     the table and in what is summed up from it. (The engine alone would take
//     for kept what it had noted when it was killed.) A power loss can lose
//     what the engine had not yet synced; the ledger is what it is filled
//     from again.
//
// Not offered: sessions (session_id, SET, USE, temporary tables), external
// tables, users besides the two of Config, settings of the server.
//
// # What the analyst may do
//
// The engine knows one user only, but roles: the analyst's connection holds a
// role with SELECT on Config.AnalystDatabases and nothing else, under
// readonly=1. Of that the engine itself refuses to insert, create, alter and
// drop; to read other databases; file(), url(), remote(), s3() and all other
// ways to the outside that are tables; to change settings for a whole
// statement. That does not suffice, so a statement of the analyst is first parsed and written anew by
// the engine, and only if it passes these rules it is run, as written anew:
//   - it is one SELECT, EXPLAIN, DESCRIBE, EXISTS, or SHOW of tables,
//     databases, columns or how they were created (SET ROLE and KILL QUERY
//     would be obeyed otherwise);
//   - it has no INTO OUTFILE, which the engine's client part carries out
//     without asking for a right;
//   - it has no SETTINGS, which the engine obeys in a subquery whatever it is,
//     the limits of memory and time included;
//   - it calls no table function besides those that make numbers and values
//     (merge would read any database), and none of the functions that read a
//     file, call another server, write a log or tell about this machine: file,
//     hasColumnInTable, catboostEvaluate, ai… and so on, which need no right;
//     nor does it hand such a function to another, as in arrayMap(file, …);
//   - of the database system it reads only what describes the databases it
//     may read (the others would show the statements of everybody);
//   - it names no table by a query parameter of type Identifier;
//   - it does not ask for the tree of a query, which shows the columns of any
//     table.
//
// What cannot be refused: naming a database or table that exists and learning
// so from the error (only its name); the engine's version, the host's name and
// its time; using, within the limits, all of the processor and memory that the
// configuration gives to queries. There are no quotas over time. The engine is
// a large program in C++: a flaw in it, reached through a statement, has this
// whole process, which is why it is a process apart, holds no key and no
// record, and reads the statistics only.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Version is the version of the package that holds the engine, and that
// ops/setup fetches.
const Version = "26.5.3"

// The users.
const (
	WriterName  = "kiroku"  // everything
	AnalystName = "analyst" // reads, see the package comment
)

// Password redacts itself wherever it is printed, logged or marshalled.
type Password string

func (Password) String() string               { return "[redacted]" }
func (Password) GoString() string             { return "[redacted]" }
func (Password) LogValue() slog.Value         { return slog.StringValue("[redacted]") }
func (Password) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Config of a server. Dir and both passwords are required.
type Config struct {
	Dir     string // of the engine's files; created if missing; one process at a time
	Listen  string // loopback host:port; port 0 takes a free one; empty: DefaultListen
	Library string // libchdb.so; empty: where Find finds it

	Writer  Password // of WriterName
	Analyst Password // of AnalystName

	// AnalystDatabases are what the analyst may read. Nil: DefaultDatabase.
	AnalystDatabases []string

	// MaxMemoryBytes bounds what the engine allocates. All queries of the
	// analyst together get half of it, each the same part, so that the writer
	// always has its own; a query of the writer gets three quarters. A query
	// that needs more fails. At least 256 MiB; 0: DefaultMemory.
	MaxMemoryBytes uint64
	// MaxThreads bounds the threads of one query; 0: one per processor, at most 4.
	MaxThreads int

	// Of one query of the analyst, and of the writer.
	AnalystLimits Limits
	WriterLimits  Limits

	MaxInsertBytes int64 // of one insert's body, unpacked; 0: DefaultInsertBytes

	// KillWithin is how long a query that was killed may go on before Serve gives up the whole engine, which comes back
	// with everything that was answered. 0: DefaultKillWithin.
	KillWithin time.Duration

	Log *slog.Logger // nil: slog.Default
}

// Limits bound what one user's queries may take.
type Limits struct {
	Time        time.Duration // of one query, waiting in the queue included, in whole seconds
	ResultBytes uint64        // of one result as the engine holds it; text formats can be a few times longer
	AtOnce      int           // queries that run; of several of the analyst one place is for those with ReportKey
	Waiting     int           // queries that wait; beyond that they are refused
}

// Defaults of Config.
const (
	DefaultListen      = "127.0.0.1:0"
	DefaultDatabase    = "statistics"
	DefaultMemory      = 2 << 30
	DefaultInsertBytes = 256 << 20
	DefaultKillWithin  = time.Minute

	leastMemory = 256 << 20
)

// ReportKey is the quota_key of queries that are short and that somebody waits for, as the reports are: one place to run is
// kept free of all others, so that they do not wait behind long ones. Whoever gives it to a long query waits as before.
const ReportKey = "report"

// analystMemory is what one query of the analyst may allocate.
func (c Config) analystMemory() uint64 {
	return c.MaxMemoryBytes / 2 / uint64(c.AnalystLimits.AtOnce)
}

// Default limits of the two users: analysts ask what people wait for; the
// writer may rebuild.
var (
	DefaultAnalystLimits = Limits{Time: 30 * time.Second, ResultBytes: 64 << 20, AtOnce: 2, Waiting: 32}
	DefaultWriterLimits  = Limits{Time: 10 * time.Minute, ResultBytes: 256 << 20, AtOnce: 4, Waiting: 64}
)

func (l Limits) or(defaults Limits) Limits {
	if l.Time <= 0 {
		l.Time = defaults.Time
	}
	l.Time = max(l.Time.Truncate(time.Second), time.Second)
	if l.ResultBytes == 0 {
		l.ResultBytes = defaults.ResultBytes
	}
	if l.AtOnce <= 0 {
		l.AtOnce = defaults.AtOnce
	}
	if l.Waiting <= 0 {
		l.Waiting = defaults.Waiting
	}
	return l
}

// complete fills in the defaults and refuses what cannot work.
func (c Config) complete() (Config, error) {
	if c.Dir == "" || c.Writer == "" || c.Analyst == "" || c.Writer == c.Analyst {
		return c, errors.New("a folder and two different passwords are needed")
	}
	absolute, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("finding the folder %s: %w", c.Dir, err)
	}
	c.Dir = absolute
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if host, _, err := net.SplitHostPort(c.Listen); err != nil || !loopback(host) {
		return c, fmt.Errorf("the address %q is not a port of the loopback; statistics go to other machines through a ClickHouse server", c.Listen)
	}
	if c.Library == "" {
		if c.Library, err = Find(); err != nil {
			return c, err
		}
	}
	if c.AnalystDatabases == nil {
		c.AnalystDatabases = []string{DefaultDatabase}
	}
	if c.MaxMemoryBytes == 0 {
		c.MaxMemoryBytes = DefaultMemory
	}
	if c.MaxMemoryBytes < leastMemory {
		return c, fmt.Errorf("%d bytes of memory are too few for the engine; give it at least %d", c.MaxMemoryBytes, leastMemory)
	}
	if c.MaxThreads <= 0 {
		c.MaxThreads = min(runtime.NumCPU(), 4)
	}
	if c.MaxInsertBytes <= 0 {
		c.MaxInsertBytes = DefaultInsertBytes
	}
	if c.KillWithin <= 0 {
		c.KillWithin = DefaultKillWithin
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.AnalystLimits = c.AnalystLimits.or(DefaultAnalystLimits)
	c.WriterLimits = c.WriterLimits.or(DefaultWriterLimits)
	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ErrNoLibrary says that the engine is not on this machine.
var ErrNoLibrary = errors.New("the ClickHouse engine libchdb.so is not installed: statistics are off; run ops/setup to turn them on, or set KIROKU_CHDB to where the library is")

// Find tells where libchdb.so is: where the environment's KIROKU_CHDB says, or
// where ops/setup puts it, ${XDG_CACHE_HOME:-~/.cache}/kiroku/chdb-Version. It
// fails with ErrNoLibrary if it is not there.
func Find() (string, error) {
	if path := os.Getenv("KIROKU_CHDB"); path != "" {
		if !isFile(path) {
			return "", fmt.Errorf("KIROKU_CHDB names %s, which is no file: %w", path, ErrNoLibrary)
		}
		return path, nil
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(cache) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("looking for a cache folder: %w: %w", err, ErrNoLibrary)
		}
		cache = filepath.Join(home, ".cache")
	}
	path := filepath.Join(cache, "kiroku", "chdb-"+Version, "libchdb.so")
	if !isFile(path) {
		return "", fmt.Errorf("looking for %s: %w", path, ErrNoLibrary)
	}
	return path, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
