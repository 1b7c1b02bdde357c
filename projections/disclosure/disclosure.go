// Package disclosure is the read model of provision records (情報提供等記録):
// every event about a person, found by a keyed index of the record symbol and the
// time of recording, each still sealed under the key of its day. It promises to the
// disclosure of records that what it returns is all there is up to the
// projection's position, in order, and to everybody else that without the HSM
// nothing in it can be read or tied to a person, and that nothing of a day is left in it once it has
// applied that the day's key was destroyed; in no file either after Compact.
package disclosure

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/register"
	"kiroku/projections"
)

// Name of the projection.
const Name = "disclosure"

const (
	tableRecords     = projections.FirstTable + iota // index of a record symbol, time, revision, stream → sealed record
	tableDisclosures                                 // the same → sealed disclosure
)

// Disclosure is the projection. It is safe for concurrent use.
type Disclosure struct {
	rows  *projections.Rows
	index projections.Indexer
}

// Open opens the projection in a view.
func Open(view projections.View, index projections.Indexer) (*Disclosure, error) {
	rows, err := projections.OpenRows(view, Name)
	if err != nil {
		return nil, err
	}
	return &Disclosure{rows: rows, index: index}, nil
}

// Name implements projections.Projection.
func (*Disclosure) Name() string { return Name }

// Wants implements projections.Projection.
func (*Disclosure) Wants(stream string) bool {
	return event.IsRecordStream(stream) || stream == event.StreamAudit || stream == event.StreamRegistry
}

// Checkpoint implements projections.Projection.
func (d *Disclosure) Checkpoint(stream string) (projections.Checkpoint, error) {
	return d.rows.Checkpoint(stream)
}

// Reset implements projections.Projection.
func (d *Disclosure) Reset() error { return d.rows.Reset() }

// Shadow implements projections.Shadowing.
func (d *Disclosure) Shadow() (projections.Projection, error) {
	rows, err := d.rows.Shadow()
	return &Disclosure{rows: rows, index: d.index}, err
}

// Promote implements projections.Shadowing.
func (d *Disclosure) Promote(shadow projections.Projection) error {
	s, ok := shadow.(*Disclosure)
	if !ok {
		return fmt.Errorf("promote a %T to %s: %w", shadow, Name, projections.ErrUnknownProjection)
	}
	return d.rows.Promote(s.rows)
}

// Compact returns when no file of the view holds a row that was deleted before.
func (d *Disclosure) Compact(ctx context.Context) error { return d.rows.Compact(ctx) }

// Rows gives every row, to compare two projections.
func (d *Disclosure) Rows() *projections.Rows { return d.rows }

// Command returns the reference to the command that caused an event of the audit stream.
func (d *Disclosure) Command(eventID uuid.UUID) (register.Reference, bool, error) {
	return d.rows.Command(eventID)
}

// Records returns up to limit events about the person with this
// Index("record", …), recorded at or after from and before to, in the order of
// recording; limit ≤ 0: none. A zero from or to is no bound. Each event repeats the
// whole record; its header names stream and revision.
func (d *Disclosure) Records(key register.Key, from, to time.Time, limit int) ([]register.Sealed, error) {
	return d.between(tableRecords, key, from, to, limit)
}

// Disclosures returns, in the same way, the disclosures of the person's records.
func (d *Disclosure) Disclosures(key register.Key, from, to time.Time, limit int) ([]register.Sealed, error) {
	return d.between(tableDisclosures, key, from, to, limit)
}

func (d *Disclosure) between(t projections.Table, key register.Key, from, to time.Time, limit int) ([]register.Sealed, error) {
	if limit <= 0 {
		return nil, nil
	}
	lower, upper := timeKey(key, from), append(key[:len(key):len(key)], 0xff)
	if !to.IsZero() {
		upper = timeKey(key, to)
	}
	var all []register.Sealed
	var damage error
	err := d.rows.Ascend(t, lower, upper, func(_, value []byte) bool {
		var s register.Sealed
		if s, damage = projections.DecodeSealed(append([]byte(nil), value...)); damage != nil {
			return false
		}
		all = append(all, s)
		return len(all) < limit
	})
	if err == nil {
		err = damage
	}
	if err != nil {
		return nil, fmt.Errorf("find a person's records in %s: %w", Name, err)
	}
	return all, nil
}

