package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/embedded"
	"kiroku/cmd/kiroku/internal/bench"
	"kiroku/cmd/kiroku/internal/config"
)

// benchStatsCmd is kiroku bench stats.
type benchStatsCmd struct {
	profiled
	Rows   int `default:"1000000" help:"Exchanges to count, at most ten million."`
	PerDay int `default:"27500" help:"Exchanges of a day, and so how many days there are; ten million make a year by default."`
	Asks   int `default:"9" help:"How often each report is asked for."`
}

// Bounds of a measure of the statistics.
const (
	mostStatsRows = 10_000_000
	mostStatsDays = 3000
)

// Help teaches.
func (benchStatsCmd) Help() string {
	return `Measures how fast the statistics are made again in the embedded ClickHouse, from made-up exchanges of as many agencies as Japan has under the rules that kiroku comes with, and how long each report about all of them takes. The events are opened and in memory: what the ledger costs is measured by kiroku bench replay.

It runs on an engine and a database of its own, in a new folder of the data directory, which is removed at the end. It touches no ledger, no token and no configured ClickHouse.

Examples:

    kiroku bench stats
    kiroku bench stats --rows 10000000 --json`
}

// Run measures.
func (cmd benchStatsCmd) Run(c *call) error {
	if err := positive(cmd.Rows, cmd.PerDay, cmd.Asks); err != nil {
		return err
	}
	days := (cmd.Rows + cmd.PerDay - 1) / cmd.PerDay
	if cmd.Rows > mostStatsRows || days > mostStatsDays {
		return fmt.Errorf("%d exchanges over %d days are too much; give at most %d over %d", cmd.Rows, days, mostStatsRows, mostStatsDays)
	}
	apart, remove, err := c.apart()
	if err != nil {
		return err
	}
	defer remove()
	apart.flags.Set["statistics.connection"] = config.Embedded
	profile := &profiler{path: cmd.CPUProfile}
	var report bench.Report
	err = apart.withEngine(func(ctx context.Context, writer, analyst *clickhouse.DB) error {
		show := c.progress("counting")
		defer show.end()
		p := bench.Parts{TokenIs: "none", Work: profile.work,
			StoreIs: "no event store; ClickHouse embedded (chDB " + embedded.Version + "), a process of its own, over HTTP on the loopback"}
		report, err = bench.Stats(ctx, p, bench.StatsOptions{Writer: writer, Analyst: analyst, Rows: cmd.Rows, Days: days, Asks: cmd.Asks, Batch: statisticsBatch, Applied: show.add})
		return errors.Join(err, profile.err)
	})
	if err != nil {
		return fmt.Errorf("measuring: %w", err)
	}
	return c.print(report, report.Text())
}

// withEngine runs work on the embedded engine, as both its users, and stops it.
func (c *call) withEngine(work func(ctx context.Context, writer, analyst *clickhouse.DB) error) (err error) {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	kept, writer, err := openClickHouse(c.ctx, settings, c.quiet(), io.Discard, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, writer.Close(), kept.stop()) }()
	analyst, err := clickhouse.Open(clickhouse.Config{Locate: func() (clickhouse.Location, error) { return locateClickHouse(dir(settings), embedded.AnalystName) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, analyst.Close()) }()
	if err := answers(c.ctx, writer); err != nil {
		return err
	}
	return work(c.ctx, writer, analyst)
}

// answers waits until ClickHouse answers.
func answers(ctx context.Context, db *clickhouse.DB) error {
	ctx, cancel := context.WithTimeout(ctx, engineWithin)
	defer cancel()
	for {
		ping := db.Ping(ctx)
		if ping == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ClickHouse does not answer: %w", ping)
		case <-time.After(keeperGap):
		}
	}
}
