package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kiroku/adapters/eventstore"
	"kiroku/domain/ledger"
)

// DefaultSegment is how many bytes of dump lines a segment holds before the next
// is begun.
const DefaultSegment = 64 << 20

// Writer makes a backup. It belongs to one goroutine.
type Writer struct {
	SegmentBytes int // 0: DefaultSegment; may differ from one continuation to the next
	// Finishing, if given, is called when all is written but the end: a backup of
	// which it does not approve is not finished, and can be continued.
	Finishing func(context.Context, Manifest) error

	folder     string
	recipients Recipients
	manifest   Manifest
	chain      chain
	journal    *os.File
}

// Began reports whether the folder holds the beginning of a backup. A folder
// with anything else in it is refused, naming that.
func Began(folder string) (bool, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking into the backup's folder: %w", err)
	}
	var others []string
	for _, e := range entries {
		switch name := e.Name(); {
		case name == ManifestFile:
			return true, nil
		case !ours(name):
			others = append(others, name)
		}
	}
	if len(others) > 0 {
		return false, fmt.Errorf("the folder %s is no backup and is not empty: it holds %s; give an empty one, or one that does not exist", folder, listed(others))
	}
	return false, nil
}

// Begin begins a backup as planned in a folder, which it makes if need be.
func Begin(folder string, plan Plan, recipients Recipients) (*Writer, error) {
	if !slices.Equal(plan.Recipients, recipients.fingerprints) {
		return nil, fmt.Errorf("beginning the backup: %w", ErrRecipients)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("beginning the backup: %w", err)
	}
	w := &Writer{folder: folder, recipients: recipients, manifest: Manifest{Plan: plan}}
	path := filepath.Join(folder, ManifestFile)
	text, err := w.chain.line(plan)
	if err != nil {
		return nil, err
	}
	// By rename: a manifest has its first line, or is not there.
	if err := os.WriteFile(temporary(path), text, 0o600); err != nil {
		return nil, fmt.Errorf("beginning the backup: %w", errors.Join(err, removed(temporary(path))))
	}
	if w.journal, err = os.OpenFile(temporary(path), os.O_WRONLY|os.O_APPEND, 0); err != nil {
		return nil, fmt.Errorf("beginning the backup: %w", err)
	}
	if err := errors.Join(w.journal.Sync(), os.Rename(temporary(path), path), syncFolder(folder)); err != nil {
		return nil, fmt.Errorf("beginning the backup: %w", errors.Join(err, w.journal.Close()))
	}
	return w, nil
}

// Continue takes up a backup that was interrupted: same plan, same recipients.
// What it already has is compared with its hashes. Errors: ErrFinished,
// ErrRecipients, ErrDamaged.
func Continue(ctx context.Context, folder string, recipients Recipients) (*Writer, error) {
	text, err := readManifest(folder)
	if err != nil {
		return nil, fmt.Errorf("continuing the backup: %w", err)
	}
	m, c, whole, err := parseManifest(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("continuing the backup: %w", err)
	case m.End != nil:
		return nil, fmt.Errorf("continuing the backup in %s: %w", folder, ErrFinished)
	case !slices.Equal(m.Plan.Recipients, recipients.fingerprints):
		return nil, fmt.Errorf("continuing the backup in %s: %w", folder, ErrRecipients)
	}
	for _, s := range m.Segments {
		if err := s.compare(ctx, folder); err != nil {
			return nil, fmt.Errorf("continuing the backup in %s: %w", folder, err)
		}
	}
	w := &Writer{folder: folder, recipients: recipients, manifest: m, chain: c}
	if w.journal, err = os.OpenFile(filepath.Join(folder, ManifestFile), os.O_WRONLY|os.O_APPEND, 0); err != nil {
		return nil, fmt.Errorf("continuing the backup: %w", err)
	}
	if err := w.journal.Truncate(int64(whole)); err != nil { // half a line
		return nil, fmt.Errorf("continuing the backup: %w", errors.Join(err, w.journal.Close()))
	}
	return w, nil
}

// Plan is what the backup is to hold.
func (w *Writer) Plan() Plan { return w.manifest.Plan }

