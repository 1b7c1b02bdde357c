package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"

	"kiroku/cmd/kiroku/internal/bench"
	"kiroku/cmd/kiroku/internal/node"
)

// benchCmd is kiroku bench.
type benchCmd struct {
	Append   benchAppendCmd   `cmd:"" help:"Measure sealed appends."`
	Issue    benchIssueCmd    `cmd:"" help:"Measure bulk issuance."`
	Inquire  benchInquireCmd  `cmd:"" help:"Measure inquiries."`
	Replay   benchReplayCmd   `cmd:"" help:"Measure making the views again."`
	Disclose benchDiscloseCmd `cmd:"" help:"Measure showing a person's records."`
	Verify   benchVerifyCmd   `cmd:"" help:"Measure verification."`
	Stats    benchStatsCmd    `cmd:"" help:"Measure the statistics."`

	Retention benchRetentionCmd `cmd:"" help:"Measure the end of days and of people."`
}

const benchHelp = `

It runs on a ledger, a store and a development token of its own, in a new folder of the data directory, so on the disk that the data directory is on; the folder is removed at the end. It never touches the data directory's ledger or any configured store or token. Quote the ratio to the floor of the same run rather than the rate: rates are the machine's.`

// profiled is what all benchmarks can be told.
type profiled struct {
	CPUProfile string `name:"cpuprofile" placeholder:"FILE" help:"Write a CPU profile of each measure to FILE with its number, for go tool pprof."`
}

// benchAppendCmd is kiroku bench append.
type benchAppendCmd struct {
	profiled
	Events   int `default:"200000" help:"Events of each measure."`
	InFlight int `default:"256" help:"Callers that each wait for one event at a time."`
	Alone    int `default:"2000" help:"Events with one in flight."`
}

// Help teaches.
func (benchAppendCmd) Help() string {
	return `Measures events of 1 KiB from their plaintext to their being durable: encrypted under the data key of the day, chained, signed by the token, appended through the event store's client and synced by the store. With one event in flight, with many in one stream, and with many in as many streams as there are record streams. The floor is a bare write and fdatasync of the same bytes, 256 events at a time.` + benchHelp + `

Examples:

    kiroku bench append
    kiroku bench append --events 1000000 --in-flight 1024 --json`
}

// Run measures.
func (cmd benchAppendCmd) Run(c *call) error {
	return cmd.measure(c, func(ctx context.Context, p bench.Parts) (bench.Report, error) {
		return bench.Append(ctx, p, bench.AppendOptions{Events: cmd.Events, InFlight: cmd.InFlight, Alone: cmd.Alone, Streams: p.Node.Shards})
	}, cmd.Events, cmd.InFlight, cmd.Alone)
}

// benchIssueCmd is kiroku bench issue.
type benchIssueCmd struct {
	profiled
	People int `default:"30000" help:"People whose symbols are asked for."`
}

// Help teaches.
func (benchIssueCmd) Help() string {
	return `Measures bulk issuance of agency symbols (情報提供用個人識別符号) for one agency, first for people nobody knows, then for another agency and the same people. The floor is the calls of the token that this took, made again with nothing around them.` + benchHelp + `

Examples:

    kiroku bench issue
    kiroku bench issue --people 200000 --json`
}

// Run measures.
func (cmd benchIssueCmd) Run(c *call) error {
	return cmd.measure(c, func(ctx context.Context, p bench.Parts) (bench.Report, error) {
		return bench.Issue(ctx, p, bench.IssueOptions{People: cmd.People})
	}, cmd.People)
}

// benchInquireCmd is kiroku bench inquire.
type benchInquireCmd struct {
	profiled
	People    int   `default:"2000" help:"People asked about."`
	Inquiries int   `default:"60000" help:"Inquiries of each measure under load."`
	InFlight  []int `default:"256,1024" help:"Callers that each wait for one inquiry at a time; a measure for each number."`
	Alone     int   `default:"1000" help:"Inquiries with one in flight."`
}

