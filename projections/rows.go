package projections

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"kiroku/domain/event"
)

// Rows are the rows of one projection in a View: its tables, its checkpoints,
// its references to commands and its counts, of one generation. A rebuild
// writes a second generation beside the first and then takes its place.
//
// A key is the projection's name, 0x00, then either 0x00 (which generation is
// in force) or 0x01, the generation and the table, and the key within the table.
type Rows struct {
	view View
	name string

	write   sync.Mutex // held from the first row of a batch to its commit; guards the next three
	scratch scratch
	ended   ended
	dropped map[DayNumber]struct{} // days whose rows went since the files were last compacted

	mu         sync.RWMutex // guards the two below
	generation uint32
	prefix     []byte // of every key of the generation
}

// Table names a table of a projection. Tables below FirstTable belong to Rows.
type Table byte

const (
	tableCheckpoint Table = iota + 1 // stream → checkpoint
	tableCommand                     // event id → reference
	tableAge                         // hour, block of revisions, stream → event ids: what to forget and when
	tableCount                       // name → count
	tableNewest                      // → time of the newest event
	tableEnded                       // day → nothing: its key was destroyed

	// FirstTable is the first table a projection may use.
	FirstTable Table = 0x10
)

// form is that of the rows. Rows of another form are deleted when they are opened, and made again from the ledger.
const form = 5

const generationSize = 4

// OpenRows opens the rows of the named projection. What an unfinished rebuild
// left is deleted.
func OpenRows(view View, name string) (*Rows, error) {
	r := &Rows{view: view, name: name}
	value, found, err := view.Get(r.inForceKey())
	if err != nil {
		return nil, fmt.Errorf("open the rows of %s: %w", name, err)
	}
	if found && len(value) < generationSize {
		return nil, fmt.Errorf("open the rows of %s: generation of %d octets; delete the view, it will be rebuilt", name, len(value))
	}
	generation := uint32(1)
	if found {
		generation = binary.BigEndian.Uint32(value)
		if !bytes.Equal(value, inForce(generation)) {
			generation++ // none of the old rows is in it
		}
	}
	r.use(generation)
	var c Changes
	c.Set(r.inForceKey(), inForce(generation))
	c.DeleteRange(r.generationKey(0), r.generationKey(generation))
	c.DeleteRange(r.generationKey(generation+1), r.end())
	if err := view.Commit(&c); err != nil {
		return nil, fmt.Errorf("open the rows of %s: %w", name, err)
	}
	if r.ended, err = r.loadEnded(); err != nil {
		return nil, fmt.Errorf("open the rows of %s: %w", name, err)
	}
	r.dropped = r.ended.numbers()
	return r, nil
}

// inForce is the row that names the generation in force and the form of its rows.
func inForce(generation uint32) []byte {
	return append(binary.BigEndian.AppendUint32(nil, generation), form)
}

func (r *Rows) base(kind byte) []byte { return append([]byte(r.name), 0, kind) }
func (r *Rows) inForceKey() []byte    { return r.base(0) }
func (r *Rows) end() []byte           { return r.base(2) }
func (r *Rows) generationKey(n uint32) []byte {
	return binary.BigEndian.AppendUint32(r.base(1), n)
}

func (r *Rows) use(generation uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation, r.prefix = generation, slices.Clip(r.generationKey(generation))
}

func (r *Rows) current() (generation uint32, prefix []byte) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.generation, r.prefix
}

// Shadow opens an empty generation beside the one in force.
func (r *Rows) Shadow() (*Rows, error) {
	generation, _ := r.current()
	s := &Rows{view: r.view, name: r.name, dropped: map[DayNumber]struct{}{}}
	s.use(generation + 1)
	var c Changes
	c.DeleteRange(r.generationKey(generation+1), r.end())
	if err := r.view.Commit(&c); err != nil {
		return nil, fmt.Errorf("begin a new generation of %s: %w", r.name, err)
	}
	return s, nil
}

// Promote puts a shadow's generation in force in one commit and deletes the
// rows it replaces. The shadow is of no use afterwards.
func (r *Rows) Promote(shadow *Rows) error {
	r.write.Lock()
	defer r.write.Unlock()
	generation, _ := shadow.current()
	var c Changes
	c.Set(r.inForceKey(), inForce(generation))
	r.mu.Lock() // a reader sees the old rows or the new ones, never none
	defer r.mu.Unlock()
	c.DeleteRange(r.generationKey(0), r.generationKey(generation))
	if err := r.view.Commit(&c); err != nil {
		return fmt.Errorf("put generation %d of %s in force: %w", generation, r.name, err)
	}
	r.generation, r.prefix = generation, slices.Clip(r.generationKey(generation))
	r.ended, r.dropped = shadow.ended, shadow.dropped
	return nil
}

