package projections

// View is an ordered key-value store. Several projections may share one; each
// keeps below its own name. A Commit may be lost in a crash together with all
// later ones, never without them: what is lost is applied again.
//
// Slices given to visit are valid during the call only. All methods are safe
// for concurrent use.
type View interface {
	// Get returns a copy of the value.
	Get(key []byte) (value []byte, found bool, err error)
	// Ascend visits from ≤ key < to in rising order until visit returns false.
	// It sees the state of one moment.
	Ascend(from, to []byte, visit func(key, value []byte) bool) error
	// Descend visits the same keys in falling order.
	Descend(from, to []byte, visit func(key, value []byte) bool) error
	// Commit makes all changes at once.
	Commit(c *Changes) error
}

// Changes is what one Commit does: first the ranges go, then each key gets its
// value or goes. The zero value is ready to use by one goroutine.
type Changes struct {
	ranges []Range
	writes []Write
	at     map[string]int // position in writes
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
	if i, again := c.at[string(w.Key)]; again {
		c.writes[i] = w
		return
	}
	if c.at == nil {
		c.at = make(map[string]int)
	}
	c.at[string(w.Key)] = len(c.writes)
	c.writes = append(c.writes, w)
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
	i, known := c.at[string(key)]
	if !known || c.writes[i].Delete {
		return nil, false, known
	}
	return c.writes[i].Value, true, true
}
