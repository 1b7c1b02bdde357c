package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// headsCmd is kiroku heads.
type headsCmd struct {
	Out string `placeholder:"FILE" help:"Write to FILE instead of standard output."`
}

// Help teaches.
func (headsCmd) Help() string {
	return `Writes down where every stream of the ledger ends: the number of its events and the hash of the last. Keep the file where whoever can change the ledger cannot reach it. kiroku verify --heads FILE then notices if a tail was cut off or an older copy was put in the ledger's place.

Example:

    kiroku heads --out heads-$(date +%F).json`
}

// Run writes the heads.
func (cmd headsCmd) Run(c *call) (err error) {
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	core, err := openLedger(c.ctx, settings, c.quiet())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	heads, err := currentHeads(c.ctx, core)
	if err != nil {
		return err
	}
	text, err := heads.Encode()
	if err != nil {
		return fmt.Errorf("writing down the heads: %w", err)
	}
	if cmd.Out != "" {
		return datadir.WritePublic(cmd.Out, text)
	}
	_, err = c.out.Write(text) // JSON, with --json and without
	return err
}

// currentHeads reads the last event of every stream and checks it alone.
func currentHeads(ctx context.Context, core *Core) (ledger.Heads, error) {
	streams, err := ledgerStreams(ctx, core.Store)
	if err != nil {
		return ledger.Heads{}, err
	}
	keys, err := publishedKeys(ctx, core.Store)
	if err != nil {
		return ledger.Heads{}, err
	}
	heads := ledger.Heads{Time: time.Now().UTC().Truncate(time.Microsecond)}
	first, err := core.Store.ReadForward(ctx, event.StreamRegistry, 0, 1)
	if err != nil {
		return ledger.Heads{}, fmt.Errorf("reading the registry: %w", err)
	}
	beginning, err := checked(first[0], keys)
	if err != nil {
		return ledger.Heads{}, err
	}
	heads.Ledger = ledger.LedgerID(beginning.Leaf)
	for _, stream := range streams {
		last, ok, err := core.Store.ReadLast(ctx, stream)
		if err != nil {
			return ledger.Heads{}, fmt.Errorf("reading the end of %s: %w", stream, err)
		}
		if !ok {
			continue
		}
		end, err := checked(last, keys)
		if err != nil {
			return ledger.Heads{}, err
		}
		head := end.Head()
		heads.Heads = append(heads.Heads, ledger.AnchoredHead{Stream: stream, Count: head.Count, Leaf: head.Leaf})
	}
	ledger.SortHeads(heads.Heads)
	return heads, nil
}

func checked(e ledger.Event, keys ledger.KeySet) (ledger.Checked, error) {
	c, err := ledger.CheckEvent(e, keys)
	if err != nil {
		return ledger.Checked{}, fmt.Errorf("%w: %w", errFoundWrong, err)
	}
	return c, nil
}
