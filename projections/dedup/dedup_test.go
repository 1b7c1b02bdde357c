package dedup_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/projections/dedup"
	"kiroku/projections/projectiontest"
)

// desk is a ledger and the projection under test.
type desk struct {
	t      *testing.T
	ledger *projectiontest.Ledger
	dedup  *dedup.Dedup
	at     time.Time
	events int
}

func newDesk(t *testing.T) *desk {
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	d, err := dedup.Open(&projectiontest.Memory{}, l)
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t: t, ledger: l, dedup: d, at: projectiontest.Begin}
}

// happens appends one event and applies it. It returns the event's id.
func (d *desk) happens(eventType string, person byte, payload func(c event.Command) any) uuid.UUID {
	d.t.Helper()
	d.events++
	d.at = d.at.Add(time.Second)
	c := event.Command{ID: uuid.UUID{0: 7, 15: byte(d.events)}, Actor: event.Actor{Identity: "a"}, Digest: bytes.Repeat([]byte{byte(d.events)}, 16)}
	id := event.IDOf(event.CommandKey("a", c.ID), 0)
	f := projectiontest.Fact{Type: eventType, ID: id, Time: d.at, Payload: payload(c), Key: "subject/" + string('a'+rune(person))}
	if err := d.ledger.Append(event.StreamIssuance, f); err != nil {
		d.t.Fatal(err)
	}
	d.apply()
	return id
}

