// Package datadir knows the files of one data directory: which process may
// write which, who may read them, and where the processes of that directory
// find one another. It promises that a secret is never read from, or written
// to, a file that anyone but its owner can open, that a file is either the old
// one or the new one, never half of it, and that one process at a time holds a
// folder.
package datadir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"kiroku/domain/secret"
)

// Dir is a data directory, by its path. Its folders are
//
//	run/     endpoints and credentials of the processes now running (0600)
//	store/   the embedded event store
//	tls/     the certificate authority of this directory and what it certified
//	hsm/     the development token
//	views/   projections; removable, rebuilt from the ledger
//	anchors/ the newest anchor of the ledger, as it was known here
type Dir string

// Run is the folder of what only matters while processes run.
func (d Dir) Run() string { return filepath.Join(string(d), "run") }

// Store is the folder of the embedded event store.
func (d Dir) Store() string { return filepath.Join(string(d), "store") }

// TLS is the folder of this directory's certificate authority.
func (d Dir) TLS() string { return filepath.Join(string(d), "tls") }

// HSM is the folder of the development token.
func (d Dir) HSM() string { return filepath.Join(string(d), "hsm") }

// Views is the folder of the projections' key-value stores.
func (d Dir) Views() string { return filepath.Join(string(d), "views") }

// Anchors is the folder of what is known of the ledger outside its store.
func (d Dir) Anchors() string { return filepath.Join(string(d), "anchors") }

// Make creates the data directory and folder within it, readable by the owner
// only, and refuses a data directory that others can write to.
func (d Dir) Make(folder string) error {
	for _, path := range []string{string(d), folder} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("making the folder %s: %w", path, err)
		}
	}
	info, err := os.Stat(string(d))
	if err != nil {
		return fmt.Errorf("looking at the data directory: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("the data directory %s can be written to by others (mode %04o): run chmod go-w on it: %w", d, info.Mode().Perm(), ErrExposed)
	}
	return nil
}

// ErrExposed is returned for a file or folder that others than its owner can
// reach and must not.
var ErrExposed = errors.New("open to others")

// longestSecret bounds a PIN or password file; what is longer is some other
// file.
const longestSecret = 4096

// ReadSecret reads a PIN or password from the file at path, without the line
// end an editor leaves. It fails with ErrExposed if group or others have any
// right to the file. The caller destroys what it gets.
func ReadSecret(path string) (*secret.Bytes, error) {
	text, err := readPrivate(path, longestSecret)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(text)
	end := len(text)
	for end > 0 && (text[end-1] == '\n' || text[end-1] == '\r') {
		end--
	}
	if end == 0 {
		return nil, fmt.Errorf("reading the secret in %s: the file is empty", path)
	}
	return secret.Take(text[:end]), nil
}

// readPrivate reads a regular file of at most limit bytes that only its owner
// can reach. The check is made on the opened file, so that it cannot be
// exchanged in between.
func readPrivate(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a private file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading a private file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("reading %s: it is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("reading %s: others than its owner can reach it (mode %04o); run chmod 600 on it, and replace the secret if someone may have read it: %w", path, mode, ErrExposed)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("reading %s: %d bytes are too many for a secret (at most %d)", path, info.Size(), limit)
	}
	text := make([]byte, info.Size())
	n, err := io.ReadFull(file, text)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading a private file: %w", err)
	}
	return text[:n], nil
}

// WritePrivate replaces the file at path by text, readable by its owner only.
// A reader, or a crash, finds the old file or the new one.
func WritePrivate(path string, text []byte) error { return replace(path, 0o600, whole(text)) }

// WritePublic is WritePrivate for what everybody may read.
func WritePublic(path string, text []byte) error { return replace(path, 0o644, whole(text)) }

// WriteStream is WritePrivate for what is too long to hold: write is given
// where to write to. If it fails, the old file stays.
func WriteStream(path string, write func(io.Writer) error) error { return replace(path, 0o600, write) }

func whole(text []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}
}

func replace(path string, mode fs.FileMode, write func(io.Writer) error) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			temporary.Close()
			os.Remove(temporary.Name())
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	if err := temporary.Chmod(mode); err != nil {
		return err
	}
	if err := write(temporary); err != nil {
		return err
	}
	if err := temporary.Sync(); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a rename in folder survive a power loss.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}
