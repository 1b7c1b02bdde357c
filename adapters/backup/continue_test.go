package backup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"kiroku/adapters/backup"
	"kiroku/adapters/eventstore"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

var errKilled = errors.New("killed")

// mortal ends after so many batches.
type mortal struct {
	backup.Source
	left int
}

func (m *mortal) Iterate(ctx context.Context, stream string, from uint64, handle func([]ledger.Event) error) error {
	return m.Source.Iterate(ctx, stream, from, func(batch []ledger.Event) error {
		for _, e := range batch {
			if m.left--; m.left < 0 {
				return errKilled
			}
			if err := handle([]ledger.Event{e}); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestAMakingThatIsInterruptedGoesOn interrupts it again and again, leaves what a
// killed process leaves, and lets the ledger grow meanwhile.
func TestAMakingThatIsInterruptedGoesOn(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(60)
	r := recipients(t, p)
	folder := filepath.Join(t.TempDir(), "backup")
	plan := w.plan(r)
	writer, err := backup.Begin(folder, plan, r)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if n > 1000 {
			t.Fatal("it does not come to an end")
		}
		writer.SegmentBytes = smallSegment
		m, err := writer.Run(t.Context(), &mortal{w.Store, 13 + n}, nil)
		if closing := writer.Close(); closing != nil {
			t.Fatal(closing)
		}
		if err == nil {
			if m.Plan.ID != plan.ID || m.Plan.Anchor != plan.Anchor {
				t.Errorf("%v became %v", plan, m.Plan)
			}
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		w.work(1)
		leave(t, folder, n)
		if began, err := backup.Began(folder); !began || err != nil {
			t.Fatal(began, err)
		}
		if _, err := backup.Open(folder); !errors.Is(err, backup.ErrUnfinished) {
			t.Fatalf("an unfinished backup opens: %v", err)
		}
		if _, err := backup.Continue(t.Context(), folder, recipients(t, newParty(t))); !errors.Is(err, backup.ErrRecipients) {
			t.Fatalf("for others: %v", err)
		}
		if writer, err = backup.Continue(t.Context(), folder, r); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, folder)
	w.proves(b, p.identity)
	if _, err := backup.Continue(t.Context(), folder, r); !errors.Is(err, backup.ErrFinished) {
		t.Errorf("a finished backup goes on: %v", err)
	}
	to := openStore(t)
	restore(t.Context(), t, b, p.identity, to.Store)
	equals(t, b.Manifest, everything(t, w.Store), everything(t, to.Store))
}

// leave puts into the folder what a process leaves that is killed at the worst
// moments: half a segment, a whole one of which the manifest does not know yet,
// half a line of the manifest.
func leave(t *testing.T, folder string, n int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, backup.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	next := strings.Count(string(text), "\n")
	switch n % 3 {
	case 0:
		err = os.WriteFile(filepath.Join(folder, fmt.Sprintf(".segment-%06d.age.part", next)), []byte("age-encryption.org/v1\n-> X"), 0o600)
	case 1:
		err = os.WriteFile(filepath.Join(folder, fmt.Sprintf("segment-%06d.age", next)), []byte("whole, and not known"), 0o600)
	case 2:
		err = os.WriteFile(filepath.Join(folder, backup.ManifestFile), append(text, fmt.Sprintf(`{"segment":%d,"stream":"iss`, next)...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestWhatWasDamagedMeanwhileIsNotBuiltUpon: continuing compares what is there.
func TestWhatWasDamagedMeanwhileIsNotBuiltUpon(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(60)
	r := recipients(t, p)
	folder := filepath.Join(t.TempDir(), "backup")
	writer, err := backup.Begin(folder, w.plan(r), r)
	if err != nil {
		t.Fatal(err)
	}
	writer.SegmentBytes = smallSegment
	if _, err := writer.Run(t.Context(), &mortal{w.Store, 60}, nil); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(folder, "segment-000001.age"), 200); err != nil {
		t.Fatal(err)
	}
	_, err = backup.Continue(t.Context(), folder, r)
	if !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), "segment-000001.age") {
		t.Error(err)
	}
}

// TestABackupGoesIntoAFolderOfItsOwn names what is in the way.
func TestABackupGoesIntoAFolderOfItsOwn(t *testing.T) {
	folder := t.TempDir()
	if began, err := backup.Began(folder); began || err != nil {
		t.Error(began, err)
	}
	if err := os.WriteFile(filepath.Join(folder, "letters"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Began(folder); err == nil || !strings.Contains(err.Error(), "letters") {
		t.Error(err)
	}
}

// faulty is a store whose appends fail in every way, on every second call: not
// sent; outcome unknown and not landed; outcome unknown and landed.
type faulty struct {
	*eventstore.Store
	calls atomic.Int64
}

func (f *faulty) Append(ctx context.Context, stream string, next uint64, events []ledger.Event) error {
	switch f.calls.Add(1) % 6 {
	case 1:
		return fmt.Errorf("%w", eventstore.ErrUnavailable)
	case 3:
		return fmt.Errorf("%w", eventstore.ErrOutcomeUnknown)
	case 5:
		if err := f.Store.Append(ctx, stream, next, events); err != nil {
			return err
		}
		return fmt.Errorf("%w", eventstore.ErrOutcomeUnknown)
	}
	return f.Store.Append(ctx, stream, next, events)
}

// dying ends after so many appends, of the last of which only a part was sent.
type dying struct {
	*eventstore.Store
	left atomic.Int64
}

func (d *dying) Append(ctx context.Context, stream string, next uint64, events []ledger.Event) error {
	switch left := d.left.Add(-1); {
	case left < 0:
		return errKilled
	case left == 0:
		return errors.Join(d.Store.Append(ctx, stream, next, events[:(len(events)+1)/2]), errKilled)
	}
	return d.Store.Append(ctx, stream, next, events)
}

func TestARestoreThatIsInterruptedGoesOn(t *testing.T) {
	w, p := newWorld(t), newParty(t)
	w.work(60)
	w.truncate(event.StreamAudit, 17)
	w.work(5)
	folder, made := w.backup(recipients(t, p))
	b := open(t, folder)
	to, kills := openStore(t), 0
	for n := range 400 {
		d := &dying{Store: to.Store}
		d.left.Store(int64(1 + n%3))
		err := b.Restore(t.Context(), p.identity, d, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		kills++
	}
	if kills < 5 {
		t.Errorf("it was interrupted %d times", kills)
	}
	if err := b.Restore(t.Context(), p.identity, to.Store, nil); err != nil {
		t.Fatal(err)
	}
	equals(t, made, everything(t, w.Store), everything(t, to.Store))

	shaky := openStore(t)
	restore(t.Context(), t, b, p.identity, &faulty{Store: shaky.Store})
	equals(t, made, everything(t, w.Store), everything(t, shaky.Store))
}

// TestARestoreDoesNotMixLedgers: what is in the store must be what the backup has.
func TestARestoreDoesNotMixLedgers(t *testing.T) {
	w, other, p := newWorld(t), newWorld(t), newParty(t)
	w.work(20)
	other.now = other.now.AddDate(0, 0, 1)
	other.work(7)
	folder, _ := w.backup(recipients(t, p))
	b := open(t, folder)
	before := everything(t, other.Store)
	if err := b.Empty(t.Context(), other.Store); !errors.Is(err, backup.ErrNotEmpty) {
		t.Error(err)
	}
	if err := b.Restore(t.Context(), p.identity, other.Store, nil); !errors.Is(err, backup.ErrOtherLedger) {
		t.Error(err)
	}
	for stream, events := range everything(t, other.Store) {
		if stream == "vault" && len(events) != len(before[stream]) {
			t.Errorf("%s grew from %d to %d events", stream, len(before[stream]), len(events))
		}
	}
}
