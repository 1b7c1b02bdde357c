// Package disclosure is the read model of provision records (情報提供等記録):
// every event about a person, found by a keyed index of the record symbol and the
// time of recording, each still sealed under the key of its day. It promises to the
// disclosure of records that what it returns is all there is up to the
// projection's position, in order, and to everybody else that without the HSM
// nothing in it can be read or tied to a person, and that nothing of a day is left in it once it has
// applied that the day's key was destroyed; in no file either after Compact.
package disclosure

import (
	"cmp"
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

// Rows lie by the day with which they die, and then by person, so that the end of a day costs what the day holds. The
// days on which a person has something are found in a table of their own, by spans of days: a row there goes with the
// person's rows of the day, and tells no longer of a day that ended.
const (
	tableRecords        = projections.FirstTable + iota // day, index of a record symbol, time, revision, stream → sealed record
	tableDisclosures                                    // the same → sealed disclosure
	tableRecordDays                                     // span of days, index of a record symbol, day in it → nothing
	tableDisclosureDays                                 // the same
)

// span is how many days share a prefix in the tables of days. A person is looked for in each span of the seven years,
// eleven of them; whenever a day ends, the span that it lies in is written anew, at some twenty octets for each person
// and day.
const span projections.Span = 256

var daysOf = map[projections.Table]projections.Table{tableRecords: tableRecordDays, tableDisclosures: tableDisclosureDays}

var mortal = projections.Mortal{
	ByDay:  []projections.Table{tableRecords, tableDisclosures},
	BySpan: []projections.Table{tableRecordDays, tableDisclosureDays},
	Span:   span,
	Drop:   drop,
}

// Disclosure is the projection. It is safe for concurrent use.
type Disclosure struct {
	rows  *projections.Rows
	index projections.Indexer
	spans projections.Spans // of both tables of days
}

// Open opens the projection in a view.
func Open(view projections.View, index projections.Indexer) (*Disclosure, error) {
	rows, err := projections.OpenRows(view, Name)
	if err != nil {
		return nil, err
	}
	d := &Disclosure{rows: rows, index: index}
	for _, t := range mortal.BySpan {
		if err := d.spans.Load(rows, t); err != nil {
			return nil, err
		}
	}
	return d, nil
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
	d.spans.Add(s.spans.All()...)
	return d.rows.Promote(s.rows)
}

// Compact returns when no file of the view holds a row of a day that ended before.
func (d *Disclosure) Compact(ctx context.Context) error { return d.rows.CompactEnded(ctx, mortal) }

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
	days, err := d.days(daysOf[t], key)
	if err != nil || len(days) == 0 {
		return nil, wrap(err)
	}
	ranges := make([]projections.Range, len(days))
	for i, day := range days {
		ranges[i] = projections.Range{From: timeKey(day, key, from), To: append(personKey(day, key), 0xff)}
		if !to.IsZero() {
			ranges[i].To = timeKey(day, key, to)
		}
	}
	var all []register.Sealed
	var damage error
	err = d.rows.AscendEach(t, ranges, func(_, value []byte) bool {
		var s register.Sealed
		if s, damage = projections.DecodeSealed(append([]byte(nil), value...)); damage != nil {
			return false
		}
		all = append(all, s)
		return len(all) < limit
	})
	return all, wrap(cmp.Or(err, damage))
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("find a person's records in %s: %w", Name, err)
}

// days returns the days on which a person has something, in order.
func (d *Disclosure) days(t projections.Table, key register.Key) (days []projections.DayNumber, err error) {
	spans := d.spans.All()
	ranges := make([]projections.Range, len(spans))
	for i, n := range spans {
		from := append(projections.AppendSpan(make([]byte, 0, dayKeySize), n), key[:]...)
		ranges[i] = projections.Range{From: from, To: append(from[:len(from):len(from)], 0xff, 0xff)}
	}
	err = d.rows.AscendEach(t, ranges, func(row, _ []byte) bool {
		days = append(days, span.Day(binary.BigEndian.Uint32(row), row[len(row)-1]))
		return true
	})
	return days, err
}

const (
	personKeySize = projections.PeriodSize + len(register.Key{})
	dayKeySize    = personKeySize + 1
)

// personKey is where the rows of a person on a day begin.
func personKey(day projections.DayNumber, key register.Key) []byte {
	return append(projections.AppendDay(make([]byte, 0, personKeySize+16), day), key[:]...)
}

// timeKey is where they begin from a time on. Times in the ledger lie between 1970 and 2255, so the first octet is
// never 0xff.
func timeKey(day projections.DayNumber, key register.Key, t time.Time) []byte {
	us := int64(0)
	if !t.IsZero() {
		us = max(0, t.UnixMicro())
	}
	return binary.BigEndian.AppendUint64(personKey(day, key), uint64(us))
}

// rowKey is the key of an event's row. Events of a day are all sealed under its key, so the rows of a person are in the
// order of recording over the days too.
func rowKey(b []byte, day projections.DayNumber, key register.Key, o *projections.Opened) []byte {
	b = append(projections.AppendDay(b, day), key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(max(0, o.Header.Time.UnixMicro())))
	return append(binary.BigEndian.AppendUint64(b, o.Event.Revision), o.Event.Stream...)
}

// dayKey is the key of the row that tells that a person has something on a day; person is their key.
func dayKey(b []byte, day projections.DayNumber, person []byte) []byte {
	b = append(projections.AppendSpan(b, span.Of(day)), person...)
	return append(b, span.Within(day))
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
		return projections.ApplyRegistry(d.rows, batch, to, mortal)
	}
	return projections.Apply(d.rows, stream, batch, to, d.read, d.write)
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

func (d *Disclosure) write(b *projections.Batch, o *projections.Opened, r row) error {
	day := b.DayNumber(o)
	d.spans.Add(span.Of(day))
	b.SetSealed(r.table, rowKey(b.Room(personKeySize+16+len(o.Event.Stream)), day, r.key, o), o.Sealed())
	b.Set(daysOf[r.table], dayKey(b.Room(dayKeySize), day, r.key[:]), nil)
	return nil
}

// drop deletes what tells of a row that its person has something on the day.
func drop(b *projections.Batch, row projections.DyingRow) error {
	if len(row.Key) < len(register.Key{}) {
		return projections.ErrDamaged
	}
	b.Delete(daysOf[row.Table], dayKey(b.Room(dayKeySize), row.Day, row.Key[:len(register.Key{})]))
	return nil
}
