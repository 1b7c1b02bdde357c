package projections

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Spans are the spans of days in which a projection has rows, for whoever has to look into each of them. A span that
// was emptied stays among them until the next start. The zero Spans are none; all methods are safe for concurrent use.
type Spans struct {
	adding sync.Mutex
	all    atomic.Pointer[[]uint32] // rising; never changed, only replaced
}

// All returns the spans, the earliest first. Keep it as it is.
func (s *Spans) All() []uint32 {
	if all := s.all.Load(); all != nil {
		return *all
	}
	return nil
}

// Add comes before the commit of a span's first row.
func (s *Spans) Add(spans ...uint32) {
	for _, span := range spans {
		if _, known := slices.BinarySearch(s.All(), span); !known {
			s.insert(span)
		}
	}
}

func (s *Spans) insert(span uint32) {
	s.adding.Lock()
	defer s.adding.Unlock()
	all := s.All()
	if at, known := slices.BinarySearch(all, span); !known {
		all = slices.Insert(slices.Clone(all), at, span)
		s.all.Store(&all)
	}
}

// Load adds the spans of which a table has a row.
func (s *Spans) Load(r *Rows, t Table) error {
	for from := []byte{}; from != nil; {
		next := []byte(nil)
		err := r.Ascend(t, from, nil, func(key, _ []byte) bool {
			if len(key) >= PeriodSize {
				span := binary.BigEndian.Uint32(key)
				s.Add(span)
				next = AppendSpan(nil, span+1)
			}
			return false
		})
		if err != nil {
			return fmt.Errorf("find the spans of days in %s: %w", r.name, err)
		}
		from = next
	}
	return nil
}
