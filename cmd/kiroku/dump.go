package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"kiroku/adapters/datadir"
	"kiroku/domain/ledger"
)

// dumpCmd is kiroku dump.
type dumpCmd struct {
	Stream []string `placeholder:"NAME" help:"Only this stream; may be repeated."`
	Out    string   `placeholder:"FILE" help:"Write to FILE instead of standard output."`
}

// Help teaches.
func (dumpCmd) Help() string {
	return `Writes every event of the ledger as it is stored, one line of JSON each: stream, revision, id, type, data and metadata (base64). Payloads stay sealed. A dump is what kiroku verify takes, and what domain/ledger/FORMAT.md describes for verifiers written elsewhere. The registry comes first.

Examples:

    kiroku dump --out ledger.jsonl
    kiroku dump --stream registry | head`
}

// Run dumps.
func (cmd dumpCmd) Run(c *call) (err error) {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	core, err := openLedger(c.ctx, settings, c.quiet())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	streams, err := ledgerStreams(c.ctx, core.Store)
	if err != nil {
		return err
	}
	if len(cmd.Stream) > 0 {
		for _, name := range cmd.Stream {
			if !slices.Contains(streams, name) {
				return fmt.Errorf("the ledger has no stream %q; it has %v", name, streams)
			}
		}
		streams = cmd.Stream
	}
	write := func(w io.Writer) error { return cmd.write(c, core, streams, w) }
	if cmd.Out == "" {
		return write(c.out)
	}
	return datadir.WriteStream(cmd.Out, write)
}

func (cmd dumpCmd) write(c *call, core *Core, streams []string, w io.Writer) error {
	progress := c.progress("dumping")
	defer progress.end()
	buffered := bufio.NewWriterSize(w, 1<<20)
	var line []byte
	for e, err := range storedEvents(c.ctx, core.Store, streams) {
		if err != nil {
			return err
		}
		if line, err = ledger.AppendDumpLine(line[:0], e); err != nil {
			return fmt.Errorf("dumping %s, event %d: %w", e.Stream, e.Revision, err)
		}
		if _, err := buffered.Write(line); err != nil {
			return fmt.Errorf("writing the dump: %w", err)
		}
		progress.add(1)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("writing the dump: %w", err)
	}
	return nil
}
