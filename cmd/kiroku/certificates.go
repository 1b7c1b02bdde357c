package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/adapters/eventstore"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
)

// retentionCertificatesCmd is kiroku retention certificates.
type retentionCertificatesCmd struct {
	Verify bool     `help:"Prove every certificate."`
	Out    string   `placeholder:"FILE.jsonl" help:"Write what proves them to FILE, to be verified elsewhere."`
	From   string   `placeholder:"FILE.jsonl" help:"A file that --out or kiroku dump wrote; none: the ledger in the store."`
	Keys   string   `placeholder:"FILE" help:"Public keys to trust, as kiroku keys export-public wrote them; none: those the ledger itself names."`
	Heads  []string `placeholder:"FILE" help:"Heads that kiroku heads wrote down; may be repeated."`
}

// Help teaches.
func (retentionCertificatesCmd) Help() string {
	return `Lists, for each Japanese calendar day whose records have ended, the certificate of its destruction: when which token destroyed the key, how many events became unreadable, and how far that is proven.

Stages:

    destroyed      the key is gone; there is no certificate yet
    certified      everything that the core derived from the day is gone too
    unrecoverable  officials attested that every known copy of the key is gone

With --verify each certificate is proven, without a core and without an HSM: the signatures of all events it rests on; that it names the destruction by its hash; that the day was due and announced long enough before, by the times of the events and of an anchor; that it names every key of the day that the ledger knew, with its commitment, as far as the events from which these come are still there; and that a chain of events leads from it to the next anchor. Days that were passed over are named too.

--out writes what the proof needs, in the form of kiroku dump: give it to an auditor, with the public keys and a heads file by another way.

Exit status 1 means that something is wrong; the day and what is wrong with its certificate are named.

Examples:

    kiroku retention certificates
    kiroku retention certificates --verify --keys keys.pem
    kiroku retention certificates --out certificates.jsonl
    kiroku retention certificates --verify --from certificates.jsonl --keys keys.pem --heads heads.json`
}

// certificatesShown is the outcome as --json prints it.
type certificatesShown struct {
	retention.Certificates
	Verified       bool `json:"verified"`
	OK             bool `json:"ok"`
	KeysFromLedger bool `json:"keys_from_ledger"` // no --keys: forged from the start would pass
}

// Run lists, exports and proves.
func (cmd retentionCertificatesCmd) Run(c *call) (err error) {
	heads, err := readHeads(cmd.Heads)
	if err != nil {
		return err
	}
	events, done, err := cmd.events(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	keys, err := verifyCmd{Keys: cmd.Keys}.keys(events)
	if err != nil {
		return err
	}
	checker := retention.NewChecker(retention.Statutory, keys)
	if cmd.Out != "" {
		err = datadir.WriteStream(cmd.Out, func(w io.Writer) error { return passOn(events, checker, w) })
	} else {
		err = passOn(events, checker, io.Discard)
	}
	if err != nil {
		return fmt.Errorf("reading the certificates: %w", err)
	}
	return cmd.report(c, checker.Check(heads...))
}

// passOn hands events to the checker and writes them.
func passOn(events iter.Seq2[ledger.Event, error], checker *retention.Checker, w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	var line []byte
	for e, err := range events {
		if err != nil {
			return err
		}
		checker.Add(e)
		if line, err = ledger.AppendDumpLine(line[:0], e); err != nil {
			return err
		}
		if _, err := buffered.Write(line); err != nil {
			return err
		}
	}
	return buffered.Flush()
}

// events yields what the certificates are proven with; it can be ranged over more than once.
func (cmd retentionCertificatesCmd) events(c *call) (iter.Seq2[ledger.Event, error], func() error, error) {
	if cmd.From != "" {
		return picked(dumpedEvents(c.ctx, cmd.From)), func() error { return nil }, nil
	}
	settings, err := c.configuration()
	if err != nil {
		return nil, nil, err
	}
	core, err := openLedger(c.ctx, settings, c.quiet())
	if err != nil {
		return nil, nil, err
	}
	if _, err := ledgerStreams(c.ctx, core.Store); err != nil {
		return nil, nil, errors.Join(err, core.Close())
	}
	registry := picked(storedEvents(c.ctx, core.Store, []string{event.StreamRegistry}))
	return withOpenings(c.ctx, core.Store, registry), core.Close, nil
}

// picked yields what belongs to a bundle of certificates.
func picked(events iter.Seq2[ledger.Event, error]) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		var from retention.Selector
		for e, err := range events {
			wanted := err != nil || e.Type == ledger.TypeDayOpened || e.Stream == event.StreamRegistry && from.Wants(e)
			if wanted && (!yield(e, err) || err != nil) {
				return
			}
		}
	}
}

