package mediation

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/register"
	"kiroku/projections"
)

// noTime is later than every time.
const noTime = math.MaxInt64

// standing is a register.Standing in a row: state and provider, each after its
// length in one octet, the end of the validity, the latest event. The key says with which day it dies: that of the event
// that made it so; a correction that came later is no such event.
type standing struct {
	state    string
	provider string // at most 255 octets: an agency code has 32
	until    int64  // microseconds since 1970-01-01 UTC, 0 for none
	latest   register.Sealed
}

func (s standing) size() int {
	return 2 + len(s.state) + len(s.provider) + 8 + projections.SealedSize(s.latest)
}

func (s standing) append(b []byte) []byte {
	b = appendShort(appendShort(b, s.state), s.provider)
	b = binary.BigEndian.AppendUint64(b, uint64(s.until))
	return projections.AppendSealed(b, s.latest)
}

func appendShort(b []byte, text string) []byte {
	text = text[:min(len(text), 255)]
	return append(append(b, byte(len(text))), text...)
}

// decodeStanding takes what Get returns. The result shares its memory with value.
func decodeStanding(value []byte, found bool, err error) (standing, bool, error) {
	if err != nil || !found {
		return standing{}, false, err
	}
	var s standing
	var ok [2]bool
	s.state, value, ok[0] = cutShort(value)
	s.provider, value, ok[1] = cutShort(value)
	if !ok[0] || !ok[1] || len(value) < 8 {
		return s, false, projections.ErrDamaged
	}
	s.until = int64(binary.BigEndian.Uint64(value))
	s.latest, err = projections.DecodeSealed(value[8:])
	return s, err == nil, err
}

func cutShort(b []byte) (text string, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	return string(b[1 : 1+int(b[0])]), b[1+int(b[0]):], true
}

func (s standing) of(number uuid.UUID) register.Standing {
	out := register.Standing{ProcessingNumber: number, State: s.state, Provider: s.provider, Latest: s.latest}
	if s.until != 0 {
		out.ValidUntil = time.UnixMicro(s.until).UTC()
	}
	return out
}

// expiryKey orders notifications by the end of their validity.
func expiryKey(until int64, number uuid.UUID) []byte {
	return append(timeKey(until), number[:]...)
}

// timeKey orders times from 1970 on; earlier ones do not occur in the ledger.
func timeKey(us int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(max(0, us))) }

// openKey orders the notifications of a provider by the end of their validity.
func openKey(provider string, until int64, number uuid.UUID) []byte {
	return append(providerKey(provider), expiryKey(until, number)...)
}

func providerKey(provider string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(provider))), provider...)
}

func numberIn(key []byte) uuid.UUID { return uuid.UUID(key[len(key)-16:]) }
