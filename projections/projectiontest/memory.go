// Package projectiontest gives tests of projections a view in memory, a ledger
// in memory that is chained, signed and sealed like the real one, and what it
// takes to compare two views and to search one for what must not be in it. It
// is linked into no binary.
package projectiontest

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"kiroku/projections"
)

// Memory is a projections.View in memory. The zero value is empty.
type Memory struct {
	mu   sync.RWMutex
	rows map[string][]byte

	// Fail, if set, is asked before each commit; its error is the commit's.
	Fail func() error
}

// Get implements projections.View.
func (m *Memory) Get(key []byte) ([]byte, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	value, found := m.rows[string(key)]
	return slices.Clone(value), found, nil
}

// Ascend implements projections.View.
func (m *Memory) Ascend(from, to []byte, visit func(key, value []byte) bool) error {
	for _, row := range m.between(from, to) {
		if !visit(row[0], row[1]) {
			break
		}
	}
	return nil
}

// AscendEach implements projections.View, of a moment for each range.
func (m *Memory) AscendEach(ranges []projections.Range, visit func(key, value []byte) bool) error {
	for _, r := range ranges {
		for _, row := range m.between(r.From, r.To) {
			if !visit(row[0], row[1]) {
				return nil
			}
		}
	}
	return nil
}

// Descend implements projections.View.
func (m *Memory) Descend(from, to []byte, visit func(key, value []byte) bool) error {
	rows := m.between(from, to)
	slices.Reverse(rows)
	for _, row := range rows {
		if !visit(row[0], row[1]) {
			break
		}
	}
	return nil
}

func (m *Memory) between(from, to []byte) [][2][]byte {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var keys []string
	for k := range m.rows {
		if k >= string(from) && k < string(to) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, strings.Compare)
	rows := make([][2][]byte, len(keys))
	for i, k := range keys {
		rows[i] = [2][]byte{[]byte(k), slices.Clone(m.rows[k])}
	}
	return rows
}

// Commit implements projections.View.
func (m *Memory) Commit(c *projections.Changes) error {
	if m.Fail != nil {
		if err := m.Fail(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows == nil {
		m.rows = map[string][]byte{}
	}
	for _, r := range c.Ranges() {
		for k := range m.rows {
			if k >= string(r.From) && k < string(r.To) {
				delete(m.rows, k)
			}
		}
	}
	for _, w := range c.Writes() {
		if w.Delete {
			delete(m.rows, string(w.Key))
		} else {
			m.rows[string(w.Key)] = slices.Clone(w.Value)
		}
	}
	return nil
}

// Clone returns a view with the rows as they are now: what a crash would leave.
func (m *Memory) Clone() *Memory {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := &Memory{rows: map[string][]byte{}}
	for k, v := range m.rows {
		c.rows[k] = slices.Clone(v)
	}
	return c
}

// Find returns the keys of the rows that hold one of the needles in key or value.
func Find(v projections.View, needles ...[]byte) (keys [][]byte, err error) {
	err = v.Ascend(nil, bytes.Repeat([]byte{0xff}, 64), func(key, value []byte) bool {
		for _, n := range needles {
			if bytes.Contains(key, n) || bytes.Contains(value, n) {
				keys = append(keys, slices.Clone(key))
				break
			}
		}
		return true
	})
	return keys, err
}

// Dump returns every row of a projection in order, as text to be compared.
func Dump(rows interface {
	Each(visit func(key, value []byte) bool) error
}) (string, error) {
	var out strings.Builder
	err := rows.Each(func(key, value []byte) bool {
		out.WriteString(quote(key) + " = " + quote(value) + "\n")
		return true
	})
	return out.String(), err
}
