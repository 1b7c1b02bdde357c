package projections

import (
	"encoding/binary"
	"fmt"

	"kiroku/domain/register"
)

// EncodeSealed returns a sealed event as one value: the header's length, the
// header, the data.
func EncodeSealed(s register.Sealed) []byte {
	return AppendSealed(make([]byte, 0, SealedSize(s)), s)
}

// SealedSize is the greatest length of what EncodeSealed returns.
func SealedSize(s register.Sealed) int { return binary.MaxVarintLen32 + len(s.Header) + len(s.Data) }

// SetSealed gives a key of a table a sealed event as its value.
func (b *Batch) SetSealed(t Table, key []byte, s register.Sealed) {
	b.Set(t, key, AppendSealed(b.Room(SealedSize(s)), s))
}

// AppendSealed appends what EncodeSealed returns. Nothing can follow it.
func AppendSealed(b []byte, s register.Sealed) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.Header)))
	return append(append(b, s.Header...), s.Data...)
}

// DecodeSealed is the inverse of EncodeSealed. The result shares its memory with b.
func DecodeSealed(b []byte) (register.Sealed, error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return register.Sealed{}, fmt.Errorf("sealed event of %d octets: %w", len(b), ErrDamaged)
	}
	b = b[used:]
	return register.Sealed{Header: b[:n:n], Data: b[n:]}, nil
}
