package dedup

import (
	"fmt"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/register"
	"kiroku/projections"
)

// change is what one event does to the rows.
type change struct {
	eventType string
	person    register.Key // index of the subject id

	management    named
	oldManagement named
	linkage       named

	newPerson bool
	holding   register.Holding
}

type fact = projections.Fact[change]

// Apply implements projections.Projection.
func (d *Dedup) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	return projections.Apply(d.rows, stream, batch, to, d.read, write)
}

func (d *Dedup) read(o *projections.Opened) (fact, error) {
	switch o.Event.Type {
	case event.TypeSymbolIssued:
		return d.readIssued(o)
	case event.TypeSymbolAlreadyAcquired:
		p, err := projections.Decoded[event.SymbolAlreadyAcquired](o)
		if err != nil {
			return fact{}, err
		}
		return fact{Rows: change{eventType: o.Event.Type}, Command: &p.Command}, nil
	case event.TypeResidentCodeChanged:
		return d.readCodeChanged(o)
	case event.TypeResidentCodeChangeRefused:
		p, err := projections.Decoded[event.ResidentCodeChangeRefused](o)
		if err != nil {
			return fact{}, err
		}
		return fact{Command: &p.Command, Skip: true}, nil
	}
	return fact{Skip: true}, nil
}

func (d *Dedup) readIssued(o *projections.Opened) (fact, error) {
	p, err := projections.Decoded[event.SymbolIssued](o)
	if err != nil {
		return fact{}, err
	}
	s := &p.Subject
	id, ok := register.SubjectIDFrom(s.ID)
	if !ok || len(s.Linkage) != 16 || len(s.Management) != 32 {
		return fact{}, fmt.Errorf("subject with a symbol or id of the wrong length: %w", event.ErrMalformed)
	}
	return fact{Command: &p.Command, Rows: change{
		eventType:  o.Event.Type,
		person:     d.person(id),
		management: d.name(tableManagement, d.index.Index(keyring.IndexManagement, s.Management), id),
		linkage:    d.name(tableLinkage, d.index.Index(keyring.IndexLinkage, s.Linkage), id),
		newPerson:  p.NewPerson,
		holding:    register.Holding{Agency: p.Issuance.Agency, Scheme: p.Issuance.Scheme},
	}}, nil
}

func (d *Dedup) readCodeChanged(o *projections.Opened) (fact, error) {
	p, err := projections.Decoded[event.ResidentCodeChanged](o)
	if err != nil {
		return fact{}, err
	}
	id, ok := register.SubjectIDFrom(p.Subject)
	if !ok || len(p.OldManagement) != 32 || len(p.Management) != 32 {
		return fact{}, fmt.Errorf("change of a resident code with an index or id of the wrong length: %w", event.ErrMalformed)
	}
	return fact{Command: &p.Command, Rows: change{
		eventType:     o.Event.Type,
		management:    d.name(tableManagement, d.index.Index(keyring.IndexManagement, p.Management), id),
		oldManagement: d.name(tableManagement, d.index.Index(keyring.IndexManagement, p.OldManagement), id),
	}}, nil
}

func write(b *projections.Batch, o *projections.Opened, c change) error {
	switch c.eventType {
	case event.TypeSymbolIssued:
		return writeIssued(b, o, c)
	case event.TypeSymbolAlreadyAcquired:
		b.Count(countAlreadyAcquired, 1)
	case event.TypeResidentCodeChanged:
		// In this order: a change back to a former code makes it resolve again.
		b.Set(tableManagement, c.oldManagement.key[:], encodeResolution(c.oldManagement.masked, superseded))
		b.Set(tableManagement, c.management.key[:], encodeResolution(c.management.masked, live))
	}
	return nil
}

func writeIssued(b *projections.Batch, o *projections.Opened, c change) error {
	b.Count(countSymbols, 1)
	var holdings []register.Holding
	if c.newPerson {
		b.Count(countPeople, 1)
		b.SetSealed(tableFirst, c.person[:], o.Sealed())
	} else {
		var err error
		if holdings, err = decodeHoldings(b.Get(tableHoldings, c.person[:])); err != nil {
			return err
		}
	}
	b.Set(tableManagement, c.management.key[:], encodeResolution(c.management.masked, live))
	b.Set(tableLinkage, c.linkage.key[:], c.linkage.masked[:])
	value, err := encodeHoldings(with(holdings, c.holding))
	if err != nil {
		return err
	}
	b.Set(tableHoldings, c.person[:], value)
	return nil
}

// with adds a holding; an agency that holds a symbol already gets the new scheme.
func with(holdings []register.Holding, h register.Holding) []register.Holding {
	for i := range holdings {
		if holdings[i].Agency == h.Agency {
			holdings[i].Scheme = h.Scheme
			return holdings
		}
	}
	return append(holdings, h)
}