// Help teaches.
func (benchInquireCmd) Help() string {
	return `Measures inquiries (情報提供の求め) in process, from the command to the durable outcome: the inquirer's symbol is inverted, the rules decide, the record is sealed, chained, signed and synced. With one inquiry in flight, then with many: the more there are, the more of them share a call of the token. The floor is a bare write and fdatasync of the same bytes.` + benchHelp + `

Examples:

    kiroku bench inquire
    kiroku bench inquire --inquiries 500000 --in-flight 64,512,4096 --json`
}

// Run measures.
func (cmd benchInquireCmd) Run(c *call) error {
	return cmd.measure(c, func(ctx context.Context, p bench.Parts) (bench.Report, error) {
		return bench.Inquire(ctx, p, bench.InquireOptions{People: cmd.People, Inquiries: cmd.Inquiries, InFlight: cmd.InFlight, Alone: cmd.Alone})
	}, append(cmd.InFlight, cmd.People, cmd.Inquiries, cmd.Alone)...)
}

// benchReplayCmd is kiroku bench replay.
type benchReplayCmd struct {
	profiled
	People    int `default:"20000" help:"People who get symbols at two agencies."`
	Inquiries int `default:"100000" help:"Inquiries about them."`
}

// Help teaches.
func (benchReplayCmd) Help() string {
	return `Fills a ledger with issuances and inquiries, throws the views away, and measures until all of them are made again: every event read from the store, verified, opened, and applied. The floor is reading the same streams with the same client and doing nothing with them.` + benchHelp + `

Examples:

    kiroku bench replay
    kiroku bench replay --people 100000 --inquiries 300000 --json`
}

// Run measures.
func (cmd benchReplayCmd) Run(c *call) error {
	return cmd.measure(c, func(ctx context.Context, p bench.Parts) (bench.Report, error) {
		return bench.Replay(ctx, p, bench.ReplayOptions{People: cmd.People, Inquiries: cmd.Inquiries})
	}, cmd.People, cmd.Inquiries)
}

// benchDiscloseCmd is kiroku bench disclose.
type benchDiscloseCmd struct {
	profiled
	People      int `default:"5000" help:"People who have records."`
	Records     int `default:"50000" help:"Records (情報提供等記録) of all of them together."`
	Disclosures int `default:"1000" help:"Disclosures, each of another person."`
}

// Help teaches.
func (benchDiscloseCmd) Help() string {
	return `Measures how long it takes to show one person their records (情報提供等記録の開示) among those of all others, the fact of the disclosure being recorded first.` + benchHelp + `

Examples:

    kiroku bench disclose
    kiroku bench disclose --people 100000 --records 10000000`
}

// Run measures.
func (cmd benchDiscloseCmd) Run(c *call) error {
	return cmd.measure(c, func(ctx context.Context, p bench.Parts) (bench.Report, error) {
		return bench.Disclose(ctx, p, bench.DiscloseOptions{People: cmd.People, Records: cmd.Records, Disclosures: cmd.Disclosures})
	}, cmd.People, cmd.Records, cmd.Disclosures)
}

// benchVerifyCmd is kiroku bench verify.
type benchVerifyCmd struct {
	profiled
	Events  int `default:"200000" help:"Events to verify, of 1 KiB each."`
	Streams int `default:"4" help:"Streams they are in."`
	Batch   int `default:"256" help:"Events under one signature."`
}

// Help teaches.
func (benchVerifyCmd) Help() string {
	return `Measures the verification of events that are in memory, and of the same events in a dump: chain, place in the signed batch, signature, digest of the payload. It makes the events itself and needs neither store nor token.

Examples:

    kiroku bench verify
    kiroku bench verify --events 1000000 --batch 16 --json`
}

// Run measures.
func (cmd benchVerifyCmd) Run(c *call) error {
	if err := positive(cmd.Events, cmd.Streams, cmd.Batch); err != nil {
		return err
	}
	folder, remove, err := c.scratch()
	if err != nil {
		return err
	}
	defer remove()
	profile := &profiler{path: cmd.CPUProfile}
	report, err := bench.Verify(c.ctx, bench.Parts{Dir: folder, StoreIs: "none", TokenIs: "none", Work: profile.work},
		bench.VerifyOptions{Events: cmd.Events, Streams: cmd.Streams, Batch: cmd.Batch})
	if err := errors.Join(err, profile.err); err != nil {
		return fmt.Errorf("measuring: %w", err)
	}
	return c.print(report, report.Text())
}

