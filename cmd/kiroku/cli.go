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

	"github.com/alecthomas/kong"

	"kiroku/adapters/datadir"
	"kiroku/cmd/kiroku/internal/config"
)

// cli is the tree of commands. A command is a type in a file of its own, with
// Run(*call) error and Help() string, and one line here.
type cli struct {
	Data     string            `placeholder:"DIR" help:"Data directory (KIROKU_DATA; $${XDG_DATA_HOME:-~/.local/share}/kiroku)."`
	Config   string            `placeholder:"FILE.yaml" help:"Configuration file (KIROKU_CONFIG)."`
	Set      map[string]string `placeholder:"KEY=VALUE" mapsep:"none" help:"Set any key of the configuration file; may be repeated."`
	JSON     bool              `name:"json" help:"Print results on standard output as JSON."`
	LogLevel string            `placeholder:"LEVEL" help:"debug, info, warn or error (KIROKU_LOG_LEVEL)."`

	Demo   demoCmd   `cmd:"" help:"Run the whole main job on made-up people."`
	Serve  serveCmd  `cmd:"" help:"Run the core."`
	Store  storeCmd  `cmd:"" help:"Run the embedded event store."`
	Verify verifyCmd `cmd:"" help:"Verify the ledger, or a dump of it."`
	Heads  headsCmd  `cmd:"" help:"Write down where every stream ends."`
	Dump   dumpCmd   `cmd:"" help:"Write out every event as it is stored."`
	Backup backupCmd `cmd:"" help:"Make, check and restore encrypted backups of the ledger."`
	Rules  rulesCmd  `cmd:"" help:"Work with scope rules."`
	Bench  benchCmd  `cmd:"" help:"Measure the core on this machine."`

	Simulate simulateCmd `cmd:"" help:"Let a core live through years, and hold it against the law."`

	ClickHouseEmbedded clickhouseEmbeddedCmd `cmd:"" name:"clickhouse-embedded" help:"Run the embedded ClickHouse, for statistics."`

	Stats       statsCmd       `cmd:"" help:"Ask the statistics."`
	Projections projectionsCmd `cmd:"" help:"See and rebuild the read models of a running core."`

	Retention retentionCmd `cmd:"" help:"See and run what ends records after seven years."`

	Hold     holdCmd     `cmd:"" help:"Keep days from destruction by an order (legal hold)."`
	Deletion deletionCmd `cmd:"" help:"Delete a person from the issuance register, as Juki-net asks and two officials approve."`
	Attest   attestCmd   `cmd:"" help:"Attest that copies of the HSM's keys hold destroyed keys no more."`

	Authorities authoritiesCmd `cmd:"" help:"See and change whose word counts on who is an official."`

	PKI     pkiCmd     `cmd:"" name:"pki" help:"Make certificates, and messages of Juki-net, for development."`
	Keys    keysCmd    `cmd:"" help:"Make and show the keys in the HSM."`
	Version versionCmd `cmd:"" help:"Say which kiroku this is."`
}

const description = `kiroku (記録): the core of the Information Provision Network as an event-sourced ledger.

Settings are built in, then read from --config FILE.yaml, then from KIROKU_… variables, then from flags; the later wins.

Exit status: 0 done, 1 checked and found wrong, 2 could not run.`

// call is one invocation of a command: what it may use of the outside.
type call struct {
	ctx         context.Context
	flags       *cli
	environment map[string]string
	out, err    io.Writer
}

// run is main without the process: it parses, runs and says how it ended.
func run(ctx context.Context, arguments []string, environment map[string]string) int {
	c := &call{ctx: ctx, flags: &cli{}, environment: environment, out: os.Stdout, err: os.Stderr}
	parser, err := kong.New(c.flags,
		kong.Name("kiroku"),
		kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: false}),
		kong.Writers(c.out, c.err),
	)
	if err != nil {
		return c.fail(err)
	}
	if len(arguments) == 0 {
		arguments = []string{"--help"}
	}
	parsed, err := parser.Parse(arguments)
	if err != nil {
		code := c.fail(err)
		fmt.Fprintf(c.err, "kiroku: %s --help says more\n", commandOf(err))
		return code
	}
	if err := parsed.Run(c); err != nil {
		return c.fail(err)
	}
	return exitDone
}

// commandOf names the command whose arguments could not be parsed.
func commandOf(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context.Command() != "" {
		return "kiroku " + parse.Context.Command()
	}
	return "kiroku"
}

// fail tells the person and chooses the exit status.
func (c *call) fail(err error) int {
	fmt.Fprintf(c.err, "kiroku: %v\n", err)
	if errors.Is(err, errFoundWrong) {
		return exitFoundWrong
	}
	return exitCouldNot
}

// configuration gathers the settings. Commands that need none do not ask, and
// so work under a broken configuration.
func (c *call) configuration() (config.Config, error) {
	sources := config.Sources{File: c.flags.Config, Environment: c.environment, Flags: map[string]string{}}
	if sources.File == "" {
		sources.File = c.environment["KIROKU_CONFIG"]
	}
	for key, value := range c.flags.Set {
		sources.Flags[key] = value
	}
	for key, value := range map[string]string{"data": c.flags.Data, "log.level": c.flags.LogLevel} {
		if value != "" {
			sources.Flags[key] = value
		}
	}
	settings, warnings, err := config.Load(sources)
	for _, warning := range warnings {
		fmt.Fprintf(c.err, "kiroku: note: %s\n", warning)
	}
	return settings, err
}

// dir is the data directory of the settings.
func dir(settings config.Config) datadir.Dir {
	return datadir.Dir(filepath.Clean(settings.Data))
}

// logger is for processes that stay: JSON on standard error.
func (c *call) logger(settings config.Config) *slog.Logger {
	return slog.New(slog.NewJSONHandler(c.err, &slog.HandlerOptions{Level: settings.Log.SlogLevel()}))
}

// quiet is the log of commands that end by themselves: what goes wrong becomes
// their error.
func (c *call) quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// print shows a result: as JSON where that was asked for, as text otherwise.
func (c *call) print(result any, text string) error {
	if c.flags.JSON {
		encoder := json.NewEncoder(c.out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(result); err != nil {
			return fmt.Errorf("printing the result: %w", err)
		}
		return nil
	}
	if _, err := fmt.Fprintln(c.out, strings.TrimRight(text, "\n")); err != nil {
		return fmt.Errorf("printing the result: %w", err)
	}
	return nil
}
