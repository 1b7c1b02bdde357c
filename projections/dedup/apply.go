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
	trace     tracedRow
}

type fact = projections.Fact[change]

// Apply implements projections.Projection.
func (d *Dedup) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	if stream == event.StreamVault {
		return projections.Apply(d.rows, stream, batch, to, d.readVault, d.writeVault)
	}
	return projections.Apply(d.rows, stream, batch, to, d.read, d.write)
}

func (d *Dedup) read(o *projections.Opened) (fact, error) {
	switch o.Event.Type {
	case event.TypeSymbolIssued:
		return d.readIssued(o)
	case event.TypeSymbolAlreadyAcquired:
		p, err := projections.Decoded[event.SymbolAlreadyAcquired](o)
		return d.readOther(o, &p.Command, p.Subject, tracedAlreadyAcquired, err)
	case event.TypeResidentCodeChanged:
		return d.readCodeChanged(o)
	case event.TypeResidentCodeChangeRefused:
		p, err := projections.Decoded[event.ResidentCodeChangeRefused](o)
		return d.readOther(o, &p.Command, p.Subject, tracedOther, err)
	case event.TypeDeletionRequested:
		p, err := projections.Decoded[event.DeletionRequested](o)
		return d.readOther(o, &p.Command, p.Subject, tracedOther, err)
	}
	return fact{Skip: true}, nil
}

// readOther reads an event that names a person and makes no row but that of its command.
func (d *Dedup) readOther(o *projections.Opened, command *event.Command, subject event.Protected, counts byte, err error) (fact, error) {
	if err != nil {
		return fact{}, err
	}
	id, ok := register.SubjectIDFrom(subject)
	if !ok {
		return fact{}, fmt.Errorf("subject id of the wrong length: %w", event.ErrMalformed)
	}
	return d.fact(o, command, change{eventType: o.Event.Type, person: d.person(id)}, counts)
}

// fact completes a change with what is needed to take it back.
func (d *Dedup) fact(o *projections.Opened, command *event.Command, c change, counts byte, named ...rowKey) (fact, error) {
	var err error
	c.trace, err = d.traced(c.person, trace{eventType: counts, at: o.Header.Time, revision: o.Event.Revision, id: o.Header.ID, named: named})
	return fact{Command: command, Rows: c}, err
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
	c := change{
		eventType:  o.Event.Type,
		person:     d.person(id),
		management: d.name(tableManagement, d.keys.Index(keyring.IndexManagement, s.Management), id),
		linkage:    d.name(tableLinkage, d.keys.Index(keyring.IndexLinkage, s.Linkage), id),
		newPerson:  p.NewPerson,
		holding:    register.Holding{Agency: p.Issuance.Agency, Scheme: p.Issuance.Scheme},
	}
	counts := tracedSymbol
	if p.NewPerson {
		counts = tracedNewPerson
	}
	return d.fact(o, &p.Command, c, counts, rowKey{tableManagement, c.management.key}, rowKey{tableLinkage, c.linkage.key})
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
	c := change{
		eventType:     o.Event.Type,
		person:        d.person(id),
		management:    d.name(tableManagement, d.keys.Index(keyring.IndexManagement, p.Management), id),
		oldManagement: d.name(tableManagement, d.keys.Index(keyring.IndexManagement, p.OldManagement), id),
	}
	return d.fact(o, &p.Command, c, tracedOther, rowKey{tableManagement, c.management.key}, rowKey{tableManagement, c.oldManagement.key})
}

func (d *Dedup) write(b *projections.Batch, o *projections.Opened, c change) error {
	if _, gone := d.gone[c.person]; gone {
		return projections.ErrLate
	}
	b.Set(tableTrace, c.trace.key, c.trace.value)
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
