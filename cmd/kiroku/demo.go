package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/cmd/kiroku/internal/config"
	"kiroku/cmd/kiroku/internal/demo"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/projections"
)

// demoCmd is kiroku demo.
type demoCmd struct {
	People    int    `default:"1000" help:"People who get symbols."`
	Agencies  int    `default:"6" help:"Agencies that take part."`
	Inquiries int    `default:"5000" help:"Inquiries to submit."`
	Seed      uint64 `default:"1" help:"Which of the possible demonstrations."`
	Anyway    bool   `help:"Also write made-up people where the store or the token is not the embedded default, or where the ledger has other agencies. They can never be removed."`
	Report    string `placeholder:"FILE" help:"Write the summary as JSON."`
}

// Help teaches.
func (demoCmd) Help() string {
	return `Runs the main job of the core, whole, in this process and on the parts that kiroku serve runs on: an event store, a token, the projections. Agencies and scope rules are registered; made-up resident codes (住民票コード) become agency symbols; inquiries are decided, notified, answered, refused or lapse; people see the records kept about them; the ledger verifies.

The demonstration knows what should come out, and fails if the core answers anything else. A second run on the same data directory continues the same ledger with other people.

Examples:

    kiroku demo
    kiroku demo --people 100 --inquiries 200 --report demo.json
    kiroku demo --data /tmp/kiroku-demo && kiroku verify --data /tmp/kiroku-demo`
}

const activeWithin = time.Minute // for an earlier core's lease to end, and for a new ledger's vault

// Run demonstrates.
func (cmd demoCmd) Run(c *call) (err error) {
	options := demo.Options{People: cmd.People, Agencies: cmd.Agencies, Inquiries: cmd.Inquiries, Seed: cmd.Seed}
	if err := options.Check(); err != nil {
		return err
	}
	if err := cmd.refuse(c); err != nil {
		return err
	}
	out := c.out
	if c.flags.JSON {
		out = io.Discard
	}
	var report demo.Report
	err = c.withCore(func(ctx context.Context, core *Core) error {
		if err := cmd.refuseLedger(core); err != nil {
			return err
		}
		fmt.Fprintf(out, "kiroku demo: %d people, %d agencies, %d inquiries; ledger %s in %s\n",
			cmd.People, cmd.Agencies, cmd.Inquiries, core.Node.Ledger[:16], core.Dir)
		bar := c.progress("demonstrating")
		defer bar.end()
		options.Progress = func(_ string, n int) { bar.add(n) }
		if report, err = demo.Run(ctx, core.Node, core.HSM, options, out); err != nil {
			return err
		}
		bar.end()
		filling := c.progress("filling the statistics")
		defer filling.end()
		fmt.Fprintln(out, core.fillStatistics(ctx, filling))
		return nil
	})
	if err != nil {
		return fmt.Errorf("demonstrating: %w", err)
	}
	return cmd.tell(c, report)
}

// errNotForDemo is returned where made-up people would stand beside real ones for ever.
var errNotForDemo = errors.New("this is no place for made-up people, who could never be removed; give another --data, or --anyway")

// refuse looks at what was configured before anything is opened.
func (cmd demoCmd) refuse(c *call) error {
	if cmd.Report != "" {
		if _, err := os.Stat(filepath.Dir(cmd.Report)); err != nil {
			return fmt.Errorf("the report cannot be written: %w", err)
		}
	}
	settings, err := c.configuration()
	if err != nil || cmd.Anyway {
		return err
	}
	if settings.Store.Connection != config.Embedded || !settings.HSM.Development() {
		return fmt.Errorf("the configured store or token is not the embedded default: %w", errNotForDemo)
	}
	return nil
}

// refuseLedger looks for agencies that no demonstration registered.
func (cmd demoCmd) refuseLedger(core *Core) error {
	if cmd.Anyway {
		return nil
	}
	for _, a := range core.Node.Registry.Snapshot().Agencies() {
		if !strings.HasPrefix(a.Code().String(), demo.CodePrefix) {
			return fmt.Errorf("the ledger in %s has the agency %s: %w", core.Dir, a.Code(), errNotForDemo)
		}
	}
	return nil
}

func (cmd demoCmd) tell(c *call, report demo.Report) error {
	if cmd.Report != "" {
		text, err := json.MarshalIndent(report, "", "  ")
		if err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		if err := datadir.WritePublic(cmd.Report, append(text, '\n')); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("done in %.1f s: %d inquiries = %d provided + %d unanswerable + %d refused + %d lapsed; %d events, %d verified",
		float64(report.ElapsedMS)/1000, report.Inquiries, report.Provided, report.Unanswerable, total(report.Refused), report.Lapsed,
		report.Events, report.VerifiedEvents)
	return c.print(report, text)
}

func total(counts map[string]int) int {
	n := 0
	for _, x := range counts {
		n += x
	}
	return n
}

// withCore runs work on a core of this process that is active, on the embedded defaults or whatever is configured, and
// ends it in order. What the parts log is shown only if it fails.
func (c *call) withCore(work func(context.Context, *Core) error) error {
	return c.withCoreAs(nil, work)
}

// withCoreAs is withCore on a node that is configured otherwise.
func (c *call) withCoreAs(change func(*node.Config), work func(context.Context, *Core) error) (err error) {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	var logs tail
	log := slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	defer func() {
		if err != nil {
			logs.show(c.err)
		}
	}()
	d := dir(settings)
	if err := d.Make(d.Run()); err != nil {
		return err
	}
	lock, err := datadir.Hold(d.Run())
	if err != nil {
		return fmt.Errorf("another kiroku works in this data directory; stop it, or give another --data: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if err := firstToken(c.ctx, settings, log); err != nil {
		return err
	}
	core, err := openCore(c.ctx, settings, log, &logs)
	if err != nil {
		return err
	}
	core.change = change
	defer func() { err = errors.Join(err, core.Close()) }()
	if err := waitForStore(c.ctx, core); err != nil {
		return err
	}
	if err := core.openHSM(c.ctx); err != nil {
		return err
	}
	if err := core.openNode(c.ctx, noMetrics{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.closeNode()) }()
	active, cancel := context.WithTimeoutCause(c.ctx, activeWithin, errors.New("another core is active on this ledger, or the store does not answer"))
	defer cancel()
	if err := core.Node.WaitActive(active); err != nil {
		return err
	}
	return work(c.ctx, core)
}

// noMetrics counts nothing.
type noMetrics struct{}

func (noMetrics) Applied(string, string, int, int) {}
func (noMetrics) Retried(string)                   {}
func (noMetrics) Halted(string)                    {}

var _ projections.Metrics = noMetrics{}
