package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kiroku/adapters/backup"
	"kiroku/adapters/datadir"
	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/config"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/domain/ledger"
)

type eventSeq = iter.Seq2[ledger.Event, error]

// backupRestoreCmd is kiroku backup restore.
type backupRestoreCmd struct {
	Folder   string `arg:"" help:"Of the backup."`
	Identity string `required:"" placeholder:"FILE" help:"Private key of one of its recipients; the file must be readable by its owner only."`
	Keys     string `placeholder:"FILE" help:"Public keys to trust, as kiroku keys export-public wrote them; none: the signing key in the configured token."`
	Manifest string `placeholder:"DIGEST" help:"Digest of the manifest that kiroku backup create printed."`
}

// Help teaches.
func (backupRestoreCmd) Help() string {
	return `Makes the event store of an empty data directory, or an empty store that the configuration names, hold exactly what a backup holds, each event at its revision, and verifies all of it. The backup's files are checked before anything is written. Interrupted, the same command goes on where it was; a core does not start before it is done.

What is not in a backup comes from elsewhere: the HSM's token from the HSM's own backup, the configuration from yours; the read models are made again when the core starts. ops/handbook/backup.md says what to look at where days have been destroyed since the backup.

Example:

    kiroku backup restore /mnt/backup/2026-11-22 --identity backup-identity.txt --keys keys.pem --data /var/lib/kiroku`
}

// Run restores.
func (cmd backupRestoreCmd) Run(c *call) (err error) {
	opened, id, err := openBackup(cmd.Folder, cmd.Identity, cmd.Manifest)
	if err != nil {
		return err
	}
	settings, err := c.configuration()
	if err != nil {
		return err
	}
	progress := restoreFile(dir(settings), opened.Digest)
	if err := progress.mayBegin(); err != nil {
		return err
	}
	wrong, err := opened.Check(c.ctx, id, nil)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		return c.damages(shapeOf(opened.Manifest), wrong)
	}
	keys, err := cmd.keys(c.ctx, settings)
	if err != nil {
		return err
	}
	return c.restore(settings, opened, id, keys, progress)
}

// keys are the public keys given, or the one of the configured token.
func (cmd backupRestoreCmd) keys(ctx context.Context, settings config.Config) (ledger.KeySet, error) {
	if cmd.Keys != "" {
		return readKeys(cmd.Keys)
	}
	none := func(err error) (ledger.KeySet, error) {
		return ledger.KeySet{}, fmt.Errorf("looking for the public key to trust: %w; give --keys FILE instead", err)
	}
	if settings.HSM.Development() { // it would lie in the data directory, which is empty
		return none(errNoToken)
	}
	token, err := tokenConfig(settings)
	if err != nil {
		return none(err)
	}
	opened, err := hsm.Open(ctx, token)
	if err != nil {
		return none(err)
	}
	defer opened.Close() //nolint:errcheck // nothing was written
	part, err := opened.ExportPublic(ctx, hsm.LabelSign)
	if err != nil {
		return none(err)
	}
	key, err := opened.PublicKey(ctx, hsm.LabelSign)
	if err != nil {
		return none(err)
	}
	return ledger.NewKeySet(ledger.PublicKey{ID: part.ID, Key: key, ValidFrom: time.Unix(0, 0).UTC()})
}

// restore fills the store and verifies what it then holds.
func (c *call) restore(settings config.Config, opened *backup.Backup, id backup.Identity, keys ledger.KeySet, journal *restoration) (err error) {
	d := dir(settings)
	if err := d.Make(d.Run()); err != nil {
		return err
	}
	lock, err := datadir.Hold(d.Run())
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	if err := journal.begin(opened.Plan); err != nil {
		return err
	}
	core, err := openCore(c.ctx, settings, c.quiet(), io.Discard)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close()) }()
	if err := waitForStore(c.ctx, core); err != nil {
		return err
	}
	if !journal.Writing {
		if err := opened.Empty(c.ctx, core.Store); err != nil {
			return fmt.Errorf("restoring: %w", err)
		}
	}
	if err := journal.writing(); err != nil {
		return err
	}
	from, progress := time.Now(), c.progress("restoring")
	err = opened.Restore(c.ctx, id, core.Store, progress.add)
	progress.end()
	if err != nil {
		return fmt.Errorf("%w; the same command goes on from here", err)
	}
	wrote := time.Since(from)
	var streams []string
	for _, r := range opened.Plan.Streams {
		streams = append(streams, r.Stream)
	}
	progress = c.progress("verifying")
	result, err := verifyAll(keys, ledger.Options{}, opened.Manifest, counted(storedEvents(c.ctx, core.Store, streams), progress))
	progress.end()
	if err != nil {
		return fmt.Errorf("verifying what was restored: %w", err)
	}
	if !result.OK() {
		err := reportBackup(c, shapeOf(opened.Manifest), result, false, time.Since(from))
		return fmt.Errorf("%w; no core begins on it: remove %s, and what was put into the store, and give the right keys or another backup", err, d)
	}
	if err := journal.end(); err != nil {
		return err
	}
	return c.restored(settings, opened, wrote, time.Since(from))
}

