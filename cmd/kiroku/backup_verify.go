package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"kiroku/adapters/backup"
	"kiroku/domain/ledger"
)

// backupVerifyCmd is kiroku backup verify.
type backupVerifyCmd struct {
	Folder      string   `arg:"" help:"Of the backup."`
	Identity    string   `required:"" placeholder:"FILE" help:"Private key of one of its recipients; the file must be readable by its owner only."`
	Keys        string   `placeholder:"FILE" help:"Public keys to trust, as kiroku keys export-public wrote them; none: those the ledger itself names."`
	Heads       []string `placeholder:"FILE" help:"Heads that kiroku heads wrote down before the backup; may be repeated."`
	Manifest    string   `placeholder:"DIGEST" help:"Digest of the manifest that kiroku backup create printed."`
	MaxFindings int      `default:"100" help:"Show at most so many findings."`
}

// Help teaches.
func (backupVerifyCmd) Help() string {
	return `Checks a backup where it lies: that every file is as it was written and none is missing or strange, that each opens, that the ledger in it verifies as kiroku verify does it, and that every stream ends where the manifest says. It needs the identity and public keys, and neither the core nor the HSM; nothing is written.

Exit status 1 means that something is wrong; what it is, is named by file, stream and event.

Example:

    kiroku backup verify /mnt/backup/2026-11-22 --identity backup-identity.txt --keys keys.pem`
}

// Run verifies.
func (cmd backupVerifyCmd) Run(c *call) error {
	opened, id, err := openBackup(cmd.Folder, cmd.Identity, cmd.Manifest)
	if err != nil {
		return err
	}
	options := ledger.Options{MaxFindings: cmd.MaxFindings}
	for _, name := range cmd.Heads {
		text, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("reading heads: %w", err)
		}
		heads, err := ledger.ParseHeads(text)
		if err != nil {
			return fmt.Errorf("reading the heads in %s: %w", name, err)
		}
		options.Heads = append(options.Heads, heads)
	}
	shape, from := shapeOf(opened.Manifest), time.Now()
	progress := c.progress("verifying")
	defer progress.end()
	wrong, err := opened.Check(c.ctx, id, nil)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		progress.end()
		return c.damages(shape, wrong)
	}
	events := counted(opened.Events(c.ctx, id), progress)
	keys, err := backupKeys(cmd.Keys, opened, id, c)
	if err != nil {
		return err
	}
	result, err := verifyAll(keys, options, opened.Manifest, events)
	progress.end()
	if errors.Is(err, backup.ErrDamaged) {
		return c.damages(shape, []error{err})
	}
	if err != nil {
		return fmt.Errorf("verifying the backup: %w", err)
	}
	return reportBackup(c, shape, result, cmd.Keys == "", time.Since(from))
}

// openBackup opens a finished backup and the key to it.
func openBackup(folder, identity, digest string) (*backup.Backup, backup.Identity, error) {
	id, err := backup.ReadIdentity(identity)
	if err != nil {
		return nil, id, err
	}
	opened, err := backup.Open(folder)
	if errors.Is(err, backup.ErrDamaged) {
		err = fmt.Errorf("%w: %w", errFoundWrong, err)
	}
	if err != nil {
		return nil, id, err
	}
	return opened, id, pinned(opened.Manifest, digest)
}

// backupKeys are the public keys given, or those that the backup's own registry
// names.
func backupKeys(file string, opened *backup.Backup, id backup.Identity, c *call) (ledger.KeySet, error) {
	if file != "" {
		return readKeys(file)
	}
	return keysAmong(opened.StreamEvents(c.ctx, id, ledger.RegistryStream))
}

// verifyAll verifies events against the heads of a backup: no fewer, and of each
// stream no more.
func verifyAll(keys ledger.KeySet, options ledger.Options, m backup.Manifest, events eventSeq) (ledger.Result, error) {
	heads, err := m.Plan.Heads()
	if err != nil {
		return ledger.Result{}, err
	}
	options.Heads = append(options.Heads, heads)
	result, err := ledger.Verify(keys, options, events)
	if err != nil {
		return result, err
	}
	if result.OK() && result.Events != m.End.Events {
		return result, fmt.Errorf("%w: %d events, where the backup has %d", errFoundWrong, result.Events, m.End.Events)
	}
	return result, nil
}

func reportBackup(c *call, shape backupShape, r ledger.Result, ownWord bool, took time.Duration) error {
	findings := []finding{}
	var b strings.Builder
	for _, f := range r.Findings {
		findings = append(findings, finding{f.Stream, f.Revision, string(f.Kind), f.Detail})
		fmt.Fprintf(&b, "%s, event %d: %s: %s\n", f.Stream, f.Revision, f.Kind, f.Detail)
	}
	b.WriteString(shape.text())
	for _, s := range shape.Streams {
		fmt.Fprintf(&b, "  %-12s events %d to %d\n", s.Stream, s.First, s.Next-1)
	}
	if ownWord {
		b.WriteString("note: the signing keys are the ledger's own word; give --keys FILE kept outside it\n")
	}
	if r.OK() {
		b.WriteString("all is in order\n")
	}
	result := map[string]any{"ok": r.OK(), "backup": shape, "findings": findings, "findings_total": r.FindingsTotal, "heads_checked": r.HeadsChecked,
		"anchors": r.Anchors, "keys_from_ledger": ownWord, "seconds": took.Seconds()}
	if err := c.print(result, b.String()); err != nil {
		return err
	}
	if !r.OK() {
		return fmt.Errorf("the ledger does not verify: %w: %d findings", errFoundWrong, r.FindingsTotal)
	}
	return nil
}
