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

// hours since 1970, the grain in which commands are forgotten.
func hourOf(t time.Time) uint32 { return uint32(max(0, t.Unix()/3600)) }

// oldest is the first hour remembered when the newest event has the given
// time. It depends on the events alone, so a rebuild remembers the same.
func oldest(newest time.Time) uint32 { return hourOf(newest.Add(-ReferencesKept)) }

func hourKey(hour uint32) []byte { return binary.BigEndian.AppendUint32(nil, hour) }

// A reference as a row: revision and time in microseconds, 8 octets each, the digest, the length of the type in one
// octet, type, stream.
const (
	digestAt = 16
	typeAt   = digestAt + len(register.Reference{}.Digest)
)

// referenceTo is the row by which a command is remembered.
func referenceTo(o *Opened, c *event.Command) []byte {
	b := make([]byte, typeAt, typeAt+1+len(o.Event.Type)+len(o.Event.Stream))
	binary.BigEndian.PutUint64(b, o.Event.Revision)
	binary.BigEndian.PutUint64(b[8:], uint64(o.Header.Time.UnixMicro()))
	copy(b[digestAt:typeAt], c.Digest)
	b = append(append(b, byte(len(o.Event.Type))), o.Event.Type...) // at most ledger.MaxTypeName, which is less than 256
	return append(b, o.Event.Stream...)
}

func decodeReference(b []byte) (ref register.Reference, ok bool) {
	if len(b) <= typeAt || len(b) < typeAt+1+int(b[typeAt]) {
		return ref, false
	}
	ref.Revision = binary.BigEndian.Uint64(b)
	ref.At = time.UnixMicro(int64(binary.BigEndian.Uint64(b[8:]))).UTC()
	copy(ref.Digest[:], b[digestAt:])
	names := b[typeAt+1:]
	ref.Type, ref.Stream = string(names[:b[typeAt]]), string(names[b[typeAt]:])
	return ref, true
}

// remember keeps the reference to a command by the id of the event.
func (b *Batch) remember(o *Opened, reference []byte) error {
	hour := hourOf(o.Header.Time)
	if hour < oldest(b.newest.after) {
		return nil
	}
	b.Set(tableCommand, o.Header.ID[:], reference)
	return b.ages.add(b, tableAge, hourKey(hour), o, o.Header.ID[:])
}

// forget deletes the references of the hours from ≤ hour < to.
func (b *Batch) forget(from, to uint32) error {
	if from >= to {
		return nil
	}
	lower, upper := hourKey(from), hourKey(to)
	err := b.rows.Ascend(tableAge, lower, upper, func(_, ids []byte) bool {
		_ = forgetIDs(b, ids) // never fails
		return true
	})
	if err != nil {
		return fmt.Errorf("forget old commands in %s: %w", b.rows.name, err)
	}
	b.changes.DeleteRange(tableKey(b.prefix, tableAge, lower), tableKey(b.prefix, tableAge, upper))
	return nil
}

// forgetIDs deletes the references of a block of ids, but for those that the batch itself has written.
func forgetIDs(b *Batch, ids []byte) error {
	for ; len(ids) >= len(uuid.UUID{}); ids = ids[len(uuid.UUID{}):] {
		id := ids[:len(uuid.UUID{})]
		if _, _, again := b.changes.written(b.key(tableCommand, id)); !again {
			b.Delete(tableCommand, id)
		}
	}
	return nil
}

// Command returns the reference to the command that caused the event with this
// id. Older than ReferencesKept, it is no longer known.
func (r *Rows) Command(eventID uuid.UUID) (register.Reference, bool, error) {
	value, found, err := r.Get(tableCommand, eventID[:])
	if err != nil || !found {
		return register.Reference{}, false, wrapRead(err, "reference to a command", r.name)
	}
	ref, ok := decodeReference(value)
	if !ok {
		return register.Reference{}, false, fmt.Errorf("reference to a command in %s: %w", r.name, ErrDamaged)
	}
	return ref, true, nil
}
