package projections

import (
	"bytes"
	"fmt"

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

// numbers returns what is to be compacted after a start: how far that had come is not known any more.
func (e *ended) numbers() map[DayNumber]struct{} {
	all := map[DayNumber]struct{}{}
	for text := range e.days {
		if day, err := calendar.Parse(text); err == nil {
			all[NumberOf(day)] = struct{}{}
		}
	}
	return all
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

// ApplyRegistry is Projection.Apply of the registry for a projection that keeps nothing of it: it drops the rows of the
// days whose keys were destroyed. It does so in commits of a bounded size before the one with the checkpoint. Killed
// in between, it finds the rest when the same events are applied again; what arrives late of such a day leaves no row.
func ApplyRegistry(r *Rows, batch []Opened, to Checkpoint, m Mortal) error {
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
			if err := r.applyEnd(o, m); err != nil {
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

func (r *Rows) applyEnd(o *Opened, m Mortal) error {
	p, err := Decoded[event.DayKeyDestroyed](o)
	if err != nil {
		return err
	}
	day, err := calendar.Parse(p.Day)
	if err != nil {
		return fmt.Errorf("%w: %w", event.ErrMalformed, err)
	}
	return r.EndDay(day, m)
}

// EndDay drops the rows of a day and remembers that it has ended. It may be called again.
func (r *Rows) EndDay(day calendar.Day, m Mortal) error {
	if err := r.rememberEnd(day.String()); err != nil {
		return err
	}
	number := NumberOf(day)
	from := number
	if m.Earlier {
		from = 1
	}
	err := r.drop(m, from, number)
	if err == nil { // in the product they are long forgotten
		err = r.drain(tableAge, hourKey(hourOf(day.Start())), hourKey(hourOf(day.End())), func(b *Batch, _, ids []byte) error {
			return forgetIDs(b, ids)
		})
	}
	if err != nil {
		return fmt.Errorf("drop the rows of %s: %w", day, err)
	}
	r.write.Lock()
	defer r.write.Unlock()
	r.dropped[number] = struct{}{}
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

// drainOctets bounds what one commit of drain goes through: some two hundred sealed events.
const drainOctets = 256 << 10

// drain gives the rows from ≤ key < to of a table to drop and deletes them, in bounded commits between which others
// may write.
func (r *Rows) drain(t Table, from, to []byte, drop func(b *Batch, key, value []byte) error) (err error) {
	for from != nil && err == nil {
		from, err = r.drainSome(t, from, to, drop)
	}
	return err
}

// drainSome returns where there may be more, nil if nowhere.
func (r *Rows) drainSome(t Table, from, to []byte, drop func(b *Batch, key, value []byte) error) (next []byte, err error) {
	r.write.Lock()
	defer r.write.Unlock()
	var keys, values [][]byte
	size := 0
	err = r.Ascend(t, from, to, func(key, value []byte) bool {
		keys, values = append(keys, bytes.Clone(key)), append(values, bytes.Clone(value))
		size += len(key) + len(value)
		return size < drainOctets
	})
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	b, err := r.begin(nil)
	if err != nil {
		return nil, err
	}
	for i := range keys {
		if err := drop(b, keys[i], values[i]); err != nil {
			return nil, err
		}
	}
	next = to
	if size >= drainOctets {
		next = append(keys[len(keys)-1], 0) // the next key that there can be
	}
	b.changes.DeleteRange(tableKey(b.prefix, t, keys[0]), tableKey(b.prefix, t, next))
	if err := b.commitRows(); err != nil || size < drainOctets {
		return nil, err
	}
	return next, nil
}
