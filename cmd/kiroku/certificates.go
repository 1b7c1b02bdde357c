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
	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/retention"
)

// retentionCertificatesCmd is kiroku retention certificates.
type retentionCertificatesCmd struct {
	Verify       bool     `help:"Prove every certificate."`
	Out          string   `placeholder:"FILE.jsonl" help:"Write what proves them to FILE, to be verified elsewhere."`
	From         string   `placeholder:"FILE.jsonl" help:"A file that --out or kiroku dump wrote; none: the ledger in the store."`
	Keys         string   `placeholder:"FILE" help:"Public keys to trust, as kiroku keys export-public wrote them; none: those the ledger itself names."`
	Heads        []string `placeholder:"FILE" help:"Heads that kiroku heads wrote down; may be repeated."`
	Officials    string   `placeholder:"CA.pem" help:"Authorities that certify officials (PEM), known from outside: an approval counts only under one of them."`
	Certificates []string `placeholder:"FILE.pem" help:"Officials' certificates (PEM) with those between them and an authority; may be repeated."`
}

// Help teaches.
func (retentionCertificatesCmd) Help() string {
	return `Lists, for each Japanese calendar day whose records have ended, the certificate of its destruction: when which token destroyed the key, how many events became unreadable, and how far that is proven.

Stages:

    destroyed      the key is gone; there is no certificate yet
    certified      everything that the core derived from the day is gone too
    unrecoverable  officials attested that every known copy of the key is gone

With --verify each certificate is proven from the registry (台帳) alone, without a core and without an HSM:

    chain        the registry is there from its first event to its last, each signed and in its place; the place of every certificate in it, and the next anchor
    destruction  one for each certificate, one certificate for each; the day was due; announced long enough before, by the anchors; the anchors prove that the time had passed; no legal hold was in force, where a hold is released by two officials' approvals only
    commitments  every key of the day that the ledger knew is named, as far as the events from which these come are still there
    rotations    of the vault, with the physical deletions (物理削除) that they carried out: each as two officials approved
    approvals    each is signed by the key it names, over the proposal it names
    passed over  days that could have ended and did not are named

--heads holds the ledger against heads written down outside. A head of the registry that is not met is an error: the registry ends before it, or has another event there. Heads of other streams are met by their events, by an anchor or by a truncation; those that cannot be compared are listed, and it is an error if none of a file can. In a store each must be there unless the registry gave it up.

--officials names the authorities that certify officials, by your own knowledge. Without it those that the registry names are believed; with it an approval counts only if it rests on one that is both in force in the registry and in the file, and an authority in the registry that is not in the file is an error: name all that were ever in force. The registry has of an official's certificate the hash only. That an authority issued it is proven for the certificates given with --certificates; of the others it is the core's word, and listed as not checked. Revocation is never checked.

What could not be checked is listed as "not checked", and the last line counts what was.

--out writes what the proof needs, in the form of kiroku dump: the whole registry, the events that opened the ended days and the generations of the vault, and those that --heads names, as far as the store has them. Give it to an auditor, with the public keys and a heads file by another way.

Exit status 1 means that something is wrong; the day and what is wrong with its certificate are named.

Examples:

    kiroku retention certificates
    kiroku retention certificates --verify --keys keys.pem --heads heads.json
    kiroku retention certificates --out certificates.jsonl --heads heads.json
    kiroku retention certificates --verify --from certificates.jsonl --keys keys.pem --heads heads.json --officials authorities.pem`
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
	events, done, err := cmd.events(c, heads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	checker, err := cmd.checker(events, heads)
	if err != nil {
		return err
	}
	if cmd.Out != "" {
		err = datadir.WriteStream(cmd.Out, func(w io.Writer) error { return passOn(events, checker, w) })
	} else {
		err = passOn(events, checker, io.Discard)
	}
	found := checker.Check()
	if err != nil {
		return fmt.Errorf("reading the certificates: %w", err)
	}
	return cmd.report(c, found)
}

// checker knows what is known from outside.
func (cmd retentionCertificatesCmd) checker(events iter.Seq2[ledger.Event, error], heads []ledger.Heads) (*retention.Checker, error) {
	keys, err := verifyCmd{Keys: cmd.Keys}.keys(events)
	if err != nil {
		return nil, err
	}
	checker := retention.NewChecker(retention.Statutory, keys)
	checker.Expect(heads...)
	if cmd.From == "" {
		checker.Whole()
	}
	var authorities approval.Officials
	if cmd.Officials != "" {
		text, err := os.ReadFile(cmd.Officials)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities of officials: %w", err)
		}
		if authorities, err = approval.ParseOfficials(text); err != nil {
			return nil, fmt.Errorf("reading %s: %w", cmd.Officials, err)
		}
	}
	var certificates [][]byte
	for _, name := range cmd.Certificates {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading officials' certificates: %w", err)
		}
		ders, err := approval.DecodePEM(text)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		certificates = append(certificates, ders...)
	}
	if err := checker.Trust(authorities, certificates...); err != nil {
		return nil, fmt.Errorf("reading officials' certificates: %w", err)
	}
	return checker, nil
}

