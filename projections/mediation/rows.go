package mediation

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/register"
	"kiroku/projections"
)

// noTime is later than every time.
const noTime = math.MaxInt64

// storedStanding is a register.Standing in a row.
type storedStanding struct {
	State    string `cbor:"1,keyasint"`
	Provider string `cbor:"2,keyasint"`
	Until    int64  `cbor:"3,keyasint"` // microseconds since 1970-01-01 UTC, 0 for none
	Header   []byte `cbor:"4,keyasint"`
	Data     []byte `cbor:"5,keyasint"`
}

func (s storedStanding) set(b *projections.Batch, number uuid.UUID) error {
	value, err := event.Encode(s)
	if err == nil {
		b.Set(tableStanding, number[:], value)
	}
	return err
}

// decodeStanding takes what Get returns.
func decodeStanding(value []byte, found bool, err error) (storedStanding, bool, error) {
	if err != nil || !found {
		return storedStanding{}, false, err
	}
	s, err := event.Decode[storedStanding](value)
	if err != nil {
		return s, false, projections.ErrDamaged
	}
	return s, true, nil
}

func (s storedStanding) standing(number uuid.UUID) register.Standing {
	out := register.Standing{
		ProcessingNumber: number, State: s.State, Provider: s.Provider,
		Latest: register.Sealed{Header: s.Header, Data: s.Data},
	}
	if s.Until != 0 {
		out.ValidUntil = time.UnixMicro(s.Until).UTC()
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
