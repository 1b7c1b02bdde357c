package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"

	"kiroku/domain/ledger"
)

// segmentWriter encrypts events into a file that has its name only when it is
// whole.
type segmentWriter struct {
	segment Segment
	path    string // of the finished file
	file    *os.File
	out     *bufio.Writer // to file and sum
	sum     hash.Hash
	size    int64
	sealed  io.WriteCloser // to out
	lines   *bufio.Writer  // to sealed
	plain   int
	line    []byte
}

// countingWriter counts what passes.
type countingWriter struct {
	to io.Writer
	n  *int64
}

func (c countingWriter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	*c.n += int64(n)
	return n, err
}

func openSegment(folder string, s Segment, recipients Recipients) (w *segmentWriter, err error) {
	w = &segmentWriter{segment: s, path: filepath.Join(folder, s.File()), sum: sha256.New()}
	w.file, err = os.OpenFile(temporary(w.path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("writing the backup: %w", err)
	}
	w.out = bufio.NewWriterSize(io.MultiWriter(countingWriter{w.file, &w.size}, w.sum), 1<<20)
	w.sealed, err = age.Encrypt(w.out, recipients.keys...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", s.File(), err), w.abandon())
	}
	w.lines = bufio.NewWriterSize(w.sealed, 64<<10)
	return w, nil
}

// temporary is the name of a file that is not whole.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
}

func (w *segmentWriter) add(e ledger.Event) (err error) {
	if w.line, err = ledger.AppendDumpLine(w.line[:0], e); err != nil {
		return fmt.Errorf("copying %s, event %d: %w", e.Stream, e.Revision, err)
	}
	if _, err := w.lines.Write(w.line); err != nil {
		return fmt.Errorf("writing %s: %w", w.segment.File(), err)
	}
	w.plain += len(w.line)
	w.segment.Next = e.Revision + 1
	return nil
}

// finish makes the file durable under its name.
func (w *segmentWriter) finish() (Segment, error) {
	err := errors.Join(w.lines.Flush(), w.sealed.Close(), w.out.Flush())
	if err == nil {
		err = w.file.Sync()
	}
	if err = errors.Join(err, w.file.Close()); err == nil {
		err = os.Rename(temporary(w.path), w.path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(w.path))
	}
	if err != nil {
		return Segment{}, errors.Join(fmt.Errorf("writing %s: %w", w.segment.File(), err), removed(temporary(w.path)))
	}
	w.segment.Size, w.segment.SHA256 = w.size, hex.EncodeToString(w.sum.Sum(nil))
	return w.segment, nil
}

// abandon removes what was written.
func (w *segmentWriter) abandon() error {
	_ = w.file.Close()
	return removed(temporary(w.path))
}

func removed(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// compare says what is wrong with the file of a segment, judged by size and
// hash.
func (s Segment) compare(ctx context.Context, folder string) error {
	file, err := os.Open(filepath.Join(folder, s.File()))
	if errors.Is(err, os.ErrNotExist) {
		return damaged(s.File(), "it is missing (%s, events %d to %d)", s.Stream, s.First, s.Next-1)
	}
	if err != nil {
		return fmt.Errorf("reading the backup: %w", err)
	}
	defer file.Close()
	sum := sha256.New()
	size, err := io.CopyBuffer(struct{ io.Writer }{sum}, stopping{ctx, file}, make([]byte, 1<<20))
	switch {
	case err != nil:
		return fmt.Errorf("reading the backup: %s: %w", s.File(), err)
	case size != s.Size:
		return damaged(s.File(), "it has %d bytes, and %d were written (%s, events %d to %d)", size, s.Size, s.Stream, s.First, s.Next-1)
	case hex.EncodeToString(sum.Sum(nil)) != s.SHA256:
		return damaged(s.File(), "its hash is another than when it was written (%s, events %d to %d)", s.Stream, s.First, s.Next-1)
	}
	return nil
}

// stopping ends reading with its context.
type stopping struct {
	ctx context.Context
	r   io.Reader
}

func (s stopping) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.r.Read(p)
}

// read hands every event of a segment to visit, in order.
func (s Segment) read(ctx context.Context, folder string, id Identity, visit func(ledger.Event) error) error {
	file, err := os.Open(filepath.Join(folder, s.File()))
	if err != nil {
		return fmt.Errorf("reading the backup: %w", err)
	}
	defer file.Close()
	var cipher int64
	in := bufio.NewReaderSize(&countingReader{stopping{ctx, file}, &cipher}, 1<<20)
	plain, err := id.decrypt(in)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return damaged(s.File(), "its header, which begins the file, cannot be opened: %v", err)
	}
	opened := &openedReader{r: plain, header: cipher - int64(in.Buffered())}
	next := s.First
	for e, err := range ledger.ReadDump(opened) {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && opened.err != nil:
			return damaged(s.File(), "it cannot be opened from byte %d on, before event %d of %s: %v", opened.at(), next, s.Stream, opened.err)
		case err != nil:
			return damaged(s.File(), "before event %d of %s: %v", next, s.Stream, err)
		case e.Stream != s.Stream || e.Revision != next:
			return damaged(s.File(), "it holds event %d of %s where event %d of %s belongs", e.Revision, e.Stream, next, s.Stream)
		case next >= s.Next:
			return damaged(s.File(), "it holds more than the %d events up to %d of %s", s.Next-s.First, s.Next-1, s.Stream)
		}
		if err := visit(e); err != nil {
			return err
		}
		next++
	}
	if next != s.Next {
		return damaged(s.File(), "it ends before event %d of %s, and event %d was its last", next, s.Stream, s.Next-1)
	}
	return nil
}

// countingReader counts what passes.
type countingReader struct {
	r io.Reader
	n *int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	*c.n += int64(n)
	return n, err
}

// Of an age file: the plaintext in a chunk, and what encryption adds to it.
const (
	chunkSize = 64 << 10
	chunkTag  = 16
)

// openedReader keeps how far a file could be opened, and why no further.
type openedReader struct {
	r      io.Reader
	header int64 // bytes of the file before the first chunk
	n      int64
	err    error
}

func (o *openedReader) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	o.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		o.err = err
	}
	return n, err
}

// at is where the chunk begins that cannot be opened, in bytes of the file.
func (o *openedReader) at() int64 { return o.header + o.n/chunkSize*(chunkSize+chunkTag) }
