package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// verifyCmd is kiroku verify.
type verifyCmd struct {
	From        string   `placeholder:"FILE.jsonl" help:"A file that kiroku dump wrote; none: the ledger in the store."`
	Keys        string   `placeholder:"FILE" help:"Public keys to trust, as kiroku keys export-public wrote them; none: those the ledger itself names."`
	Heads       []string `placeholder:"FILE" help:"Heads that kiroku heads wrote down earlier; may be repeated."`
	MaxFindings int      `default:"100" help:"Show at most so many findings."`
}

// Help teaches.
func (verifyCmd) Help() string {
	return `Checks every event: its place in the chain, its batch's Merkle tree and signature, the digest of its payload, and the anchors. It needs no HSM and opens no payload. A dump is verified without the store.

Trust comes from outside: without --keys a ledger that was forged from its first event would pass, without --heads one that was cut off after the newest anchor this data directory knows. What was not given is said.

Exit status 1 means that something was found wrong; each finding names the stream and the event.

Examples:

    kiroku verify --keys keys.pem --heads heads-2026-11-01.json
    kiroku verify --from ledger.jsonl --keys keys.pem --heads heads.json`
}

// Run verifies.
func (cmd verifyCmd) Run(c *call) (err error) {
	options := ledger.Options{MaxFindings: cmd.MaxFindings}
	if options.Heads, err = readHeads(cmd.Heads); err != nil {
		return err
	}
	events, known, done, err := cmd.events(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	options.Heads = append(options.Heads, known...)
	keys, err := cmd.keys(events)
	if err != nil {
		return err
	}
	began := time.Now()
	progress := c.progress("verifying")
	result, err := ledger.Verify(keys, options, counted(events, progress))
	progress.end()
	switch {
	case err != nil: // a dump that cannot be read gives no verdict
		return fmt.Errorf("verifying: %w", err)
	case result.Events == 0 && len(options.Heads) == 0:
		return errors.New("verifying: there is no event to verify")
	}
	return cmd.report(c, result, time.Since(began))
}

// events yields what is to be verified, which can be ranged over more than
// once, and the heads that the data directory knows of it.
func (cmd verifyCmd) events(c *call) (iter.Seq2[ledger.Event, error], []ledger.Heads, func() error, error) {
	if cmd.From != "" {
		return dumpedEvents(c.ctx, cmd.From), nil, func() error { return nil }, nil
	}
	settings, err := c.configuration()
	if err != nil {
		return nil, nil, nil, err
	}
	core, err := openLedger(c.ctx, settings, c.quiet())
	if err != nil {
		return nil, nil, nil, err
	}
	streams, err := ledgerStreams(c.ctx, core.Store)
	if err != nil {
		return nil, nil, nil, errors.Join(err, core.Close())
	}
	known, err := knownHeads(c.ctx, core)
	if err != nil {
		return nil, nil, nil, errors.Join(err, core.Close())
	}
	return storedEvents(c.ctx, core.Store, streams), known, core.Close, nil
}

// knownHeads are the heads of this ledger's newest anchor, where a core of
// this data directory has kept it.
func knownHeads(ctx context.Context, core *Core) ([]ledger.Heads, error) {
	first, err := core.Store.ReadForward(ctx, event.StreamRegistry, 0, 1)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	_, header, _, err := ledger.DecodeMetadata(first[0].Metadata)
	if err != nil {
		return nil, nil // the verification says what is wrong with it
	}
	text, err := os.ReadFile(node.AnchorFile(core.Dir.Anchors(), ledger.LedgerID(ledger.LeafHash(header))))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the known anchor: %w", err)
	}
	heads, err := ledger.ParseHeads(text)
	if err != nil {
		return nil, fmt.Errorf("reading the known anchor: %w", err)
	}
	return []ledger.Heads{heads}, nil
}

func (cmd verifyCmd) keys(events iter.Seq2[ledger.Event, error]) (ledger.KeySet, error) {
	if cmd.Keys == "" {
		return keysAmong(events)
	}
	return readKeys(cmd.Keys)
}

