package main

import (
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/backup"
	"kiroku/adapters/datadir"
)

// backupCmd is kiroku backup.
type backupCmd struct {
	Create   backupCreateCmd   `cmd:"" help:"Copy the ledger, encrypted, into a folder."`
	Verify   backupVerifyCmd   `cmd:"" help:"Check a backup, without the core."`
	Restore  backupRestoreCmd  `cmd:"" help:"Make an empty event store hold what a backup holds."`
	Identity backupIdentityCmd `cmd:"" help:"Make a key pair for backups."`
}

// backupIdentityCmd is kiroku backup identity.
type backupIdentityCmd struct {
	Out string `required:"" placeholder:"FILE" help:"Write the private key to FILE, which must not exist."`
}

// Help teaches.
func (backupIdentityCmd) Help() string {
	return `Makes a key pair of age: the private key (identity), which opens backups, goes to a file that only its owner can read; the public key (recipient), for which backups are encrypted, is printed. Do this where backups will be restored, not on the machine of the core, and keep the identity where no backup is kept. The program age makes and takes the same keys.

Example:

    kiroku backup identity --out backup-identity.txt`
}

// Run makes the key pair.
func (cmd backupIdentityCmd) Run(c *call) error {
	text, recipient, err := backup.NewIdentity()
	if err != nil {
		return err
	}
	defer clear(text)
	if _, err := os.Lstat(cmd.Out); err == nil {
		return fmt.Errorf("making an identity: %s exists, and may be the only key to backups; give another name", cmd.Out)
	}
	if err := datadir.WritePrivate(cmd.Out, text); err != nil {
		return err
	}
	result := map[string]string{"recipient": recipient, "fingerprint": backup.Fingerprint(recipient), "file": cmd.Out}
	return c.print(result, recipient)
}

// signedIn is who gives a command on the command line: until there is a network,
// the user that the operating system knows.
func signedIn() (string, error) {
	current, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("looking who is signed in: %w", err)
	}
	return current.Username, nil
}

// backupShape is a backup as --json describes it.
type backupShape struct {
	ID         uuid.UUID      `json:"id"`
	Ledger     string         `json:"ledger"`
	Begun      time.Time      `json:"begun"`
	Finished   time.Time      `json:"finished"`
	Anchor     backup.Anchor  `json:"anchor"`
	Streams    []backup.Range `json:"streams"`
	Recipients []string       `json:"recipients"`
	Segments   int            `json:"segments"`
	Events     uint64         `json:"events"`
	Bytes      int64          `json:"bytes"`
	Manifest   string         `json:"manifest"` // digest
}

func shapeOf(m backup.Manifest) backupShape {
	s := backupShape{ID: m.Plan.ID, Ledger: m.Plan.Ledger, Begun: m.Plan.Begun, Anchor: m.Plan.Anchor, Streams: m.Plan.Streams,
		Recipients: m.Plan.Recipients, Manifest: m.Digest}
	if m.End != nil {
		s.Finished, s.Segments, s.Events, s.Bytes = m.End.Finished, m.End.Segments, m.End.Events, m.End.Bytes
	}
	return s
}

// text describes a backup to a person.
func (s backupShape) text() string {
	return fmt.Sprintf("backup %s of %s: %d events in %d streams, %.1f MB in %d segments, for %d recipients\nledger %s up to the anchor at event %d of the registry, of %s\nmanifest %s\n",
		s.ID, s.Begun.Format(time.RFC3339), s.Events, len(s.Streams), float64(s.Bytes)/1e6, s.Segments, len(s.Recipients),
		s.Ledger, s.Anchor.Revision, s.Anchor.Time.Format(time.RFC3339), s.Manifest)
}

// pinned refuses a backup with another manifest than the one that was noted when
// it was made.
func pinned(m backup.Manifest, digest string) error {
	if digest != "" && digest != m.Digest {
		return fmt.Errorf("%w: %s: its digest is %s, and %s was expected: it is the manifest of another backup, or was exchanged", errFoundWrong, backup.ManifestFile, m.Digest, digest)
	}
	return nil
}

// damages prints what is wrong with the files of a backup.
func (c *call) damages(shape backupShape, wrong []error) error {
	lines := []string{}
	text := ""
	for _, err := range wrong {
		lines = append(lines, err.Error())
		text += err.Error() + "\n"
	}
	if err := c.print(map[string]any{"ok": false, "backup": shape, "damaged": lines}, text); err != nil {
		return err
	}
	return fmt.Errorf("the backup does not verify: %w: %d files", errFoundWrong, len(wrong))
}
