package leaktest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// Scanned says how much was looked at.
type Scanned struct {
	Files, Rows int
	Bytes       int64
}

// Tree scans every file below dir as it is, and every row of every Pebble store below it: those in force, and those that
// lie overwritten or deleted in a table. No process may have the stores open. Files are named from dir on.
func (s *Scanner) Tree(dir string) ([]Finding, Scanned, error) {
	var found []Finding
	var n Scanned
	var stores []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if name := entry.Name(); strings.HasPrefix(name, "OPTIONS-") && (len(stores) == 0 || stores[len(stores)-1] != filepath.Dir(path)) {
			stores = append(stores, filepath.Dir(path))
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		n.Files++
		n.Bytes += int64(len(content))
		found = append(found, s.Scan("file "+name, content)...)
		found = append(found, s.Scan("name of file "+name, []byte(name))...)
		if err == nil && strings.HasSuffix(name, ".sst") {
			err = s.table(name, content, &found, &n)
		}
		return err
	})
	if err != nil {
		return nil, n, err
	}
	for _, store := range stores {
		name, err := filepath.Rel(dir, store)
		if err == nil {
			err = s.store(store, "rows of "+name, &found, &n)
		}
		if err != nil {
			return nil, n, err
		}
	}
	return found, n, nil
}

func (s *Scanner) row(where string, key, value []byte, found *[]Finding, n *Scanned) {
	n.Rows++
	n.Bytes += int64(len(key) + len(value))
	*found = append(*found, s.Scan("a key in "+where, key)...)
	*found = append(*found, s.Scan("a value in "+where, value)...)
}

// store goes through the rows in force of a Pebble store, its log included.
func (s *Scanner) store(dir, where string, found *[]Finding, n *Scanned) (err error) {
	db, err := pebble.Open(dir, &pebble.Options{ReadOnly: true, FormatMajorVersion: pebble.FormatNewest, Logger: silent{}})
	if err != nil {
		return fmt.Errorf("open %s: %w", where, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for ok := rows.First(); ok; ok = rows.Next() {
		value, err := rows.ValueAndErr()
		if err != nil {
			return err
		}
		s.row(where, rows.Key(), value, found, n)
	}
	return nil
}

// table goes through every row of a table, whether in force or not.
func (s *Scanner) table(name string, content []byte, found *[]Finding, n *Scanned) (err error) {
	reader, err := sstable.NewMemReader(content, sstable.ReaderOptions{})
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	rows, err := reader.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for row := rows.First(); row != nil; row = rows.Next() {
		value, _, err := row.Value(nil)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		s.row("table "+name, row.K.UserKey, value, found, n)
	}
	return nil
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}