// timeKey is where the rows of a person from a time on begin. Times in the
// ledger lie between 1970 and 2255, so the first octet is never 0xff.
func timeKey(key register.Key, t time.Time) []byte {
	us := int64(0)
	if !t.IsZero() {
		us = max(0, t.UnixMicro())
	}
	return binary.BigEndian.AppendUint64(key[:len(key):len(key)], uint64(us))
}

func rowKey(key register.Key, o *projections.Opened) []byte {
	b := make([]byte, 0, len(key)+16+len(o.Event.Stream))
	b = append(b, timeKey(key, o.Header.Time)...)
	return append(binary.BigEndian.AppendUint64(b, o.Event.Revision), o.Event.Stream...)
}

// row is where an event goes.
type row struct {
	table projections.Table
	key   register.Key
}

type fact = projections.Fact[row]

// Apply implements projections.Projection.
func (d *Disclosure) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	if stream == event.StreamRegistry {
		return projections.ApplyRegistry(d.rows, batch, to, projections.Ending{Drop: drop})
	}
	return projections.Apply(d.rows, stream, batch, to, d.read, write)
}

func (d *Disclosure) read(o *projections.Opened) (fact, error) {
	if o.Event.Type == event.TypeRecordsDisclosed {
		p, err := projections.Decoded[event.RecordsDisclosed](o)
		if err != nil {
			return fact{}, err
		}
		f, err := d.place(tableDisclosures, p.Symbol)
		f.Command = &p.Command
		return f, err
	}
	r, err := recordIn(o)
	if r == nil || err != nil {
		return fact{Skip: true}, err
	}
	return d.place(tableRecords, r.Symbol)
}

// recordIn returns the record that an event repeats, nil if it is no record.
func recordIn(o *projections.Opened) (*event.Record, error) {
	switch o.Event.Type {
	case event.TypeInquiryNotified:
		p, err := projections.Decoded[event.InquiryNotified](o)
		if err == nil {
			return &p.Record, nil
		}
		return nil, err
	case event.TypeInquiryRefused:
		p, err := projections.Decoded[event.InquiryRefused](o)
		if err == nil {
			return &p.Record, nil
		}
		return nil, err
	case event.TypeProvisionReported:
		p, err := projections.Decoded[event.ProvisionReported](o)
		if err == nil {
			return &p.Record, nil
		}
		return nil, err
	case event.TypeInquiryLapsed:
		p, err := projections.Decoded[event.InquiryLapsed](o)
		if err == nil {
			return &p.Record, nil
		}
		return nil, err
	}
	return nil, nil
}

// place finds the row of an event. An inquiry about a person unknown to the
// register has no symbol, and is nobody's record.
func (d *Disclosure) place(t projections.Table, symbol event.Protected) (fact, error) {
	switch len(symbol) {
	case 0:
		return fact{Skip: true}, nil
	case 16:
		return fact{Rows: row{t, d.index.Index(keyring.IndexRecord, symbol)}}, nil
	}
	return fact{}, fmt.Errorf("record symbol of the wrong length: %w", event.ErrMalformed)
}

func write(b *projections.Batch, o *projections.Opened, r row) error {
	key := rowKey(r.key, o)
	b.SetSealed(r.table, key, o.Sealed())
	return b.Note(o, append(append(b.Room(1+len(key)), byte(r.table)), key...))
}

// drop deletes the row of an event by the note that write left: its table and its key.
func drop(b *projections.Batch, note []byte) error {
	if len(note) == 0 {
		return projections.ErrDamaged
	}
	b.Delete(projections.Table(note[0]), note[1:])
	return nil
}
