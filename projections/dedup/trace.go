package dedup

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/register"
	"kiroku/domain/secret"
	"kiroku/projections"
)

// A trace is what an event of a person left in the rows, so that all of it can be taken back when the person is deleted
// and their events can no longer be read. Its key is the person's, then a keyed index of the revision; its value is
// enciphered under another, so that the view does not tell without the HSM which events and rows are of one person.
type trace struct {
	eventType byte
	at        time.Time
	revision  uint64
	id        uuid.UUID
	named     []rowKey
}

// rowKey is the key of a row that names the person.
type rowKey struct {
	table projections.Table
	key   register.Key
}

// What a traced event counted.
const (
	tracedOther byte = iota
	tracedNewPerson
	tracedSymbol
	tracedAlreadyAcquired
)

const (
	traceSuffix = 8
	traceHead   = 1 + 8 + 8 + len(uuid.UUID{})
	rowKeySize  = 1 + len(register.Key{})

	indexTrace    = "dedup trace"
	indexTraceKey = "dedup trace key"
)

// tracedRow is a trace as a row.
type tracedRow struct{ key, value []byte }

func (d *Dedup) traced(person register.Key, t trace) (tracedRow, error) {
	var revision [8]byte
	binary.BigEndian.PutUint64(revision[:], t.revision)
	suffix := d.keys.Index(indexTrace, person[:], revision[:])
	r := tracedRow{key: append(append(make([]byte, 0, len(person)+traceSuffix), person[:]...), suffix[:traceSuffix]...)}
	b := append(make([]byte, 0, traceHead+len(t.named)*rowKeySize), t.eventType)
	b = binary.BigEndian.AppendUint64(b, uint64(t.at.UnixMicro()))
	b = append(append(b, revision[:]...), t.id[:]...)
	for _, n := range t.named {
		b = append(append(b, byte(n.table)), n.key[:]...)
	}
	r.value = b
	return r, d.cipherTrace(r)
}

// cipherTrace enciphers the value, or deciphers it, with AES in counter mode from zero on. Each key is used once: an event
// never changes.
func (d *Dedup) cipherTrace(r tracedRow) error {
	key := d.keys.Index(indexTraceKey, r.key)
	defer clear(key[:])
	block, err := secret.NewBlock(key[:])
	if err != nil {
		return fmt.Errorf("trace of an event: %w", err)
	}
	defer block.Wipe() // cipher.NewCTR would keep a copy of the expanded key that nobody can wipe
	var mask [aes.BlockSize]byte
	for n := 0; n*aes.BlockSize < len(r.value); n++ {
		mask = [aes.BlockSize]byte{}
		binary.BigEndian.PutUint64(mask[8:], uint64(n))
		block.Encrypt(mask[:], mask[:])
		part := r.value[n*aes.BlockSize:]
		subtle.XORBytes(part, part, mask[:min(len(part), len(mask))])
	}
	return nil
}

func (d *Dedup) decodeTrace(r tracedRow) (trace, error) {
	if err := d.cipherTrace(r); err != nil {
		return trace{}, err
	}
	b := r.value
	if len(b) < traceHead || (len(b)-traceHead)%rowKeySize != 0 || b[0] > tracedAlreadyAcquired {
		return trace{}, projections.ErrDamaged
	}
	t := trace{eventType: b[0], at: time.UnixMicro(int64(binary.BigEndian.Uint64(b[1:]))).UTC(), revision: binary.BigEndian.Uint64(b[9:]), id: uuid.UUID(b[17:traceHead])}
	for b = b[traceHead:]; len(b) > 0; b = b[rowKeySize:] {
		t.named = append(t.named, rowKey{projections.Table(b[0]), register.Key(b[1:rowKeySize])})
	}
	return t, nil
}

// deletion is a person who was deleted (物理削除).
type deletion struct {
	id     register.SubjectID
	person register.Key
}

// readVault reads who is deleted. The keyring answers as soon as the vault is loaded; until then the batch is tried again.
func (d *Dedup) readVault(o *projections.Opened) (projections.Fact[[]deletion], error) {
	none := projections.Fact[[]deletion]{Skip: true}
	if o.Event.Type != event.TypeVaultCompleted {
		return none, nil
	}
	p, err := projections.Decoded[event.VaultCompleted](o)
	if err != nil || len(p.Deleted) == 0 {
		return none, err
	}
	ids, err := d.keys.Locate(p.Generation, p.Deleted)
	if err != nil {
		return none, fmt.Errorf("people deleted with vault generation %d: %w", p.Generation, err)
	}
	all := make([]deletion, len(ids))
	for i, id := range ids {
		all[i] = deletion{id, d.person(id)}
	}
	return projections.Fact[[]deletion]{Rows: all}, nil
}

func (d *Dedup) writeVault(b *projections.Batch, _ *projections.Opened, gone []deletion) error {
	for _, g := range gone {
		d.gone[g.person] = struct{}{} // what was opened before, and comes late, leaves no row
		b.Set(tableGone, g.person[:], nil)
		if err := d.delete(b, g); err != nil {
			return err
		}
	}
	return nil
}

// delete takes back what a person's events left, as if none of them had ever been readable.
func (d *Dedup) delete(b *projections.Batch, g deletion) error {
	var rows []tracedRow
	end := append([]byte(nil), g.person[:]...)
	err := d.rows.Ascend(tableTrace, g.person[:], append(end, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), func(key, value []byte) bool {
		rows = append(rows, tracedRow{append([]byte(nil), key...), append([]byte(nil), value...)})
		return true
	})
	if err != nil {
		return fmt.Errorf("find what a deleted person left: %w", err)
	}
	for _, r := range rows {
		b.Delete(tableTrace, r.key)
		t, err := d.decodeTrace(r)
		if err == nil {
			err = d.takeBack(b, g, t)
		}
		if err != nil {
			return err
		}
	}
	b.Delete(tableHoldings, g.person[:])
	b.Delete(tableFirst, g.person[:])
	return nil
}

func (d *Dedup) takeBack(b *projections.Batch, g deletion, t trace) error {
	switch t.eventType {
	case tracedNewPerson:
		b.Count(countPeople, -1)
		b.Count(countSymbols, -1)
	case tracedSymbol:
		b.Count(countSymbols, -1)
	case tracedAlreadyAcquired:
		b.Count(countAlreadyAcquired, -1)
	}
	for _, n := range t.named {
		if err := d.deleteNamed(b, g, n); err != nil {
			return err
		}
	}
	return b.Forget(projections.Commanded{Stream: event.StreamIssuance, Revision: t.revision, At: t.at, ID: t.id})
}

// deleteNamed deletes a row if it names the person still: the same resident code may have come into the register anew.
func (d *Dedup) deleteNamed(b *projections.Batch, g deletion, n rowKey) error {
	value, found, err := b.Get(n.table, n.key[:])
	if err != nil || !found {
		return err
	}
	if n.table == tableManagement && len(value) > 0 {
		value = value[1:] // live or superseded
	}
	if id, err := d.unmask(n.table, n.key, value); err != nil || id != g.id {
		return err
	}
	b.Delete(n.table, n.key[:])
	return nil
}

// loadGone reads who was deleted.
func (d *Dedup) loadGone() error {
	d.gone = map[register.Key]struct{}{}
	err := d.rows.Ascend(tableGone, nil, nil, func(key, _ []byte) bool {
		if len(key) == len(register.Key{}) {
			d.gone[register.Key(key)] = struct{}{}
		}
		return true
	})
	return wrap(err, "find who was deleted")
}