// restored says what is there now and how to go on.
func (c *call) restored(settings config.Config, opened *backup.Backup, wrote, took time.Duration) error {
	shape := shapeOf(opened.Manifest)
	token := "the token that the configuration names must be the one of this ledger"
	if settings.HSM.Development() {
		token = "put the development token of this ledger into " + dir(settings).HSM() + ", without its softhsm2.conf, which names the old folder and is made anew"
	}
	text := shape.text() + fmt.Sprintf(`restored into %s and verified
to go on:
  - no HSM key is in a backup: %s
  - start the core with kiroku serve; it makes the read models again
  - what was recorded after the backup is not here; ops/handbook/backup.md says what that means for days destroyed since
`, dir(settings), token)
	return c.print(map[string]any{"ok": true, "backup": shape, "data": string(dir(settings)), "restore_seconds": wrote.Seconds(), "seconds": took.Seconds()}, text)
}

// restoration is the restore that a data directory was given for, in a file of
// its own from the beginning to the end.
type restoration struct {
	Manifest string    `json:"manifest"` // digest of the backup's
	Began    time.Time `json:"began"`
	Writing  bool      `json:"writing"` // the store was found empty, and may no longer be

	dir datadir.Dir
}

const restorationName = "restore.json"

func restoreFile(d datadir.Dir, manifest string) *restoration {
	return &restoration{Manifest: manifest, dir: d}
}

func (r *restoration) path() string { return filepath.Join(string(r.dir), restorationName) }

// mayBegin refuses a data directory in which anything is, except the beginning
// of this same restore.
func (r *restoration) mayBegin() error {
	entries, err := os.ReadDir(string(r.dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking into the data directory: %w", err)
	}
	text, err := os.ReadFile(r.path())
	if errors.Is(err, fs.ErrNotExist) {
		if len(entries) == 0 {
			return nil
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return fmt.Errorf("the data directory %s is not empty: it holds %s; restore into an empty one, given with --data", r.dir, strings.Join(names, ", "))
	}
	if err != nil {
		return fmt.Errorf("reading how far the restore was: %w", err)
	}
	begun := *r
	if err := json.Unmarshal(text, &begun); err != nil {
		return fmt.Errorf("reading how far the restore was: %s: %w", r.path(), err)
	}
	if begun.Manifest != r.Manifest {
		return fmt.Errorf("in the data directory %s the restore of another backup (manifest %s) was begun; continue that one, or give an empty directory", r.dir, begun.Manifest)
	}
	*r = begun
	return nil
}

// begin writes down that the directory is for this restore, and the heads of the
// backup as the newest known anchor: no core begins on a store that has less.
func (r *restoration) begin(plan backup.Plan) error {
	heads, err := plan.Heads()
	if err != nil {
		return err
	}
	text, err := heads.Encode()
	if err != nil {
		return err
	}
	if r.Began.IsZero() {
		r.Began = time.Now().UTC().Truncate(time.Second)
	}
	if err := r.write(); err != nil {
		return err
	}
	if err := r.dir.Make(r.dir.Anchors()); err != nil {
		return err
	}
	return datadir.WritePublic(node.AnchorFile(r.dir.Anchors(), plan.Ledger), text)
}

func (r *restoration) writing() error {
	r.Writing = true
	return r.write()
}

func (r *restoration) write() error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing how far the restore is: %w", err)
	}
	return datadir.WritePrivate(r.path(), append(text, '\n'))
}

func (r *restoration) end() error {
	if err := os.Remove(r.path()); err != nil {
		return fmt.Errorf("ending the restore: %w", err)
	}
	return nil
}

// notRestoring refuses to begin a core in a data directory that a restore has
// not finished.
func notRestoring(d datadir.Dir) error {
	_, err := os.Stat(filepath.Join(string(d), restorationName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking whether a restore was finished: %w", err)
	}
	return fmt.Errorf("a restore into %s was begun and is not finished: run the same kiroku backup restore again", d)
}