// withOpenings yields the registry's events, and behind each destruction of a day's key the events that opened the day, as
// far as the store has them.
func withOpenings(ctx context.Context, store *eventstore.Store, registry iter.Seq2[ledger.Event, error]) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		begins := map[string]uint64{}
		for e, err := range registry {
			if !yield(e, err) || err != nil {
				return
			}
			if e.Type != event.TypeDayKeyDestroyed {
				continue
			}
			openings, err := openingsOf(ctx, store, e, begins)
			if err != nil {
				yield(ledger.Event{}, err)
				return
			}
			for _, o := range openings {
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// openingsOf reads the events that opened a day. begins keeps with which revision each stream begins.
func openingsOf(ctx context.Context, store *eventstore.Store, destroyed ledger.Event, begins map[string]uint64) (found []ledger.Event, err error) {
	f, err := event.Decode[event.DayKeyDestroyed](destroyed.Data)
	if err != nil {
		return nil, nil // the proof says what is wrong with it
	}
	for _, s := range f.Streams {
		first, known := begins[s.Stream]
		if !known {
			if first, err = store.TruncateBefore(ctx, s.Stream); err != nil {
				return nil, fmt.Errorf("looking where %s begins: %w", s.Stream, err)
			}
			begins[s.Stream] = first
		}
		for _, k := range s.Keys {
			if k.Revision < first {
				continue
			}
			events, err := store.ReadForward(ctx, s.Stream, k.Revision, 1)
			if err != nil && !errors.Is(err, eventstore.ErrNoStream) {
				return nil, fmt.Errorf("reading %s@%d: %w", s.Stream, k.Revision, err)
			}
			if len(events) == 1 && events[0].Revision == k.Revision {
				found = append(found, events[0])
			}
		}
	}
	return found, nil
}

func readHeads(names []string) ([]ledger.Heads, error) {
	var all []ledger.Heads
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading heads: %w", err)
		}
		heads, err := ledger.ParseHeads(text)
		if err != nil {
			return nil, fmt.Errorf("reading the heads in %s: %w", name, err)
		}
		all = append(all, heads)
	}
	return all, nil
}

func (cmd retentionCertificatesCmd) report(c *call, found retention.Certificates) error {
	shown := certificatesShown{Certificates: found, Verified: cmd.Verify, OK: found.OK(), KeysFromLedger: cmd.Keys == ""}
	text, err := cmd.text(shown)
	if err != nil {
		return err
	}
	if err := c.print(shown, text); err != nil {
		return err
	}
	if cmd.Verify && !shown.OK {
		wrong := len(found.Flaws)
		for _, d := range found.Days {
			wrong += len(d.Flaws)
		}
		return fmt.Errorf("the certificates do not verify: %w: %d flaws", errFoundWrong, wrong)
	}
	return nil
}

// stageOf says of a day also that its key was lost.
func stageOf(d retention.Certificate) string {
	switch {
	case d.Premature:
		return d.Stage + ", key lost before due"
	case d.Lost:
		return d.Stage + ", key lost"
	}
	return d.Stage
}

func (cmd retentionCertificatesCmd) text(shown certificatesShown) (string, error) {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(shown.Days) > 0 {
		fmt.Fprintln(table, "DAY\tSTAGE\tEVENTS\tDESTROYED\tBY TOKEN\tREGISTRY\tANCHORED\tCOMMITMENTS")
	}
	for _, d := range shown.Days {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s %s\t%d\t%s\t%d of %d compared\n", d.Day, stageOf(d), d.Events, minute(d.Destroyed),
			d.Token.Label, d.Token.Serial, d.Revision, minute(d.Anchored), d.Compared, d.Commitments)
	}
	if err := table.Flush(); err != nil {
		return "", fmt.Errorf("printing the certificates: %w", err)
	}
	if !cmd.Verify {
		fmt.Fprintf(&b, "%d days ended; --verify proves it", len(shown.Days))
		return b.String(), nil
	}
	for _, d := range shown.Days {
		for _, flaw := range d.Flaws {
			fmt.Fprintf(&b, "%s: %s\n", d.Day, flaw)
		}
	}
	for _, flaw := range shown.Flaws {
		fmt.Fprintln(&b, flaw)
	}
	if shown.KeysFromLedger {
		b.WriteString("note: the signing keys are the ledger's own word; give --keys FILE kept outside it\n")
	}
	if shown.Heads == 0 {
		b.WriteString("note: no head from outside was compared; give --heads FILE kept outside it\n")
	}
	fmt.Fprintf(&b, "%d days ended", len(shown.Days))
	if shown.OK {
		b.WriteString("; all is in order")
	}
	return b.String(), nil
}

// minute shows a time in Japan.
func minute(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.In(japan).Format("2006-01-02 15:04")
}

var japan = time.FixedZone("JST", 9*60*60)
