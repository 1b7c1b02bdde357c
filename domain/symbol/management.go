package symbol

import (
	"fmt"

	"kiroku/domain/secret"
)

// ManagementInfoSize is the length in bytes of a management information.
const ManagementInfoSize = macSize

// ManagementInfo is the management information (連携用符号管理情報): it finds the person of a resident code without
// the code. A resident code is guessable, so whoever could ask the index key's HMAC freely could undo it: it is
// redacted like a symbol. Equal ones are ==. The zero value is none.
type ManagementInfo struct {
	secret.Redaction
	veiled [2]veiled
}

// ManagementInfoFrom takes the HSM's HMAC of IndexInput or NextIndexInput, or the 32 bytes of a stored one (ErrMAC).
func ManagementInfoFrom(mac []byte) (ManagementInfo, error) {
	if len(mac) != macSize {
		return ManagementInfo{}, fmt.Errorf("making a management information of %d bytes: %w", len(mac), ErrMAC)
	}
	return ManagementInfo{veiled: [2]veiled{veil([Size]byte(mac)), veil([Size]byte(mac[Size:]))}}, nil
}

// Expose returns the 32 bytes, to seal them or to make an index key of them.
func (m ManagementInfo) Expose() [ManagementInfoSize]byte {
	first, second := m.veiled[0].reveal(), m.veiled[1].reveal()
	var b [ManagementInfoSize]byte
	copy(b[:], first[:])
	copy(b[Size:], second[:])
	return b
}

// IsZero reports whether m is none.
func (m ManagementInfo) IsZero() bool { return m == ManagementInfo{} }
