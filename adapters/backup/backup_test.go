package backup_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kiroku/adapters/backup"
	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// growing lets the ledger grow whenever a batch of it was read.
type growing struct {
	backup.Source
	w *world
}

func (g growing) Iterate(ctx context.Context, stream string, from uint64, handle func([]ledger.Event) error) error {
	return g.Source.Iterate(ctx, stream, from, func(batch []ledger.Event) error {
		g.w.work(3)
		g.w.anchor()
		return handle(batch)
	})
}

// TestRestoredAsTheAnchorNamesIt copies a ledger that grows all the time.
func TestRestoredAsTheAnchorNamesIt(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(40)
	r := recipients(t, p, newParty(t))
	folder := filepath.Join(t.TempDir(), "backup")
	writer, err := backup.Begin(folder, w.plan(r), r)
	if err != nil {
		t.Fatal(err)
	}
	writer.SegmentBytes = smallSegment
	var told int
	made, err := writer.Run(t.Context(), growing{w.Store, w}, func(events int) { told += events })
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	b := open(t, folder)
	if b.Digest != made.Digest || len(b.Segments) < 2*len(streams) || uint64(told) != b.End.Events {
		t.Errorf("%s %s, %d segments, told of %d events of %d", b.Digest, made.Digest, len(b.Segments), told, b.End.Events)
	}
	if heads := w.heads[event.StreamRegistry].Count; b.Plan.Streams[0].Next >= heads {
		t.Errorf("the registry did not grow: %d, %d", b.Plan.Streams[0].Next, heads)
	}
	w.proves(b, p.identity)
	to := openStore(t)
	restore(t.Context(), t, b, p.identity, to.Store)
	equals(t, b.Manifest, everything(t, w.Store), everything(t, to.Store))
	if err := b.Empty(t.Context(), to.Store); !errors.Is(err, backup.ErrNotEmpty) {
		t.Errorf("a full store passes for empty: %v", err)
	}
	if err := b.Restore(t.Context(), p.identity, to.Store, nil); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// TestNothingIsInClear looks for the events' names and payloads in the files.
func TestNothingIsInClear(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(20)
	folder, _ := w.backup(recipients(t, p))
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
		if e.Name() == backup.ManifestFile {
			if strings.Contains(string(text), p.recipient) {
				t.Error("the manifest names a recipient by more than the fingerprint")
			}
			continue
		}
		for _, clear := range []string{"metadata", "issuance", "epoch-started", "0000000"} {
			if strings.Contains(string(text), clear) {
				t.Errorf("%s holds %q", e.Name(), clear)
			}
		}
	}
}

// TestATruncatedStreamKeepsItsRevisions restores what begins after destroyed days.
func TestATruncatedStreamKeepsItsRevisions(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(60)
	stream := event.StreamAudit
	first := w.heads[stream].Count - 20
	w.truncate(stream, first)
	w.truncate("record-01", w.heads["record-01"].Count-1) // one event is left
	w.work(10)
	folder, made := w.backup(recipients(t, p))
	b := open(t, folder)
	w.proves(b, p.identity)
	to := openStore(t)
	restore(t.Context(), t, b, p.identity, to.Store)
	equals(t, made, everything(t, w.Store), everything(t, to.Store))
	if at, err := to.TruncateBefore(t.Context(), stream); err != nil || at != first {
		t.Errorf("truncated before %d, want %d: %v", at, first, err)
	}
	if _, err := to.server.Scavenge(t.Context()); err != nil {
		t.Fatal(err)
	}
	equals(t, made, everything(t, w.Store), everything(t, to.Store))
}

// TestTruncatedWhileItIsMade: the law's destruction does not wait for a backup.
func TestTruncatedWhileItIsMade(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(60)
	r := recipients(t, p)
	firsts, err := backup.Firsts(t.Context(), w.Store, streams)
	if err != nil {
		t.Fatal(err)
	}
	at := w.anchor()
	w.truncate(event.StreamAudit, 5)
	if _, err := backup.NewPlan(t.Context(), w.Store, streams, firsts, at, r, w.now); !errors.Is(err, backup.ErrTruncatedMeanwhile) {
		t.Errorf("before the plan: %v", err)
	}
	folder := filepath.Join(t.TempDir(), "backup")
	writer, err := backup.Begin(folder, w.plan(r), r)
	if err != nil {
		t.Fatal(err)
	}
	w.truncate(event.StreamAudit, 9)
	if _, err := writer.Run(t.Context(), w.Store, nil); !errors.Is(err, backup.ErrTruncatedMeanwhile) {
		t.Errorf("while it runs: %v", err)
	}
}