func positive(numbers ...int) error {
	for _, n := range numbers {
		if n < 1 {
			return fmt.Errorf("a benchmark of %d has nothing to measure; give numbers from 1", n)
		}
	}
	return nil
}

// measure runs a benchmark on a core of its own in a folder of its own.
func (f profiled) measure(c *call, run func(context.Context, bench.Parts) (bench.Report, error), numbers ...int) error {
	report, err := f.measured(c, nil, run, numbers...)
	if err != nil {
		return err
	}
	return c.print(report, report.Text())
}

// measured is measure on a node that is configured otherwise, and prints nothing.
func (f profiled) measured(c *call, change func(*node.Config), run func(context.Context, bench.Parts) (bench.Report, error), numbers ...int) (report bench.Report, err error) {
	if err := positive(numbers...); err != nil {
		return report, err
	}
	apart, remove, err := c.apart()
	if err != nil {
		return report, err
	}
	defer remove()
	profile := &profiler{path: f.CPUProfile}
	err = apart.withCoreAs(change, func(ctx context.Context, core *Core) error {
		p := bench.Parts{
			Dir: string(core.Dir), Node: core.Node, Store: core.Store, HSM: core.HSM, Work: profile.work,
			StoreIs: "embedded, a process of its own, over TLS on the loopback", TokenIs: "SoftHSM, in this process",
			StoreUsed: core.storeUsed, Afresh: core.afresh,
		}
		report, err = run(ctx, p)
		return errors.Join(err, profile.err)
	})
	if err != nil {
		return report, fmt.Errorf("measuring: %w", err)
	}
	return report, nil
}

// scratch makes a folder on the data directory's disk, and returns what removes it again.
func (c *call) scratch() (folder string, remove func(), err error) {
	settings, err := c.configuration()
	if err != nil {
		return "", nil, err
	}
	data := string(dir(settings))
	_, missing := os.Stat(data)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", nil, fmt.Errorf("making the data directory: %w", err)
	}
	if folder, err = os.MkdirTemp(data, "bench-"); err != nil {
		return "", nil, fmt.Errorf("making a folder for the benchmark: %w", err)
	}
	return folder, func() {
		_ = os.RemoveAll(folder)
		if errors.Is(missing, fs.ErrNotExist) {
			_ = os.Remove(data) // made here; only if there is nothing else in it
		}
	}, nil
}

// apart is the call on a new data directory and with the defaults, so that nothing configured is touched. What shapes the
// measure is kept.
func (c *call) apart() (*call, func(), error) {
	settings, err := c.configuration()
	if err != nil {
		return nil, nil, err
	}
	folder, remove, err := c.scratch()
	if err != nil {
		return nil, nil, err
	}
	return c.in(folder, settings), remove, nil
}

// afresh closes the node and opens it again, where wanted on empty views.
func (c *Core) afresh(ctx context.Context, emptyViews bool) (*node.Node, error) {
	if err := c.closeNode(); err != nil {
		return nil, err
	}
	if emptyViews {
		if err := os.RemoveAll(c.Dir.Views()); err != nil {
			return nil, fmt.Errorf("removing the views: %w", err)
		}
	}
	return c.Node, c.openNode(ctx, noMetrics{})
}

// profiler writes a CPU profile of each stretch of work.
type profiler struct {
	path string // empty: none
	n    int
	file *os.File
	err  error
}

func (p *profiler) work(running bool) {
	switch {
	case p.path == "" || p.err != nil:
	case running:
		p.n++
		extension := filepath.Ext(p.path)
		if p.file, p.err = os.Create(fmt.Sprintf("%s-%d%s", strings.TrimSuffix(p.path, extension), p.n, extension)); p.err == nil {
			p.err = pprof.StartCPUProfile(p.file)
		}
	case p.file != nil:
		pprof.StopCPUProfile()
		p.err, p.file = p.file.Close(), nil
	}
}