func (d *desk) apply() {
	d.t.Helper()
	c, err := projectiontest.Read(d.t.Context(), d.ledger, event.StreamIssuance)
	if err == nil {
		err = c.ApplyAll(d.dedup)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func filled(b byte, n int) event.Protected { return bytes.Repeat([]byte{b}, n) }

func subject(person byte) register.SubjectID {
	return register.NewSubjectID([16]byte(filled(person, 16)))
}

func (d *desk) issued(person byte, agency string, first bool) uuid.UUID {
	return d.happens(event.TypeSymbolIssued, person, func(c event.Command) any {
		return event.SymbolIssued{Command: c, NewPerson: first,
			Subject:  event.Subject{ID: filled(person, 16), Linkage: filled(person+100, 16), LinkageVersion: 1, Management: filled(person, 32), IndexVersion: 1},
			Issuance: event.Issuance{Agency: agency, Parameter: filled(1, 16), Scheme: 2, At: d.at.UnixMicro()}}
	})
}

func (d *desk) changed(person, from, to byte) {
	d.happens(event.TypeResidentCodeChanged, person, func(c event.Command) any {
		return event.ResidentCodeChanged{Command: c, Subject: filled(person, 16), OldManagement: filled(from, 32), Management: filled(to, 32), IndexVersion: 1}
	})
}

func (d *desk) expectCode(management byte, want register.Resolution, known bool) {
	d.t.Helper()
	got, found, err := d.dedup.ByManagement(d.ledger.Index(keyring.IndexManagement, filled(management, 32)))
	if err != nil || found != known || got != want {
		d.t.Errorf("management information %d: found %v, superseded %v, the right person %v, %v",
			management, found, got.Superseded, got.Subject == want.Subject, err)
	}
}

func (d *desk) holder(person byte) (register.Holder, bool) {
	d.t.Helper()
	h, found, err := d.dedup.ByLinkage(d.ledger.Index(keyring.IndexLinkage, filled(person+100, 16)))
	if err != nil {
		d.t.Fatal(err)
	}
	return h, found
}

func TestIssuances(t *testing.T) {
	d := newDesk(t)
	d.expectCode(1, register.Resolution{}, false)
	if _, found := d.holder(1); found {
		t.Error("a holder before the first issuance")
	}
	first := d.issued(1, "A-1", true)
	d.issued(1, "A-2", false)
	d.issued(2, "A-1", true)
	d.happens(event.TypeSymbolAlreadyAcquired, 1, func(c event.Command) any {
		return event.SymbolAlreadyAcquired{Command: c, Subject: filled(1, 16), Issuance: event.Issuance{Agency: "A-1", Parameter: filled(1, 16)}}
	})
	d.expectCode(1, register.Resolution{Subject: subject(1)}, true)
	h, found := d.holder(1)
	if !found || h.Subject != subject(1) || len(h.Holdings) != 2 || !h.Holds("A-1") || !h.Holds("A-2") || h.Holds("A-3") || h.Holdings[0].Scheme != 2 {
		t.Errorf("found %v, holdings %v", found, h.Holdings)
	}
	counts, err := d.dedup.Counts()
	if err != nil || counts != (dedup.Counts{People: 2, Symbols: 3, AlreadyAcquired: 1}) {
		t.Errorf("counts %+v, %v", counts, err)
	}
	ref, found, err := d.dedup.Command(first)
	if err != nil || !found || ref.Stream != event.StreamIssuance || ref.Revision != 1 || ref.Type != event.TypeSymbolIssued ||
		ref.Digest != [16]byte(filled(1, 16)) || !ref.At.Equal(projectiontest.Begin.Add(time.Second)) {
		t.Errorf("reference %+v, %v, %v", ref, found, err)
	}
}

// TestFirstEventStaysSealed: what the view gives back opens to the person's first event, and to that alone.
func TestFirstEventStaysSealed(t *testing.T) {
	d := newDesk(t)
	d.issued(1, "A-1", true)
	d.issued(1, "A-2", false)
	sealed, found, err := d.dedup.Subject(subject(1))
	if err != nil || !found {
		t.Fatal(found, err)
	}
	h, err := ledger.DecodeHeader(sealed.Header)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := d.ledger.Open(t.Context(), h, sealed.Data)
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode[event.SymbolIssued](plain)
	if err != nil || !e.NewPerson || e.Issuance.Agency != "A-1" || h.Revision != 1 {
		t.Errorf("opened to agency %s at %d, %v", e.Issuance.Agency, h.Revision, err)
	}
	if _, found, err := d.dedup.Subject(subject(9)); found || err != nil {
		t.Errorf("an unknown subject: %v, %v", found, err)
	}
}

func TestResidentCodeChanges(t *testing.T) {
	d := newDesk(t)
	live, old := register.Resolution{Subject: subject(1)}, register.Resolution{Subject: subject(1), Superseded: true}
	d.issued(1, "A-1", true)
	d.changed(1, 1, 50)
	d.expectCode(1, old, true)
	d.expectCode(50, live, true)
	d.changed(1, 50, 1) // and back
	d.expectCode(1, live, true)
	d.expectCode(50, old, true)
	refused := d.happens(event.TypeResidentCodeChangeRefused, 1, func(c event.Command) any {
		return event.ResidentCodeChangeRefused{Command: c, Subject: filled(1, 16), Other: filled(2, 16), Reason: "code-of-another-person"}
	})
	d.expectCode(1, live, true)
	if _, found, err := d.dedup.Command(refused); !found || err != nil {
		t.Errorf("the refused change: %v, %v", found, err)
	}
}

// TestPhysicalDeletion: rebuilt after a person's key is destroyed, nothing of them is found.
func TestPhysicalDeletion(t *testing.T) {
	d := newDesk(t)
	d.issued(1, "A-1", true)
	d.issued(2, "A-1", true)
	d.ledger.Destroy("subject/b")
	if err := d.dedup.Reset(); err != nil {
		t.Fatal(err)
	}
	d.apply()
	d.expectCode(1, register.Resolution{}, false)
	d.expectCode(2, register.Resolution{Subject: subject(2)}, true)
	if _, found := d.holder(1); found {
		t.Error("the deleted person holds symbols")
	}
	counts, err := d.dedup.Counts()
	if err != nil || counts != (dedup.Counts{People: 1, Symbols: 1}) {
		t.Errorf("counts %+v, %v", counts, err)
	}
}
