package dedup

import (
	"kiroku/domain/event"
	"kiroku/domain/register"
	"kiroku/projections"
)

const (
	live       = 0
	superseded = 1
)

// encodeResolution returns live or superseded, then the subject id.
func encodeResolution(r register.Resolution) []byte {
	b := make([]byte, 1, 1+len(r.Subject))
	if r.Superseded {
		b[0] = superseded
	}
	return append(b, r.Subject[:]...)
}

func decodeResolution(b []byte) (register.Resolution, error) {
	var r register.Resolution
	if len(b) != 1+len(r.Subject) || b[0] > superseded {
		return r, projections.ErrDamaged
	}
	r.Superseded = b[0] == superseded
	copy(r.Subject[:], b[1:])
	return r, nil
}

// storedHolding is a register.Holding in a row.
type storedHolding struct {
	_      struct{} `cbor:",toarray"`
	Agency string
	Scheme int
}

func encodeHoldings(all []register.Holding) ([]byte, error) {
	stored := make([]storedHolding, len(all))
	for i, h := range all {
		stored[i] = storedHolding{Agency: h.Agency, Scheme: h.Scheme}
	}
	return event.Encode(stored)
}

// decodeHoldings takes what Get returns; no row is no holding.
func decodeHoldings(value []byte, found bool, err error) ([]register.Holding, error) {
	if err != nil || !found {
		return nil, err
	}
	stored, err := event.Decode[[]storedHolding](value)
	if err != nil {
		return nil, projections.ErrDamaged
	}
	all := make([]register.Holding, len(stored))
	for i, h := range stored {
		all[i] = register.Holding{Agency: h.Agency, Scheme: h.Scheme}
	}
	return all, nil
}