// passOn hands events to the checker and writes those that it wants.
func passOn(events iter.Seq2[ledger.Event, error], checker *retention.Checker, w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	var line []byte
	for e, err := range events {
		if err != nil {
			return err
		}
		if !checker.Wants(e) {
			continue
		}
		checker.Add(e)
		if w == io.Discard {
			continue
		}
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
func (cmd retentionCertificatesCmd) events(c *call, heads []ledger.Heads) (iter.Seq2[ledger.Event, error], func() error, error) {
	if cmd.From != "" {
		return dumpedEvents(c.ctx, cmd.From), func() error { return nil }, nil
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
	s := &stored{ctx: c.ctx, store: core.Store, begins: map[string]uint64{}}
	return s.events(heads), core.Close, nil
}

// stored reads single events beside the registry.
type stored struct {
	ctx    context.Context
	store  *eventstore.Store
	begins map[string]uint64 // with which revision each stream begins
}

// events yields the whole registry, behind each destruction of a day's key the events that opened the day, then those that
// opened the generations of the vault, and in the end those that heads name, as far as the store has them.
func (s *stored) events(heads []ledger.Heads) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for e, err := range storedEvents(s.ctx, s.store, []string{event.StreamRegistry}) {
			if !yield(e, err) || err != nil {
				return
			}
			if e.Type == event.TypeDayKeyDestroyed && !passAll(s.openings(e), yield) {
				return
			}
		}
		_ = passAll(s.generations(), yield) && passAll(s.ends(heads), yield)
	}
}

func passAll(events iter.Seq2[ledger.Event, error], yield func(ledger.Event, error) bool) bool {
	for e, err := range events {
		if !yield(e, err) || err != nil {
			return false
		}
	}
	return true
}

// openings yields the events that opened a day whose key was destroyed.
func (s *stored) openings(destroyed ledger.Event) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		f, err := event.Decode[event.DayKeyDestroyed](destroyed.Data)
		if err != nil {
			return // the proof says what is wrong with it
		}
		for _, of := range f.Streams {
			for _, k := range of.Keys {
				if !s.one(of.Stream, k.Revision, yield) {
					return
				}
			}
		}
	}
}

// generations yields the events that opened the generations of the vault.
func (s *stored) generations() iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for e, err := range storedEvents(s.ctx, s.store, []string{event.StreamVault}) {
			if (err != nil || e.Type == event.TypeVaultOpened) && !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// ends yields the last events of the streams besides the registry, as the heads name them.
func (s *stored) ends(heads []ledger.Heads) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for _, file := range heads {
			for _, h := range file.Heads {
				if h.Stream != event.StreamRegistry && h.Count > 0 && !s.one(h.Stream, h.Count-1, yield) {
					return
				}
			}
		}
	}
}

// one yields one event if the store shows it, and reports whether to go on.
func (s *stored) one(stream string, revision uint64, yield func(ledger.Event, error) bool) bool {
	first, known := s.begins[stream]
	if !known {
		var err error
		if first, err = s.store.TruncateBefore(s.ctx, stream); err != nil {
			yield(ledger.Event{}, fmt.Errorf("looking where %s begins: %w", stream, err))
			return false
		}
		s.begins[stream] = first
	}
	if revision < first {
		return true
	}
	events, err := s.store.ReadForward(s.ctx, stream, revision, 1)
	switch {
	case err != nil && !errors.Is(err, eventstore.ErrNoStream):
		yield(ledger.Event{}, fmt.Errorf("reading %s@%d: %w", stream, revision, err))
		return false
	case len(events) == 1 && events[0].Revision == revision:
		return yield(events[0], nil)
	}
	return true
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
	for _, what := range shown.NotChecked {
		fmt.Fprintf(&b, "not checked: %s\n", what)
	}
	if shown.KeysFromLedger {
		b.WriteString("note: the signing keys are the ledger's own word; give --keys FILE kept outside it\n")
	}
	fmt.Fprintf(&b, "%d days ended: %d certificates, %d chain positions compared in %d events of the registry, %d of %d heads compared, %d rotations of the vault and %d approvals checked (%d with the official's certificate)",
		len(shown.Days), shown.Certificates.Certified, shown.Positions, shown.Registry, shown.Heads, shown.Given, shown.Certificates.Rotations, shown.Approvals, shown.Certificates.Officials)
	if shown.OK {
		b.WriteString("; nothing of that is wrong")
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
