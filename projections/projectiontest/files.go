package projectiontest

import (
	"context"

	"kiroku/projections"
)

// Files is a view in memory that keeps what was deleted or replaced until it is compacted, as one in files does. The zero
// value is empty. It is not for several goroutines.
type Files struct {
	Memory
	versions map[string][]version // of each key, all since it was compacted
}

type version struct {
	value   string
	deleted bool
}

// Commit implements projections.View.
func (f *Files) Commit(c *projections.Changes) error {
	if err := f.Memory.Commit(c); err != nil {
		return err
	}
	if f.versions == nil {
		f.versions = map[string][]version{}
	}
	for _, w := range c.Writes() {
		f.versions[string(w.Key)] = append(f.versions[string(w.Key)], version{string(w.Value), w.Delete})
	}
	return nil
}

// Compact implements projections.Compacting: it forgets what no row has any more in the ranges, and nothing else.
func (f *Files) Compact(_ context.Context, ranges ...projections.Range) error {
	for key := range f.versions {
		for _, r := range ranges {
			if key < string(r.From) || key >= string(r.To) && r.To != nil {
				continue
			}
			delete(f.versions, key)
			if value, found, _ := f.Get([]byte(key)); found {
				f.versions[key] = []version{{value: string(value)}}
			}
		}
	}
	return nil
}

// Leftovers visits the key of everything that the files hold and no row has.
func (f *Files) Leftovers(visit func(key []byte)) {
	for key, all := range f.versions {
		value, found, _ := f.Get([]byte(key))
		for _, v := range all {
			if !found || v.deleted || v.value != string(value) {
				visit([]byte(key))
			}
		}
	}
}
