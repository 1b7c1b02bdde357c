package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/embedded"
	"kiroku/adapters/datadir"
	"kiroku/cmd/kiroku/internal/config"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/projections"
	"kiroku/projections/statistics"
)

// errStatisticsOff is why nothing is counted where that was asked for.
var errStatisticsOff = errors.New("statistics.connection is off")

// statisticsFeed fills the statistics, by a runner of its own: the ledger and its views never wait for ClickHouse.
type statisticsFeed struct {
	keeper *keeper // of the embedded engine; nil where there is a server
	db     *clickhouse.DB
	node   *node.Node
	runner *projections.Runner
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// statisticsBatch is how many events are applied at a time where there are so many: a store of columns likes large ones.
const statisticsBatch = 50_000

// openStatistics begins to fill the statistics. It waits for nothing; it fails where statistics are off, and says how to
// turn them on. close must follow before closeNode.
func (c *Core) openStatistics(ctx context.Context, metrics projections.Metrics) error {
	kept, db, err := openClickHouse(ctx, c.Settings, c.Log, c.logs, false)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	feed := &statisticsFeed{keeper: kept, db: db, node: c.Node, stop: stop}
	projection := statistics.Open(running, db, statistics.Options{Register: c.Node.Issuances()})
	if feed.runner, err = c.Node.Follow(projections.Limits{BatchSize: statisticsBatch}, quietRetries{metrics}, projection); err != nil {
		return errors.Join(err, feed.close())
	}
	feed.done.Go(func() {
		feed.awaitEngine(running)
		feed.runner.Run(running)
	})
	feed.done.Go(func() { feed.rebuildLost(running, c.Log) })
	c.Statistics = feed
	return nil
}

// elsewhere names the statistics where there are any, on a server or, filled once, in the data directory: a day's end is
// certified when they have dropped it too, whether or not the engine is there to do so.
func (c *Core) elsewhere() []string {
	switch s := c.Settings.Statistics; s.Connection {
	case config.Off:
		return nil
	case config.Embedded:
		if _, err := embedded.Find(); err == nil {
			break
		}
		if kept, err := os.ReadDir(clickhouseFolder(c.Dir)); errors.Is(err, fs.ErrNotExist) || err == nil && len(kept) == 0 {
			return nil
		}
	}
	return []string{statistics.Name}
}

// Where an engine starts with its core, nobody asks it in vain before it answers; one that does not come is no reason not
// to tell how far behind it is.
const (
	engineStarts = 10 * time.Second
	engineLook   = 100 * time.Millisecond
)

// awaitEngine waits until the embedded engine answers, but not for long.
func (f *statisticsFeed) awaitEngine(ctx context.Context) {
	if f.keeper == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, engineStarts)
	defer cancel()
	for ctx.Err() == nil && f.db.Ping(ctx) != nil {
		select {
		case <-ctx.Done():
		case <-time.After(engineLook):
		}
	}
}

// rebuildLost counts anew when ClickHouse was found to have lost what it had.
func (f *statisticsFeed) rebuildLost(ctx context.Context, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.db.Lost():
		}
		switch err := f.runner.Rebuild(ctx, statistics.Name, nil); {
		case err == nil:
			f.db.Rebuilt()
		case ctx.Err() == nil:
			log.Error("rebuilding the statistics failed", "error", err.Error())
		}
	}
}

// kept is the keeper of the embedded engine, nil if there is none.
func (f *statisticsFeed) kept() *keeper {
	if f == nil {
		return nil
	}
	return f.keeper
}

// close stops filling the statistics, and the engine if it is a child.
func (f *statisticsFeed) close() error {
	if f == nil {
		return nil
	}
	f.stop()
	f.done.Wait()
	if f.runner != nil {
		f.node.Unfollow(f.runner)
	}
	err := f.db.Close()
	if f.keeper != nil {
		err = errors.Join(err, f.keeper.stop())
	}
	return err
}

// statuses are those of all projections.
func (c *Core) statuses() []projections.Status {
	all := c.Node.Runner.Statuses()
	if c.Statistics != nil {
		all = append(all, c.Statistics.runner.Statuses()...)
	}
	return all
}

// quietRetries tells nobody of retries: that ClickHouse is away is no failure of a stream, and shows as lag.
type quietRetries struct{ projections.Metrics }

// Retried implements projections.Metrics.
func (quietRetries) Retried(string) {}

