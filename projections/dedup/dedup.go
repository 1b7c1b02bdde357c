// Package dedup is the read model of the issuance register (連携用符号発行管理ファイル):
// whose management information (連携用符号管理情報) is whose, which person a
// linkage symbol names, and which agencies hold a symbol of theirs. The commands that issue
// symbols and mediate inquiries decide on it that nobody is issued anything twice.
//
// Who is deleted (物理削除) leaves no row: what their events left is taken back when the vault says that its generation
// without them is complete, so that the rows are those of a ledger in which these events cannot be read.
//
// It promises to hold neither symbols nor management information nor subject ids: it
// finds a person by keyed indexes, and keeps the person's first event sealed.
package dedup

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/register"
	"kiroku/projections"
)

// Name of the projection.
const Name = "dedup"

const (
	tableManagement = projections.FirstTable + iota // index of management information → resolution
	tableLinkage                                    // index of a linkage symbol → subject id, masked
	tableHoldings                                   // index of a subject id → who holds a symbol
	tableFirst                                      // index of a subject id → the first event, sealed
	tableTrace                                      // index of a subject id, of a revision → what the event left
	tableGone                                       // index of a subject id → nothing: the person was deleted
)

// Names of counts.
const (
	countPeople          = "people"
	countSymbols         = "symbols"
	countAlreadyAcquired = "already acquired"
)

// Dedup is the projection. It is safe for concurrent use.
type Dedup struct {
	rows *projections.Rows
	keys Keys
	gone map[register.Key]struct{} // tableGone; whoever writes rows may use it
}

// Keys finds people: it makes keyed indexes, and reads whom a generation of the vault deletes. The keyring is one.
type Keys interface {
	projections.Indexer
	Locate(generation int, locators [][]byte) ([]register.SubjectID, error)
}

// Open opens the projection in a view.
func Open(view projections.View, keys Keys) (*Dedup, error) {
	rows, err := projections.OpenRows(view, Name)
	if err != nil {
		return nil, err
	}
	d := &Dedup{rows: rows, keys: keys}
	return d, d.loadGone()
}

// Name implements projections.Projection.
func (*Dedup) Name() string { return Name }

// Wants implements projections.Projection.
func (*Dedup) Wants(stream string) bool {
	return stream == event.StreamIssuance || stream == event.StreamVault // the vault says who is deleted
}

// Checkpoint implements projections.Projection.
func (d *Dedup) Checkpoint(stream string) (projections.Checkpoint, error) {
	return d.rows.Checkpoint(stream)
}

// Reset implements projections.Projection.
func (d *Dedup) Reset() error {
	if err := d.rows.Reset(); err != nil {
		return err
	}
	return d.loadGone()
}

// Shadow implements projections.Shadowing.
func (d *Dedup) Shadow() (projections.Projection, error) {
	rows, err := d.rows.Shadow()
	return &Dedup{rows: rows, keys: d.keys, gone: map[register.Key]struct{}{}}, err
}

// Promote implements projections.Shadowing.
func (d *Dedup) Promote(shadow projections.Projection) error {
	s, ok := shadow.(*Dedup)
	if !ok {
		return fmt.Errorf("promote a %T to %s: %w", shadow, Name, projections.ErrUnknownProjection)
	}
	if err := d.rows.Promote(s.rows); err != nil {
		return err
	}
	d.gone = s.gone
	return nil
}

// Compact returns when no file of the view holds a row that was deleted before.
func (d *Dedup) Compact(ctx context.Context) error { return d.rows.Compact(ctx) }

// Rows gives every row, to compare two projections.
func (d *Dedup) Rows() *projections.Rows { return d.rows }

// ByManagement resolves management information, given as Index("management", …).
func (d *Dedup) ByManagement(k register.Key) (register.Resolution, bool, error) {
	value, found, err := d.rows.Get(tableManagement, k[:])
	if err != nil || !found {
		return register.Resolution{}, false, wrap(err, "resolve management information")
	}
	r, err := d.decodeResolution(k, value)
	return r, err == nil, wrap(err, "resolve management information")
}

// ByLinkage finds the person of a linkage symbol, given as Index("linkage", …),
// and the agencies that hold a symbol of theirs, in the order of issuance.
func (d *Dedup) ByLinkage(k register.Key) (register.Holder, bool, error) {
	value, found, err := d.rows.Get(tableLinkage, k[:])
	if err != nil || !found {
		return register.Holder{}, false, wrap(err, "find a linkage symbol")
	}
	id, err := d.unmask(tableLinkage, k, value)
	if err != nil {
		return register.Holder{}, false, wrap(err, "find a linkage symbol")
	}
	h := register.Holder{Subject: id}
	key := d.person(id)
	h.Holdings, err = decodeHoldings(d.rows.Get(tableHoldings, key[:]))
	return h, err == nil, wrap(err, "find who holds a symbol")
}

// Subject returns the sealed event by which a person came into the register. It
// holds the person's linkage symbol.
func (d *Dedup) Subject(id register.SubjectID) (register.Sealed, bool, error) {
	key := d.person(id)
	value, found, err := d.rows.Get(tableFirst, key[:])
	if err != nil || !found {
		return register.Sealed{}, false, wrap(err, "find a person's first event")
	}
	s, err := projections.DecodeSealed(value)
	return s, err == nil, wrap(err, "find a person's first event")
}

// People returns up to limit persons from a place in the view's order on, nil being its beginning: of each the header of
// the event by which they came into the register. next is the place to go on from, nil at the end.
func (d *Dedup) People(from []byte, limit int) (page [][]byte, next []byte, err error) {
	var damaged error
	err = d.rows.Ascend(tableFirst, from, nil, func(key, value []byte) bool {
		if len(page) == limit {
			next = bytes.Clone(key)
			return false
		}
		var s register.Sealed
		s, damaged = projections.DecodeSealed(value)
		page = append(page, bytes.Clone(s.Header))
		return damaged == nil
	})
	return page, next, wrap(cmp.Or(err, damaged), "go through the people")
}

// Command returns the reference to the command that caused an event.
func (d *Dedup) Command(eventID uuid.UUID) (register.Reference, bool, error) {
	return d.rows.Command(eventID)
}

// Counts are the statistics of issuance (評価書: statistics of symbol generation).
type Counts struct {
	People          int64 // persons with a linkage symbol
	Symbols         int64 // agency symbols issued
	AlreadyAcquired int64 // requests answered "already acquired" (Ordinance 44(2))
}

// Counts returns the counts as of the last commit.
func (d *Dedup) Counts() (Counts, error) {
	var c Counts
	for name, to := range map[string]*int64{
		countPeople: &c.People, countSymbols: &c.Symbols,
		countAlreadyAcquired: &c.AlreadyAcquired,
	} {
		var err error
		if *to, err = d.rows.Count(name); err != nil {
			return Counts{}, err
		}
	}
	return c, nil
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s in %s: %w", doing, Name, err)
}
