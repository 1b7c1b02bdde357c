package projections

import "context"

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
	// AscendEach is Ascend of one range after the other, all as they are at the same moment.
	AscendEach(ranges []Range, visit func(key, value []byte) bool) error
	// Descend visits the same keys in falling order.
	Descend(from, to []byte, visit func(key, value []byte) bool) error
	// Commit makes all changes at once. The changes, and all bytes in them, are
	// the caller's again when it returns.
	Commit(c *Changes) error
}

// Compacting is a View in files, in which what was deleted stays until they are written anew.
type Compacting interface {
	View
	// Compact rewrites the ranges, and little besides, and returns when no file holds what was deleted there before.
	// After an error it may be called again.
	Compact(ctx context.Context, ranges ...Range) error
}
