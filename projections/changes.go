package projections

import (
	"bytes"
	"hash/maphash"
)

// Changes is what one Commit does: first the ranges go, then each key gets its
// value or goes. The zero value is ready to use by one goroutine.
type Changes struct {
	ranges []Range
	writes []Write
	places places
}

// Range is all keys From ≤ key < To.
type Range struct{ From, To []byte }

// Write sets a key, or deletes it.
type Write struct {
	Key, Value []byte
	Delete     bool
}

// Set gives a key a value; both slices are kept.
func (c *Changes) Set(key, value []byte) { c.put(Write{Key: key, Value: value}) }

// Delete removes a key, whether there is one or not; the slice is kept.
func (c *Changes) Delete(key []byte) { c.put(Write{Key: key, Delete: true}) }

func (c *Changes) put(w Write) {
	at, known := c.places.find(c.writes, w.Key)
	if known {
		c.writes[at] = w
		return
	}
	c.writes = append(c.writes, w)
	c.places.add(c.writes)
}

// DeleteRange removes from ≤ key < to as it was before these changes: what
// they set in the range stays. Both slices are kept.
func (c *Changes) DeleteRange(from, to []byte) { c.ranges = append(c.ranges, Range{from, to}) }

// Ranges returns what Commit deletes first.
func (c *Changes) Ranges() []Range { return c.ranges }

// Writes returns what Commit writes then, each key once.
func (c *Changes) Writes() []Write { return c.writes }

// written returns what these changes make of a key, if they speak of it.
func (c *Changes) written(key []byte) (value []byte, found, known bool) {
	at, known := c.places.find(c.writes, key)
	if !known || c.writes[at].Delete {
		return nil, false, known
	}
	return c.writes[at].Value, true, true
}

// reset forgets all changes and keeps the room that they took.
func (c *Changes) reset() {
	c.places.reset(c.writes)
	clear(c.ranges)
	clear(c.writes)
	c.ranges, c.writes = c.ranges[:0], c.writes[:0]
}

// places finds a write by its key. It is a hash table with linear probing that holds positions only: a map of strings
// would copy every key.
type places struct {
	seed  maphash.Seed
	slots []int32 // 1 + position in the writes, 0 where none is; at least half of them are free
	mask  uint64
}

const leastSlots = 64

func (p *places) find(writes []Write, key []byte) (at int, known bool) {
	if len(p.slots) == 0 {
		return 0, false
	}
	for i := maphash.Bytes(p.seed, key) & p.mask; p.slots[i] != 0; i = (i + 1) & p.mask {
		at = int(p.slots[i] - 1)
		if bytes.Equal(writes[at].Key, key) {
			return at, true
		}
	}
	return 0, false
}

// add takes note of the last write, whose key was not found.
func (p *places) add(writes []Write) {
	if 2*len(writes) <= len(p.slots) {
		p.put(writes[len(writes)-1].Key, len(writes))
		return
	}
	if len(p.slots) == 0 {
		p.seed = maphash.MakeSeed()
	}
	p.slots = make([]int32, max(leastSlots, 2*len(p.slots)))
	p.mask = uint64(len(p.slots) - 1)
	for i := range writes {
		p.put(writes[i].Key, i+1)
	}
}

func (p *places) put(key []byte, slot int) {
	i := maphash.Bytes(p.seed, key) & p.mask
	for p.slots[i] != 0 {
		i = (i + 1) & p.mask
	}
	p.slots[i] = int32(slot)
}

// reset empties the table; after a few writes it does not go through all of it.
func (p *places) reset(writes []Write) {
	if 8*len(writes) > len(p.slots) {
		clear(p.slots)
		return
	}
	for at := range writes {
		i := maphash.Bytes(p.seed, writes[at].Key) & p.mask
		for p.slots[i] != int32(at+1) {
			i = (i + 1) & p.mask
		}
		p.slots[i] = 0
	}
}
