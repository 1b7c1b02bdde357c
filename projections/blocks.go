package projections

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// revisionsPerBlock is the number of revisions whose entries, those under one lead, share a row. It depends on the
// revision alone which, so that the rows are the same however the events came in batches.
const revisionsPerBlock = 64

// blocks collects the entries for the row under way: events come by rising revision, and mostly under one lead. The
// key of a row is the lead, the number of the block in 8 octets, the stream.
type blocks struct {
	table  Table
	leads  int // octets of the lead
	number uint64
	key    []byte // nil: no row is under way
	value  []byte
}

// add appends an entry to the row of the event's block. All leads of a table are of one length.
func (k *blocks) add(b *Batch, t Table, lead []byte, o *Opened, entry []byte) error {
	number := o.Event.Revision / revisionsPerBlock
	if k.key == nil || k.number != number || !bytes.Equal(k.key[:k.leads], lead) {
		k.store(b)
		k.table, k.leads, k.number = t, len(lead), number
		k.key = appendBlockKey(b.Room(len(lead)+8+len(o.Event.Stream)), lead, number, o.Event.Stream)
		before, _, err := b.Get(t, k.key)
		if err != nil {
			return fmt.Errorf("continue a block of revisions in %s: %w", b.rows.name, err)
		}
		k.value = append(b.Room(len(before)+revisionsPerBlock*len(entry)), before...)
	}
	k.value = append(k.value, entry...)
	return nil
}

func (k *blocks) store(b *Batch) {
	if k.key != nil {
		b.Set(k.table, k.key, k.value)
		k.key = nil
	}
}

func blockKey(lead []byte, number uint64, stream string) []byte {
	return appendBlockKey(nil, lead, number, stream)
}

func appendBlockKey(b, lead []byte, number uint64, stream string) []byte {
	return append(binary.BigEndian.AppendUint64(append(b, lead...), number), stream...)
}
