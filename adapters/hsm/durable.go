package hsm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// clockGrain is more than file systems round a time of change by.
const clockGrain = 2 * time.Second

// flusher makes the files of a token durable. SoftHSM writes and unlinks its
// files without ever asking for that: after a power failure a key might be gone
// under which the ledger has durable events, or one be back whose destruction
// is certified.
type flusher struct {
	dir  string    // "": the token is no files, or keeps them durable itself
	done time.Time // when the last complete flush began
}

// flush writes through what has changed since the last complete flush, and in
// the first flush of a process everything.
func (f *flusher) flush() error {
	if f.dir == "" {
		return nil
	}
	begun := time.Now()                      // the file system's clock, not the configured one
	dir, err := filepath.EvalSymlinks(f.dir) // WalkDir does not follow its root
	if err == nil {
		err = f.walk(dir)
	}
	if err != nil {
		return fmt.Errorf("%w: the change of keys may not outlast a power failure, call again: %w", ErrUnavailable, err)
	}
	f.done = begun
	return nil
}

func (f *flusher) walk(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !info.IsDir() && (!info.Mode().IsRegular() || info.ModTime().Before(f.done.Add(-clockGrain))) {
			return nil
		}
		return syncPath(path)
	})
}

// syncPath writes a file or directory through to the disk; one that is gone by
// now needs no more.
func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