func TestWhoCanOpenIt(t *testing.T) {
	w, first, second, stranger := newWorld(t), newParty(t), newParty(t), newParty(t)
	w.work(10)
	folder, _ := w.backup(recipients(t, first, second))
	b := open(t, folder)
	w.proves(b, first.identity)
	w.proves(b, second.identity)
	if _, err := b.Check(t.Context(), stranger.identity, nil); !errors.Is(err, backup.ErrIdentity) || !strings.Contains(err.Error(), backup.Fingerprint(stranger.recipient)) {
		t.Errorf("a stranger's identity: %v", err)
	}
	path := filepath.Join(t.TempDir(), "identity")
	text, _, err := backup.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o644: false, 0o604: false} {
		_ = os.Remove(path)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.ReadIdentity(path); (err == nil) != good {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	secret := string(text[strings.Index(string(text), "AGE-SECRET"):])
	if err := os.WriteFile(path, []byte("x"+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = backup.ReadIdentity(path)
	if err == nil || strings.Contains(err.Error(), secret[16:40]) {
		t.Errorf("a spoilt identity: %v", err)
	}
	_, err = backup.ParseRecipients(secret)
	if err == nil || strings.Contains(err.Error(), secret[16:40]) {
		t.Errorf("an identity given as recipient: %v", err)
	}
	if _, err := backup.ParseRecipients("# nobody\n\n"); err == nil {
		t.Error("a backup for nobody")
	}
}

// TestEveryFlippedByteIsFound flips bytes of every file, one at a time.
func TestEveryFlippedByteIsFound(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(30)
	folder, made := w.backup(recipients(t, p))
	flip := func(name string, at int) {
		file, err := os.OpenFile(filepath.Join(folder, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var b [1]byte
		if _, err := file.ReadAt(b[:], int64(at)); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1 << (at % 8)
		if _, err := file.WriteAt(b[:], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(folder, backup.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	for at := range text {
		flip(backup.ManifestFile, at)
		_, err := backup.Open(folder)
		if !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrUnfinished) || !strings.Contains(err.Error(), "line") && !errors.Is(err, backup.ErrUnfinished) {
			t.Fatalf("byte %d of the manifest (%q): %v", at, text[at], err)
		}
		flip(backup.ManifestFile, at)
	}
	b := open(t, folder)
	for _, s := range made.Segments {
		for at := 0; at < int(s.Size); at += 1 + int(s.Size)/6 {
			flip(s.File(), at)
			wrong, err := b.Check(t.Context(), p.identity, nil)
			if err != nil || len(wrong) != 1 || !strings.HasPrefix(wrong[0].Error(), s.File()) || !strings.Contains(wrong[0].Error(), s.Stream) || !strings.Contains(wrong[0].Error(), "cannot be opened") {
				t.Fatalf("byte %d of %s: %v %v", at, s.File(), wrong, err)
			}
			flip(s.File(), at)
		}
	}
	w.proves(b, p.identity)
}

// TestLostExchangedAndAddedFilesAreNamed also plays somebody who can compute
// hashes: what they put into the manifest is found in the segment.
func TestLostExchangedAndAddedFilesAreNamed(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(40)
	r := recipients(t, p)
	folder, made := w.backup(r)
	w.work(40)
	other, _ := w.backup(r)
	b := open(t, folder)
	path := func(s backup.Segment) string { return filepath.Join(folder, s.File()) }
	read := func(name string) []byte {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	write := func(name string, text []byte) {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, z := made.Segments[1], made.Segments[len(made.Segments)-1]
	textA, textZ := read(path(a)), read(path(z))
	for _, c := range []struct {
		what  string
		harm  func()
		names []string
	}{
		{"missing", func() { _ = os.Remove(path(a)) }, []string{a.File() + ": it is missing"}},
		{"exchanged", func() { write(path(a), textZ); write(path(z), textA) }, []string{a.File(), z.File()}},
		{"of another backup", func() { write(path(a), read(filepath.Join(other, a.File()))) }, []string{a.File()}},
		{"cut off", func() { write(path(a), textA[:len(textA)-100]) }, []string{a.File() + ": it has"}},
		{"longer", func() { write(path(a), append(slices.Clone(textA), 0)) }, []string{a.File() + ": it has"}},
		{"empty", func() { write(path(a), nil) }, []string{a.File()}},
		{"a segment more", func() { write(filepath.Join(folder, "segment-999999.age"), textA) }, []string{"segment-999999.age: the manifest knows no such segment"}},
		{"something else", func() { write(filepath.Join(folder, "notes.txt"), nil) }, []string{"notes.txt: it is no part of a backup"}},
	} {
		c.harm()
		wrong, err := b.Check(t.Context(), p.identity, nil)
		var got []string
		for _, w := range wrong {
			got = append(got, w.Error())
		}
		if err != nil || len(got) != len(c.names) {
			t.Errorf("%s: %v %q", c.what, err, got)
		}
		for _, name := range c.names {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, name) }) {
				t.Errorf("%s: %q is missing in %q", c.what, name, got)
			}
		}
		write(path(a), textA)
		write(path(z), textZ)
		_ = os.Remove(filepath.Join(folder, "segment-999999.age"))
		_ = os.Remove(filepath.Join(folder, "notes.txt"))
	}
	w.proves(b, p.identity)

	b.Segments[1].Size, b.Segments[1].SHA256 = z.Size, z.SHA256
	write(path(a), textZ)
	if wrong, err := b.Check(t.Context(), p.identity, nil); err != nil || len(wrong) > 0 {
		t.Fatal(wrong, err)
	}
	for _, err := range b.Events(t.Context(), p.identity) {
		if err != nil {
			if !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), a.File()) {
				t.Error(err)
			}
			return
		}
	}
	t.Error("a segment of another stream passed")
}

// TestNoSpace fills the disks of both sides.
func TestNoSpace(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(20)
	r := recipients(t, p)
	folder := filepath.Join(t.TempDir(), "backup")
	writer, err := backup.Begin(folder, w.plan(r), r)
	if err != nil {
		t.Fatal(err)
	}
	writer.SegmentBytes = smallSegment
	full := filepath.Join(folder, ".segment-000003.age.part")
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Fatal(err)
	}
	_, err = writer.Run(t.Context(), w.Store, nil)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "segment-000003.age") {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(full)
	if writer, err = backup.Continue(t.Context(), folder, r); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Run(t.Context(), w.Store, nil); err != nil {
		t.Fatal(err)
	}
	b := open(t, folder)
	w.proves(b, p.identity)
	to := openStore(t, func(c *embedded.Config) { c.MinFreeBytes = 1 << 60 })
	if err := b.Restore(t.Context(), p.identity, to.Store, nil); !errors.Is(err, eventstore.ErrFull) {
		t.Errorf("into a full store: %v", err)
	}
}