// Reset deletes every row and checkpoint.
func (r *Rows) Reset() error {
	r.write.Lock()
	defer r.write.Unlock()
	generation, prefix := r.current()
	var c Changes
	c.DeleteRange(prefix, r.generationKey(generation+1))
	if err := r.view.Commit(&c); err != nil {
		return fmt.Errorf("empty %s: %w", r.name, err)
	}
	r.ended = ended{}
	return nil
}

// Compact returns when no file of the view holds a row that was deleted before. A view that keeps no files has nothing
// to do. It rewrites everything that the projection has: call it once after many deletions.
func (r *Rows) Compact(ctx context.Context) error {
	v, ok := r.view.(Compacting)
	if !ok {
		return nil
	}
	if err := v.Compact(ctx, Range{r.base(0), r.end()}); err != nil {
		return fmt.Errorf("compact the rows of %s: %w", r.name, err)
	}
	return nil
}

func tableKey(prefix []byte, t Table, key []byte) []byte {
	return appendTableKey(make([]byte, 0, len(prefix)+1+len(key)), prefix, t, key)
}

func appendTableKey(b, prefix []byte, t Table, key []byte) []byte {
	return append(append(append(b, prefix...), byte(t)), key...)
}

// Get returns the value of a key of a table.
func (r *Rows) Get(t Table, key []byte) (value []byte, found bool, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.view.Get(tableKey(r.prefix, t, key))
}

// Ascend visits the keys from ≤ key < to of a table in rising order until visit
// returns false; a nil to is the end of the table. Visit must not ask the rows
// for anything.
func (r *Rows) Ascend(t Table, from, to []byte, visit func(key, value []byte) bool) error {
	return r.scan(r.view.Ascend, t, from, to, visit)
}

// AscendEach is Ascend of one range of a table after the other, all as they are at the same moment. A nil To is none.
func (r *Rows) AscendEach(t Table, ranges []Range, visit func(key, value []byte) bool) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	within := make([]Range, len(ranges))
	for i, g := range ranges {
		within[i] = Range{tableKey(r.prefix, t, g.From), tableKey(r.prefix, t, g.To)}
	}
	return r.view.AscendEach(within, func(key, value []byte) bool { return visit(key[len(r.prefix)+1:], value) })
}

// Descend is Ascend in falling order.
func (r *Rows) Descend(t Table, from, to []byte, visit func(key, value []byte) bool) error {
	return r.scan(r.view.Descend, t, from, to, visit)
}

type scan func(from, to []byte, visit func(key, value []byte) bool) error

func (r *Rows) scan(in scan, t Table, from, to []byte, visit func(key, value []byte) bool) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	lower, upper := tableKey(r.prefix, t, from), tableKey(r.prefix, t, to)
	if to == nil {
		upper = tableKey(r.prefix, t+1, nil)
	}
	return in(lower, upper, func(key, value []byte) bool { return visit(key[len(r.prefix)+1:], value) })
}

// Each visits every row of the generation in force, checkpoints and counts
// included, in one order: two projections that saw the same events show the
// same rows. The table is the first byte of the key.
func (r *Rows) Each(visit func(key, value []byte) bool) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.view.Ascend(r.prefix, r.generationKey(r.generation+1), func(key, value []byte) bool {
		return visit(key[len(r.prefix):], value)
	})
}

// storedCheckpoint is a Checkpoint as a row.
type storedCheckpoint struct {
	Next  uint64 `cbor:"1,keyasint"`
	Leaf  []byte `cbor:"2,keyasint"`
	Epoch uint64 `cbor:"3,keyasint"`
}

// Checkpoint returns the position committed last for a stream.
func (r *Rows) Checkpoint(stream string) (Checkpoint, error) {
	value, found, err := r.Get(tableCheckpoint, []byte(stream))
	if err != nil || !found {
		return Checkpoint{}, wrapRead(err, "checkpoint of "+stream, r.name)
	}
	s, err := event.Decode[storedCheckpoint](value)
	c := Checkpoint{Next: s.Next, Epoch: s.Epoch}
	if err != nil || copy(c.Leaf[:], s.Leaf) != len(c.Leaf) {
		return Checkpoint{}, fmt.Errorf("checkpoint of %s in %s is damaged; rebuild the projection: %w", stream, r.name, ErrDamaged)
	}
	return c, nil
}

func (c Checkpoint) encode() ([]byte, error) {
	return event.Encode(storedCheckpoint{Next: c.Next, Leaf: c.Leaf[:], Epoch: c.Epoch})
}

func wrapRead(err error, what, name string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read the %s in %s: %w", what, name, err)
}
