package dedup

import (
	"crypto/subtle"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/register"
	"kiroku/projections"
)

const (
	live       = 0
	superseded = 1
)

// masked is a subject id as a row holds it: ⊕ a keyed index of the row's own key, so that neither a subject id, nor which
// rows are of one person, can be read from the view without the HSM.
type masked [16]byte

// named is a row that names a person.
type named struct {
	key    register.Key
	masked masked
}

// indexMask is the kind of Index that makes the masks.
const indexMask = "dedup mask"

func (d *Dedup) mask(t projections.Table, key register.Key, id [16]byte) [16]byte {
	pad := d.keys.Index(indexMask, []byte{byte(t)}, key[:])
	subtle.XORBytes(id[:], id[:], pad[:])
	return id
}

// person returns the key of a person's own rows.
func (d *Dedup) person(id register.SubjectID) register.Key {
	b := id.Expose()
	defer clear(b[:])
	return d.keys.Index(keyring.IndexSubject, b[:])
}

func (d *Dedup) name(t projections.Table, key register.Key, id register.SubjectID) named {
	return named{key, d.mask(t, key, id.Expose())}
}

// unmask is the inverse of name.
func (d *Dedup) unmask(t projections.Table, key register.Key, m []byte) (register.SubjectID, error) {
	if len(m) != len(masked{}) {
		return register.SubjectID{}, projections.ErrDamaged
	}
	return register.NewSubjectID(d.mask(t, key, [16]byte(m))), nil
}

// encodeResolution returns live or superseded, then the masked subject id.
func encodeResolution(m masked, state byte) []byte { return append([]byte{state}, m[:]...) }

func (d *Dedup) decodeResolution(key register.Key, b []byte) (r register.Resolution, err error) {
	if len(b) == 0 || b[0] > superseded {
		return r, projections.ErrDamaged
	}
	r.Superseded = b[0] == superseded
	r.Subject, err = d.unmask(tableManagement, key, b[1:])
	return r, err
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
