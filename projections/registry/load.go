package registry

import (
	"errors"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/scope"
	"kiroku/projections"
)

// load makes the snapshot that the rows stand for.
func load(rows *projections.Rows, outside ledger.KeySet) (*Snapshot, error) {
	d := &draft{}
	for _, t := range []struct {
		table projections.Table
		take  func(value []byte) error
	}{
		{tableLedger, func(v []byte) error { return take(v, func(p event.LedgerOpened) error { d.setLedger(p); return nil }) }},
		{tableAgency, func(v []byte) error { return take(v, d.loadAgency) }},
		{tableViolation, func(v []byte) error { return take(v, d.loadViolation) }},
		{tableKey, func(v []byte) error { return take(v, d.loadKey) }},
		{tableAnchor, func(v []byte) error { return take(v, d.loadAnchor) }},
		{tableTruncation, func(v []byte) error {
			t, err := ledger.DecodeTruncation(v)
			d.setStart(t)
			return err
		}},
	} {
		var damage error
		err := rows.Ascend(t.table, nil, nil, func(_, value []byte) bool {
			damage = t.take(value)
			return damage == nil
		})
		if err := errors.Join(err, damage); err != nil {
			return nil, err
		}
	}
	hash, found, err := rows.Get(tableInForce, nil)
	if err != nil {
		return nil, err
	}
	if found {
		if len(hash) != len(scope.Hash{}) {
			return nil, projections.ErrDamaged
		}
		if d.rules, err = assemble(rows.Get, hash); err != nil {
			return nil, err
		}
	}
	return d.finish(outside)
}

func take[T any](value []byte, set func(T) error) error {
	p, err := event.Decode[T](value)
	if err != nil {
		return projections.ErrDamaged
	}
	return set(p)
}

func (d *draft) loadAgency(s storedAgency) error {
	a, err := s.agency()
	d.setAgency(a)
	return err
}

func (d *draft) loadViolation(p event.PIAViolation) error {
	v, err := violation(p)
	d.setViolation(v)
	return err
}

func (d *draft) loadKey(p event.SigningKeyPublished) error {
	k, err := publicKey(p)
	d.setKey(k)
	return err
}

func (d *draft) loadAnchor(s storedAnchor) error {
	a, err := ledger.DecodeAnchor(s.Anchor)
	if err != nil || len(s.Leaf) != len(ledger.Hash{}) {
		return projections.ErrDamaged
	}
	d.setAnchor(register.Anchored{Revision: s.Revision, Leaf: ledger.Hash(s.Leaf), Anchor: a})
	return nil
}
