package projections

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/register"
)

// ReferencesKept is how long a projection remembers a command after its event:
// a day longer than the seven days within which a command may be repeated.
const ReferencesKept = 8 * 24 * time.Hour

// storedReference is a register.Reference as a row.
type storedReference struct {
	Stream   string `cbor:"1,keyasint"`
	Revision uint64 `cbor:"2,keyasint"`
	Type     string `cbor:"3,keyasint"`
	Digest   []byte `cbor:"4,keyasint"`
	At       int64  `cbor:"5,keyasint"`
}

// hours since 1970, the grain in which commands are forgotten.
func hourOf(t time.Time) uint32 { return uint32(max(0, t.Unix()/3600)) }

// oldest is the first hour remembered when the newest event has the given
// time. It depends on the events alone, so a rebuild remembers the same.
func oldest(newest time.Time) uint32 { return hourOf(newest.Add(-ReferencesKept)) }

func ageKey(hour uint32, id uuid.UUID) []byte {
	return append(binary.BigEndian.AppendUint32(nil, hour), id[:]...)
}

// referenceTo is the row by which a command is remembered.
func referenceTo(o *Opened, c *event.Command) ([]byte, error) {
	return event.Encode(storedReference{
		Stream: o.Event.Stream, Revision: o.Event.Revision, Type: o.Event.Type,
		Digest: c.Digest, At: o.Header.Time.UnixMicro(),
	})
}

// remember keeps the reference to a command by the id of the event.
func (b *Batch) remember(o *Opened, reference []byte) {
	if hour := hourOf(o.Header.Time); hour >= oldest(b.newest.after) {
		b.Set(tableCommand, o.Header.ID[:], reference)
		b.Set(tableAge, ageKey(hour, o.Header.ID), nil)
	}
}

// forget deletes the references of the hours from ≤ hour < to.
func (b *Batch) forget(from, to uint32) error {
	if from >= to {
		return nil
	}
	lower, upper := ageKey(from, uuid.Nil), ageKey(to, uuid.Nil)
	err := b.rows.Ascend(tableAge, lower, upper, func(key, _ []byte) bool {
		id := append([]byte(nil), key[4:]...)
		if _, _, again := b.changes.written(tableKey(b.prefix, tableCommand, id)); !again {
			b.Delete(tableCommand, id)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("forget old commands in %s: %w", b.rows.name, err)
	}
	b.changes.DeleteRange(tableKey(b.prefix, tableAge, lower), tableKey(b.prefix, tableAge, upper))
	return nil
}

// Command returns the reference to the command that caused the event with this
// id. Older than ReferencesKept, it is no longer known.
func (r *Rows) Command(eventID uuid.UUID) (register.Reference, bool, error) {
	value, found, err := r.Get(tableCommand, eventID[:])
	if err != nil || !found {
		return register.Reference{}, false, wrapRead(err, "reference to a command", r.name)
	}
	s, err := event.Decode[storedReference](value)
	if err != nil {
		return register.Reference{}, false, fmt.Errorf("reference to a command in %s: %w", r.name, ErrDamaged)
	}
	ref := register.Reference{Stream: s.Stream, Revision: s.Revision, Type: s.Type, At: time.UnixMicro(s.At).UTC()}
	copy(ref.Digest[:], s.Digest)
	return ref, true, nil
}