// openClickHouse finds ClickHouse, beginning to keep the embedded one where that is configured.
func openClickHouse(ctx context.Context, settings config.Config, log *slog.Logger, logs io.Writer, analyst bool) (kept *keeper, db *clickhouse.DB, err error) {
	s := settings.Statistics
	c := clickhouse.Config{Cluster: s.Cluster, Database: s.Database, Threshold: s.PublishFrom, Log: log}
	switch s.Connection {
	case config.Off:
		return nil, nil, errStatisticsOff
	case config.Embedded:
		if _, err := embedded.Find(); err != nil {
			return nil, nil, err
		}
		user, core := embedded.WriterName, ""
		if analyst {
			user, core = embedded.AnalystName, dir(settings).Run() // where a core runs, so does its engine, or will
		}
		c.Locate = func() (clickhouse.Location, error) { return locateClickHouse(dir(settings), user) }
		if kept, err = keepClickHouse(ctx, settings, log, logs, core); err != nil {
			return nil, nil, err
		}
	default:
		c.Locate = func() (clickhouse.Location, error) { return serverLocation(s, analyst) }
		if _, err := c.Locate(); err != nil {
			return nil, nil, err
		}
	}
	if db, err = clickhouse.Open(c); err != nil && kept != nil {
		err = errors.Join(err, kept.stop())
	}
	return kept, db, err
}

// locateClickHouse is where the embedded engine says it is now.
func locateClickHouse(d datadir.Dir, user string) (clickhouse.Location, error) {
	endpoint, err := d.Find(clickhouseName)
	if err != nil {
		return clickhouse.Location{}, err
	}
	password := clickhouse.Password(endpoint.Passwords[user].Expose())
	return clickhouse.Location{Addresses: []string{endpoint.Address}, HTTP: true, User: user, Password: password}, nil
}

func serverLocation(s config.Statistics, analyst bool) (clickhouse.Location, error) {
	l := clickhouse.Location{Addresses: strings.Split(s.Connection, ","), User: s.User}
	file := s.PasswordFile
	if analyst && s.Analyst != "" {
		l.User, file = s.Analyst, s.AnalystFile
	}
	password, err := datadir.ReadSecret(file)
	if err != nil {
		return l, fmt.Errorf("reading the password of %s for ClickHouse: %w", l.User, err)
	}
	defer password.Destroy()
	l.Password = clickhouse.Password(password.Expose())
	if s.TLS {
		l.TLS, err = authorities(s.CAFile)
	}
	return l, err
}

// authorities trusts those of a file, or the system's.
func authorities(file string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return c, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading statistics.ca_file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading statistics.ca_file: %s holds no certificate in PEM", file)
	}
	return c, nil
}

// statisticsWithin is how long a demonstration waits for the statistics at its end.
const statisticsWithin = time.Minute

// fillStatistics brings the statistics up to the end of the ledger, and says what came of it. Nothing depends on it.
func (c *Core) fillStatistics(ctx context.Context, show *progress) string {
	if err := c.openStatistics(ctx, noMetrics{}); err != nil {
		return "statistics: " + err.Error()
	}
	feed := c.Statistics
	defer func() {
		c.Statistics = nil
		if err := feed.close(); err != nil {
			c.Log.Warn("closing the statistics failed", "error", err.Error())
		}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, statisticsWithin, fmt.Errorf("not filled within %s", statisticsWithin))
	defer cancel()
	defer feed.tell(ctx, show)()
	if err := c.Node.CaughtUpWith(ctx, feed.runner); err != nil {
		return fmt.Sprintf("statistics: not up to date, kiroku serve fills them: %v", errors.Join(context.Cause(ctx), feed.failure()))
	}
	return "statistics: up to date; kiroku stats list shows the reports"
}

// failure is why a stream is not followed now, nil if all are.
func (f *statisticsFeed) failure() error {
	for _, p := range f.runner.Statuses() {
		for _, s := range p.Streams {
			if s.Err != nil {
				return s.Err
			}
		}
	}
	return nil
}

// tell shows how many events were read, until the function returned is called.
func (f *statisticsFeed) tell(ctx context.Context, show *progress) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		var shown uint64
		for ctx.Err() == nil {
			var read uint64
			for _, p := range f.runner.Statuses() {
				for _, s := range p.Streams {
					read += s.Next
				}
			}
			if read > shown {
				show.add(int(read - shown))
				shown = read
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}