// Close lets go of the folder. The backup is finished only if Run was.
func (w *Writer) Close() error { return w.journal.Close() }

// Run copies what is missing and finishes the backup. done (may be nil) is told
// of every batch copied. It needs the memory of a few batches, however long the
// ledger is. Interrupted by whatever, it leaves what Continue takes up.
func (w *Writer) Run(ctx context.Context, source Source, done func(events int)) (Manifest, error) {
	for {
		r, first, more := w.manifest.position()
		if !more {
			return w.finish(ctx)
		}
		if err := w.copyStream(ctx, source, r, first, done); err != nil {
			return w.manifest, fmt.Errorf("copying %s: %w", r.Stream, err)
		}
	}
}

// errCopied ends the reading of a stream at its planned end.
var errCopied = errors.New("copied")

func (w *Writer) copyStream(ctx context.Context, source Source, r Range, next uint64, done func(int)) (err error) {
	limit := w.SegmentBytes
	if limit <= 0 {
		limit = DefaultSegment
	}
	var open *segmentWriter
	defer func() {
		if open != nil {
			err = errors.Join(err, open.abandon())
		}
	}()
	err = source.Iterate(ctx, r.Stream, next, func(batch []ledger.Event) error {
		for i, e := range batch {
			if e.Revision != next {
				return fmt.Errorf("event %d comes where event %d belongs: %w", e.Revision, next, ErrTruncatedMeanwhile)
			}
			if open == nil {
				if open, err = openSegment(w.folder, Segment{Number: len(w.manifest.Segments) + 1, Stream: r.Stream, First: next}, w.recipients); err != nil {
					return err
				}
			}
			if err := open.add(e); err != nil {
				return err
			}
			next++
			if next == r.Next {
				if err := isHead(e, r); err != nil {
					return err
				}
			}
			if next == r.Next || open.plain >= limit {
				finished := open
				open = nil
				if err := w.enter(finished); err != nil {
					return err
				}
			}
			if next == r.Next {
				tell(done, i+1)
				return errCopied
			}
		}
		tell(done, len(batch))
		return nil
	})
	switch {
	case errors.Is(err, errCopied):
		return nil
	case err == nil:
		return fmt.Errorf("it ends before event %d: %w", r.Next-1, eventstore.ErrBehind)
	}
	return err
}

func tell(done func(int), events int) {
	if done != nil {
		done(events)
	}
}

// isHead compares the last event of a stream with the head that the anchor names.
func isHead(e ledger.Event, r Range) error {
	_, header, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		return fmt.Errorf("event %d: %w", e.Revision, err)
	}
	if got := ledger.LeafHash(header).String(); got != r.Leaf {
		return fmt.Errorf("event %d has the leaf hash %s, and the anchor names %s: %w; run kiroku verify", e.Revision, got, r.Leaf, ErrOtherLedger)
	}
	return nil
}

// enter writes a segment's line once its file is durable.
func (w *Writer) enter(open *segmentWriter) error {
	s, err := open.finish()
	if err != nil {
		return err
	}
	if err := w.write(s); err != nil {
		return err
	}
	w.manifest.Segments = append(w.manifest.Segments, s)
	return nil
}

func (w *Writer) finish(ctx context.Context) (Manifest, error) {
	m := w.manifest
	end := End{Segments: len(m.Segments), Finished: time.Now().UTC().Truncate(time.Microsecond)}
	end.Events, end.Bytes = m.totals()
	last := w.chain
	if _, err := last.line(end); err != nil {
		return m, err
	}
	m.End, m.Digest = &end, last.String()
	if w.Finishing != nil {
		if err := w.Finishing(ctx, m); err != nil {
			return w.manifest, err
		}
	}
	if err := w.write(end); err != nil {
		return w.manifest, err
	}
	w.manifest = m
	return m, nil
}

func (w *Writer) write(v any) error {
	next := w.chain
	text, err := next.line(v)
	if err != nil {
		return err
	}
	if _, err := w.journal.Write(text); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	if err := w.journal.Sync(); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	w.chain = next
	return nil
}
