package views

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// format is the version of how this package lays out a folder.
const format = "kiroku view 1"

var (
	reserved  = []byte{0xFF} // first key that is not a projection's
	markerKey = append([]byte{0xFF}, "ledger"...)
)

// checkMarker refuses a folder of another ledger or format, and marks a new one.
func (d *DB) checkMarker() error {
	value, closer, err := d.db.Get(markerKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return d.mark()
	}
	if err != nil {
		return d.explain("opening", err)
	}
	defer closer.Close()
	wrote, ledger, _ := strings.Cut(string(value), "\n")
	if wrote != format {
		return fmt.Errorf("opening the view in %s: %w: it is %q, this core reads %q: %s", d.dir, ErrFormat, wrote, format, cure)
	}
	if ledger != d.opts.Ledger {
		return fmt.Errorf("opening the view in %s: %w: it is of %q, not of %q: check the data directory, or %s", d.dir, ErrOtherLedger, ledger, d.opts.Ledger, cure)
	}
	return nil
}

func (d *DB) mark() error {
	it, err := d.db.NewIter(nil)
	if err != nil {
		return d.explain("opening", err)
	}
	foreign := it.First()
	if err := it.Close(); err != nil {
		return d.explain("opening", err)
	}
	if foreign {
		return fmt.Errorf("opening the view in %s: %w: it has rows and no mark: %s", d.dir, ErrOtherLedger, cure)
	}
	if err := d.guarded(func() error { return d.db.Set(markerKey, []byte(format+"\n"+d.opts.Ledger), pebble.NoSync) }); err != nil {
		return d.explain("opening", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushPatience)
	defer cancel()
	if err := d.flush(ctx); err != nil {
		return d.explain("opening", err)
	}
	return nil
}