func readKeys(name string) (ledger.KeySet, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return ledger.KeySet{}, fmt.Errorf("reading public keys: %w", err)
	}
	keys, err := ledger.ParseKeys(text)
	if err != nil {
		return ledger.KeySet{}, fmt.Errorf("reading the public keys in %s: %w", name, err)
	}
	return keys, nil
}

// dumpedEvents yields the events of a dump file.
func dumpedEvents(ctx context.Context, name string) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		file, err := os.Open(name)
		if err != nil {
			yield(ledger.Event{}, fmt.Errorf("reading the dump: %w", err))
			return
		}
		defer file.Close()
		for e, err := range ledger.ReadDump(file) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(ledger.Event{}, fmt.Errorf("reading the dump %s: %w", name, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func counted(events iter.Seq2[ledger.Event, error], p *progress) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for e, err := range events {
			p.add(1)
			if !yield(e, err) {
				return
			}
		}
	}
}

// verification is the outcome as --json prints it.
type verification struct {
	OK             bool         `json:"ok"`
	Ledger         string       `json:"ledger"`
	Events         uint64       `json:"events"`
	Batches        uint64       `json:"batches"`
	Signatures     uint64       `json:"signatures"`
	Anchors        uint64       `json:"anchors"`
	HeadsChecked   uint64       `json:"heads_checked"`
	HeadsUnchecked uint64       `json:"heads_unchecked"`
	Streams        []streamHead `json:"streams"`
	Findings       []finding    `json:"findings"`
	FindingsTotal  uint64       `json:"findings_total"`
	KeysFromLedger bool         `json:"keys_from_ledger"` // no --keys: forged from the start would pass
	Seconds        float64      `json:"seconds"`
}

type streamHead struct {
	Stream string `json:"stream"`
	Count  uint64 `json:"count"`
	Leaf   string `json:"leaf"`
}

type finding struct {
	Stream   string `json:"stream"`
	Revision uint64 `json:"revision"`
	Kind     string `json:"kind"`
	Detail   string `json:"detail"`
}

func (cmd verifyCmd) report(c *call, r ledger.Result, took time.Duration) error {
	v := verification{
		OK: r.OK(), Ledger: r.Ledger, Events: r.Events, Batches: r.Batches, Signatures: r.Signatures, Anchors: r.Anchors,
		HeadsChecked: r.HeadsChecked, HeadsUnchecked: r.HeadsUnchecked, FindingsTotal: r.FindingsTotal,
		KeysFromLedger: cmd.Keys == "", Seconds: took.Seconds(), Streams: []streamHead{}, Findings: []finding{},
	}
	for _, s := range r.Streams {
		v.Streams = append(v.Streams, streamHead{s.Stream, s.Count, fmt.Sprintf("%x", s.Leaf[:])})
	}
	for _, f := range r.Findings {
		v.Findings = append(v.Findings, finding{f.Stream, f.Revision, string(f.Kind), f.Detail})
	}
	if err := c.print(v, v.text(len(cmd.Heads) > 0)); err != nil {
		return err
	}
	if !v.OK {
		return fmt.Errorf("the ledger does not verify: %w: %d findings", errFoundWrong, v.FindingsTotal)
	}
	return nil
}

// text is the outcome for a person.
func (v verification) text(headsGiven bool) string {
	var b strings.Builder
	for _, f := range v.Findings {
		fmt.Fprintf(&b, "%s, event %d: %s: %s\n", f.Stream, f.Revision, f.Kind, f.Detail)
	}
	fmt.Fprintf(&b, "ledger %s: %d events in %d streams, %d batches, %d anchors, %d heads checked, in %.1f s\n",
		v.Ledger, v.Events, len(v.Streams), v.Batches, v.Anchors, v.HeadsChecked, v.Seconds)
	if v.KeysFromLedger {
		b.WriteString("note: the signing keys are the ledger's own word; give --keys FILE kept outside it\n")
	}
	if !headsGiven {
		b.WriteString("note: what came after the last anchor may be missing; give --heads FILE kept outside it\n")
	}
	if v.OK {
		b.WriteString("all is in order\n")
	}
	return b.String()
}
