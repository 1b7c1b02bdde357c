package mediation

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// seen tells, while a view is being filled from nothing, that an inquiry is new, without looking for it in the view: a
// Bloom filter of every processing number since the view was empty. Nothing is forgotten, so "new" is certain; the
// opposite is not, and then the view is asked. A core that was stopped in between does without: the numbers of a
// whole ledger are not read again for it. It belongs to whoever holds the rows for writing.
type seen struct{ bits []uint64 }

const (
	seenWords = 1 << 19 // 4 MiB: of three million numbers one of a hundred is taken for another's, of ten million one of five
	seenBlock = 8       // words that the bits of one number share: a line of the processor's cache
	seenBits  = 5       // of one number
)

func newSeen() *seen { return &seen{bits: make([]uint64, seenWords)} }

// add takes note of a number and tells whether it is certainly new. A nil filter knows nothing.
func (s *seen) add(number uuid.UUID) (isNew bool) {
	if s == nil {
		return false
	}
	block := s.bits[binary.BigEndian.Uint32(number[:])%(seenWords/seenBlock)*seenBlock:][:seenBlock]
	for rest, i := binary.BigEndian.Uint64(number[8:]), 0; i < seenBits; rest, i = rest>>9, i+1 {
		word, bit := &block[rest>>6&(seenBlock-1)], uint64(1)<<(rest&63)
		isNew = isNew || *word&bit == 0
		*word |= bit
	}
	return isNew
}
