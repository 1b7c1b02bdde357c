package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"kiroku/adapters/clickhouse/embedded"
	"kiroku/adapters/datadir"
	"kiroku/adapters/supervise"
	"kiroku/cmd/kiroku/internal/config"
)

// clickhouseName is the embedded ClickHouse's among what a data directory
// announces.
const clickhouseName = "clickhouse"

// clickhouseDrain is how long queries may finish when it is told to stop.
const clickhouseDrain = 5 * time.Second

// clickhouseEmbeddedCmd is kiroku clickhouse-embedded.
type clickhouseEmbeddedCmd struct {
	Supervised bool   `hidden:"" help:"End when standard input does."`
	Listen     string `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Loopback address; port 0: the one it had last, or any free one."`
	MemoryMiB  uint64 `name:"memory-mib" default:"2048" placeholder:"N" help:"What the engine may allocate, at least 256."`
}

// Help teaches.
func (clickhouseEmbeddedCmd) Help() string {
	return `Runs the embedded ClickHouse engine (chDB) on the data directory's clickhouse folder, for statistics. It answers ClickHouse's HTTP interface on the loopback. Two users: kiroku writes; analyst reads the database statistics, within limits of memory, time and size of results.

Its address and the generated passwords are in DIR/run/clickhouse.json, which only its owner can read. It keeps its port and passwords from one start to the next, and prints one line when it is ready. SIGTERM stops it, after five seconds even where queries run.

It needs libchdb.so, which ops/setup fetches. Where that is missing it says so and ends with status 2; kiroku works without, and statistics are off.

Example:

    kiroku clickhouse-embedded --data /var/lib/kiroku --memory-mib 4096`
}

// Run serves until told to stop.
func (cmd clickhouseEmbeddedCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	input, err := embedded.MoveStandardInput()
	if err != nil {
		return err
	}
	ctx := c.ctx
	if cmd.Supervised {
		var stop context.CancelFunc
		ctx, stop = supervise.AwaitParent(ctx, input)
		defer stop()
	}
	if err := cmd.serve(ctx, settings, c.out, c.logger(settings)); err != nil {
		return fmt.Errorf("running the embedded ClickHouse: %w", err)
	}
	return nil
}

// clickhouseFolder is where the embedded ClickHouse keeps its files.
func clickhouseFolder(d datadir.Dir) string { return filepath.Join(string(d), clickhouseName) }

func (cmd clickhouseEmbeddedCmd) serve(ctx context.Context, settings config.Config, out io.Writer, log *slog.Logger) error {
	library, err := embedded.Find()
	if err != nil {
		return err
	}
	d := dir(settings)
	folder := clickhouseFolder(d)
	if err := d.Make(folder); err != nil {
		return err
	}
	lock, err := datadir.Hold(folder)
	if err != nil {
		return err
	}
	defer lock.Release() //nolint:errcheck // the process ends
	previous, err := d.Find(clickhouseName)
	if err != nil && !errors.Is(err, datadir.ErrNotRunning) {
		return err
	}
	endpoint := datadir.Endpoint{PID: os.Getpid(), Passwords: map[string]datadir.Credential{}}
	for _, user := range []string{embedded.WriterName, embedded.AnalystName} {
		if endpoint.Passwords[user] = previous.Passwords[user]; endpoint.Passwords[user].IsZero() {
			endpoint.Passwords[user] = datadir.NewCredential()
		}
	}
	ready := func(address string) error {
		endpoint.Address, endpoint.Started = address, time.Now().UTC()
		if err := d.Announce(clickhouseName, endpoint); err != nil {
			return err
		}
		log.Info("embedded ClickHouse ready", "address", address, "folder", folder)
		_, err := fmt.Fprintf(out, "embedded ClickHouse ready on %s; credentials in %s\n", address, d.Run())
		return err
	}
	server := embedded.Config{
		Dir: folder, Library: library, MaxMemoryBytes: cmd.MemoryMiB << 20, Log: log,
		Writer:  embedded.Password(endpoint.Passwords[embedded.WriterName].Expose()),
		Analyst: embedded.Password(endpoint.Passwords[embedded.AnalystName].Expose()),
	}
	return serveClickHouse(ctx, server, cmd.Listen, previous.Address, ready)
}

// serveClickHouse listens where it is told to. Where any port will do it
// prefers the one of last time, so that who is connected finds it again.
func serveClickHouse(ctx context.Context, server embedded.Config, listen, previous string, ready func(string) error) error {
	server.Listen = listen
	if _, port, err := net.SplitHostPort(listen); err != nil || port != "0" || previous == "" {
		return embedded.Serve(ctx, server, clickhouseDrain, ready)
	}
	server.Listen = previous
	for deadline := time.Now().Add(portWait); ; {
		err := embedded.Serve(ctx, server, clickhouseDrain, ready)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
		if time.Now().After(deadline) {
			server.Listen = listen
			return embedded.Serve(ctx, server, clickhouseDrain, ready)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(portPause):
		}
	}
}
