package projections

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// Day returns the Japanese calendar day with whose key the event dies, YYYY-MM-DD; "" if it dies with none.
func (o *Opened) Day() string {
	day, _ := ledger.DayOfDataKey(o.Header.KeyID)
	return day
}

// ended are the days whose keys were destroyed.
type ended struct {
	days map[string]bool
	last string // the latest of them
}

func (e *ended) add(day string) {
	if e.days == nil {
		e.days = map[string]bool{}
	}
	e.days[day] = true
	e.last = max(e.last, day)
}

func (r *Rows) loadEnded() (e ended, err error) {
	err = r.Ascend(tableEnded, nil, nil, func(key, _ []byte) bool {
		e.add(string(key))
		return true
	})
	return e, wrapRead(err, "destroyed days", r.name)
}

// Ended reports whether the key of a day was destroyed, as far as this projection has applied the registry.
func (b *Batch) Ended(day string) bool { return day != "" && b.rows.ended.days[day] }

// LastEnded returns the latest day whose key was destroyed, "" if there is none.
func (b *Batch) LastEnded() string { return b.rows.ended.last }

// endsWithDay reports whether nothing may be kept of an event any more.
func (b *Batch) endsWithDay(o *Opened) bool {
	return o.Unreadable || len(b.rows.ended.days) > 0 && b.Ended(o.Day())
}

// Note has the projection reminded of what it keeps of an event when the day of the event ends: EndDays gives the note
// back then. An event that dies with no day needs none.
func (b *Batch) Note(o *Opened, note []byte) error {
	day := o.Day()
	if day == "" {
		return nil
	}
	lead := append(b.Room(len(day)), day...)
	entry := append(binary.AppendUvarint(b.Room(binary.MaxVarintLen32+len(note)), uint64(len(note))), note...)
	return b.notes.add(b, tableDay, lead, o, entry)
}

// Ending is how a projection drops the rows of a day.
type Ending struct {
	// Drop deletes what a note stands for. It is given no note twice, but for those of a commit that failed.
	Drop func(b *Batch, note []byte) error
	// Earlier has the notes of all days before a destroyed one given back too, also of days that a legal hold keeps.
	Earlier bool
}

// ApplyRegistry is Projection.Apply of the registry for a projection that keeps nothing of it: it drops the rows of the
// days whose keys were destroyed. It does so in commits of a bounded size before the one with the checkpoint. Killed
// in between, it finds the rest when the same events are applied again; what arrives late of such a day leaves no row.
func ApplyRegistry(r *Rows, batch []Opened, to Checkpoint, e Ending) error {
	at, err := r.Checkpoint(event.StreamRegistry)
	if err != nil {
		return err
	}
	fresh, err := since(at, event.StreamRegistry, batch)
	if err != nil || to.Next <= at.Next {
		return err
	}
	for i := range fresh {
		if o := &fresh[i]; o.Event.Type == event.TypeDayKeyDestroyed {
			if err := r.applyEnd(o, e); err != nil {
				return fmt.Errorf("project %s of %s@%d into %s: %w", o.Event.Type, o.Event.Stream, o.Event.Revision, r.name, err)
			}
		}
	}
	r.write.Lock()
	defer r.write.Unlock()
	b, err := r.begin(fresh)
	if err != nil {
		return err
	}
	return b.commit(event.StreamRegistry, to)
}

func (r *Rows) applyEnd(o *Opened, e Ending) error {
	p, err := Decoded[event.DayKeyDestroyed](o)
	if err != nil {
		return err
	}
	day, err := calendar.Parse(p.Day)
	if err != nil {
		return fmt.Errorf("%w: %w", event.ErrMalformed, err)
	}
	return r.EndDay(day, e)
}

// EndDay drops the rows of a day and remembers that it has ended. It may be called again.
func (r *Rows) EndDay(day calendar.Day, e Ending) error {
	if err := r.rememberEnd(day.String()); err != nil {
		return err
	}
	from := day.String()
	if e.Earlier {
		from = ""
	}
	err := r.drain(tableDay, []byte(from), append([]byte(day.String()), 0xff), func(b *Batch, block []byte) error {
		return eachNote(block, func(note []byte) error { return e.Drop(b, note) })
	})
	if err == nil { // in the product they are long forgotten
		err = r.drain(tableAge, hourKey(hourOf(day.Start())), hourKey(hourOf(day.End())), forgetIDs)
	}
	if err != nil {
		return fmt.Errorf("drop the rows of %s: %w", day, err)
	}
	return nil
}

// rememberEnd comes before the first row is dropped: whoever writes after it writes nothing of the day.
func (r *Rows) rememberEnd(day string) error {
	r.write.Lock()
	defer r.write.Unlock()
	if r.ended.days[day] {
		return nil
	}
	b, err := r.begin(nil)
	if err != nil {
		return err
	}
	b.Set(tableEnded, []byte(day), nil)
	if err := b.commitRows(); err != nil {
		return fmt.Errorf("remember that %s has ended: %w", day, err)
	}
	r.ended.add(day)
	return nil
}

// drainOctets bounds what one commit of drain takes away: a few thousand notes.
const drainOctets = 128 << 10

// drain gives the blocks from ≤ key < to of a table to drop and deletes them, in bounded commits between which others
// may write.
func (r *Rows) drain(t Table, from, to []byte, drop func(b *Batch, block []byte) error) error {
	for more := true; more; {
		var err error
		if more, err = r.drainSome(t, from, to, drop); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rows) drainSome(t Table, from, to []byte, drop func(b *Batch, block []byte) error) (more bool, err error) {
	r.write.Lock()
	defer r.write.Unlock()
	var keys, values [][]byte
	size := 0
	err = r.Ascend(t, from, to, func(key, value []byte) bool {
		keys, values = append(keys, bytes.Clone(key)), append(values, bytes.Clone(value))
		size += len(value)
		return size < drainOctets
	})
	if err != nil || len(keys) == 0 {
		return false, err
	}
	b, err := r.begin(nil)
	if err != nil {
		return false, err
	}
	for i := range keys {
		if err := drop(b, values[i]); err != nil {
			return false, err
		}
		b.Delete(t, keys[i])
	}
	return true, b.commitRows()
}

func eachNote(block []byte, visit func(note []byte) error) error {
	for len(block) > 0 {
		n, used := binary.Uvarint(block)
		if used <= 0 || n > uint64(len(block)-used) {
			return fmt.Errorf("notes of a day: %w", ErrDamaged)
		}
		if err := visit(slices.Clip(block[used : used+int(n)])); err != nil {
			return err
		}
		block = block[used+int(n):]
	}
	return nil
}
