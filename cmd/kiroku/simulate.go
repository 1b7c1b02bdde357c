package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/cmd/kiroku/internal/config"
	"kiroku/cmd/kiroku/internal/simulate"
	"kiroku/domain/calendar"
)

// simulateCmd is kiroku simulate.
type simulateCmd struct {
	Years simulateYearsCmd `cmd:"" help:"Live through nine years of records and of their end."`
}

// simulateYearsCmd is kiroku simulate years.
type simulateYearsCmd struct {
	Days   int          `default:"3287" help:"Days to live through; nine years are 3287."`
	PerDay int          `default:"20" help:"Inquiries on each day, at least 2."`
	From   calendar.Day `default:"2026-04-01" placeholder:"YYYY-MM-DD" help:"The first day."`
	Seed   uint64       `default:"1" help:"Which of the possible histories."`
	Checks int          `default:"50" help:"Days on which the whole ledger is verified, before and after what ends on them."`
	Busy   int          `placeholder:"N" help:"Only the first N days have work; then there is an anchor a week until they are to end."`
	Anew   bool         `help:"Remove what an earlier simulation left in the data directory."`
	Report string       `placeholder:"FILE" help:"Write the report as JSON."`

	profiled
}

// Help teaches.
func (simulateYearsCmd) Help() string {
	return `Lets a core live through years in minutes: its own embedded store, development token and views in a folder of the data directory, and a clock that the simulation sets. On each day there are inquiries, answers, lapses, refusals and an anchor; now and then symbols are issued, records are disclosed, an order holds days, two officials release one, a person is deleted from the register. The retention runs shortly after each midnight.

By books of its own, the simulation knows which days are due (seven years, Order 30, 番号法施行令30条). After each pass it looks: exactly those have lost their key, each with one certificate; nothing of them opens, with the core's keys nor with those of an archive of all events and the living token; the days after them open. What is new is verified daily from the heads of the day before, and the whole ledger at the ends of years and on days that the seed chooses, before and after the beginnings of the streams are given up and removed.

The folder, DATA/simulation, stays: it is a data directory of its own, for kiroku verify and kiroku retention certificates. Exit status 1 means that something was wrong; the message names the day.

Examples:

    kiroku simulate years
    kiroku simulate years --days 400 --per-day 50 --seed 7 --anew
    kiroku simulate years --days 2640 --busy 40 --from 2028-02-01 --report years.json`
}

// simulationMarker lies in the folder of a simulation, so that nothing else is ever removed.
const simulationMarker = "made-by-simulation"

// Run simulates.
func (cmd simulateYearsCmd) Run(c *call) error {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	o := simulate.Options{Days: cmd.Days, PerDay: cmd.PerDay, From: cmd.From, Seed: cmd.Seed, Checks: cmd.Checks, Busy: cmd.Busy}
	shown := showDays(c)
	o.Progress = shown.show
	if err := o.Check(); err != nil {
		return err
	}
	folder := filepath.Join(string(dir(settings)), "simulation")
	if err := cmd.prepare(folder); err != nil {
		return err
	}
	s, err := simulate.New(o)
	if err != nil {
		return err
	}
	apart := c.in(folder, settings)
	profile := &profiler{path: cmd.CPUProfile}
	var report simulate.Report
	err = apart.withCoreAs(s.Configure, func(ctx context.Context, core *Core) error {
		parts := simulate.Parts{Node: core.Node, Store: core.Store, HSM: core.HSM, StoreBytes: func() (int64, error) { return bytesIn(core.Dir.Store()) }}
		afresh := parts
		parts.Afresh = func(ctx context.Context) (simulate.Parts, error) {
			n, err := core.afresh(ctx, false)
			if err == nil {
				active, cancel := context.WithTimeoutCause(ctx, activeWithin, errors.New("the core does not become active"))
				defer cancel()
				err = n.WaitActive(active)
			}
			next := afresh
			next.Node, next.Afresh = core.Node, parts.Afresh
			return next, err
		}
		profile.work(true)
		defer profile.work(false)
		report, err = s.Run(ctx, parts)
		return err
	})
	shown.end()
	if errors.Is(err, simulate.ErrWrong) {
		err = fmt.Errorf("%w: %w", errFoundWrong, err)
	}
	if err = errors.Join(err, profile.err); err != nil {
		return fmt.Errorf("simulating: %w", err)
	}
	return cmd.tell(c, report)
}

// prepare makes the folder, which is the simulation's alone.
func (cmd simulateYearsCmd) prepare(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for an earlier simulation: %w", err)
	}
	if len(entries) > 0 {
		_, err := os.Stat(filepath.Join(folder, simulationMarker))
		switch {
		case err != nil:
			return fmt.Errorf("%s holds something that no simulation made; give another --data", folder)
		case !cmd.Anew:
			return fmt.Errorf("%s holds an earlier simulation; --anew removes it", folder)
		}
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("removing the earlier simulation: %w", err)
		}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("making a folder for the simulation: %w", err)
	}
	return datadir.WritePrivate(filepath.Join(folder, simulationMarker), nil)
}

func (cmd simulateYearsCmd) tell(c *call, report simulate.Report) error {
	if cmd.Report != "" {
		text, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		if err := datadir.WritePublic(cmd.Report, append(text, '\n')); err != nil {
			return err
		}
	}
	return c.print(report, report.Text())
}

// in is the call on another data directory and with the defaults, so that nothing configured is touched. What shapes the
// ledger is kept.
func (c *call) in(folder string, settings config.Config) *call {
	flags := &cli{Data: folder, JSON: c.flags.JSON, Set: map[string]string{
		"ledger.record_shards": strconv.Itoa(settings.Ledger.RecordShards),
		"hsm.sessions":         strconv.Itoa(settings.HSM.Sessions),
		"store.connection":     config.Embedded,

		"statistics.connection": config.Off, // nothing fills them here
	}}
	return &call{ctx: c.ctx, flags: flags, out: c.out, err: c.err}
}

// bytesIn is how much the files of a folder hold.
func bytesIn(folder string) (sum int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreGone(err)
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Size()
		}
		return ignoreGone(err)
	})
	if err != nil {
		return 0, fmt.Errorf("measuring %s: %w", folder, err)
	}
	return sum, nil
}

// ignoreGone ignores files that a process at work has removed meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dayLine shows how far a simulation has come: in one line that changes on a terminal, elsewhere in a line each minute.
type dayLine struct {
	c        *call
	terminal bool
	last     time.Time
}

func showDays(c *call) *dayLine {
	l := &dayLine{c: c, terminal: isTerminal(c.err)}
	if !l.terminal {
		l.last = time.Now()
	}
	return l
}

func (l *dayLine) show(p simulate.Progress) {
	gap, before, after := 200*time.Millisecond, "\r\033[K", ""
	if !l.terminal {
		gap, before, after = lineEach, "", "\n"
	}
	if time.Since(l.last) < gap && (p.Done < p.Of || !l.terminal) {
		return
	}
	l.last = time.Now()
	fmt.Fprintf(l.c.err, "%s%s: day %d of %d; %d days ended, %d keys of days in the token; %s%s",
		before, p.Day, p.Done, p.Of, p.Ended, p.Keys, p.Elapsed.Round(time.Second), after)
}

func (l *dayLine) end() {
	if l.terminal && !l.last.IsZero() {
		fmt.Fprint(l.c.err, "\r\033[K")
	}
}
