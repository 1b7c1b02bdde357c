package mediation_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/projections/mediation"
	"kiroku/projections/projectiontest"
)

var begin = projectiontest.Begin

// desk is a ledger with one record stream and the projection under test.
type desk struct {
	t         *testing.T
	ledger    *projectiontest.Ledger
	mediation *mediation.Mediation
	events    int
}

func newDesk(t *testing.T) *desk {
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	m, err := mediation.Open(&projectiontest.Memory{})
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t: t, ledger: l, mediation: m}
}

func (d *desk) happens(eventType string, payload func(event.Command) any) uuid.UUID {
	d.t.Helper()
	d.events++
	c := event.Command{ID: uuid.UUID{0: 9, 15: byte(d.events)}, Actor: event.Actor{Identity: "a"}, Digest: make([]byte, 16)}
	id := event.IDOf(event.CommandKey("a", c.ID), 0)
	err := d.ledger.Append("record-00", projectiontest.Fact{Type: eventType, ID: id, Time: begin.Add(time.Duration(d.events) * time.Second), Payload: payload(c), Key: "day"})
	if err != nil {
		d.t.Fatal(err)
	}
	d.apply()
	return id
}

func (d *desk) apply() {
	d.t.Helper()
	c, err := projectiontest.Read(d.t.Context(), d.ledger, "record-00")
	if err == nil {
		err = c.ApplyAll(d.mediation)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func number(n byte) uuid.UUID { return uuid.UUID{0: 1, 15: n} }

// record is inquiry n to a provider, valid for so many hours from the beginning.
func record(n byte, provider string, hours int) event.Record {
	id := number(n)
	return event.Record{
		Symbol: bytes.Repeat([]byte{n}, 16), Subject: bytes.Repeat([]byte{n}, 16), ProcessingNumber: id[:],
		Provider: provider, Items: []string{"続柄"}, ValidUntil: begin.Add(time.Duration(hours) * time.Hour).UnixMicro(),
	}
}

func (d *desk) notified(n byte, provider string, hours int) uuid.UUID {
	return d.happens(event.TypeInquiryNotified, func(c event.Command) any {
		return event.InquiryNotified{Command: c, Record: record(n, provider, hours)}
	})
}

func (d *desk) reported(n byte, provider string, hours int, answer inquiry.State) {
	d.happens(event.TypeProvisionReported, func(c event.Command) any {
		return event.ProvisionReported{Command: c, Record: record(n, provider, hours), Answer: answer.String()}
	})
}

func (d *desk) lapsed(n byte, provider string, hours int) {
	d.happens(event.TypeInquiryLapsed, func(c event.Command) any {
		return event.InquiryLapsed{Command: c, Record: record(n, provider, hours)}
	})
}

func (d *desk) state(n byte) string {
	d.t.Helper()
	s, found, err := d.mediation.Standing(number(n))
	if err != nil {
		d.t.Fatal(err)
	}
	if !found {
		return "none"
	}
	return s.State
}

func (d *desk) expect(what string, got []register.Standing, err error, want ...byte) {
	d.t.Helper()
	var numbers, expected []string
	for _, s := range got {
		numbers = append(numbers, fmt.Sprint(s.ProcessingNumber[15]))
	}
	for _, n := range want {
		expected = append(expected, fmt.Sprint(n))
	}
	if err != nil || fmt.Sprint(numbers) != fmt.Sprint(expected) {
		d.t.Errorf("%s: %v, %v; want %v", what, numbers, err, expected)
	}
}

func (d *desk) open(provider string, limit int) ([]register.Standing, error) {
	return d.mediation.OpenFor(d.t.Context(), provider, limit)
}

func TestLifeOfInquiries(t *testing.T) {
	d := newDesk(t)
	command := d.notified(1, "P", 1)
	d.notified(2, "P", 2)
	d.notified(3, "P", 3)
	d.notified(4, "P", 4)
	d.happens(event.TypeInquiryRefused, func(c event.Command) any {
		return event.InquiryRefused{Command: c, Record: record(5, "P", 0), Reason: "out-of-scope"}
	})
	d.reported(1, "P", 1, inquiry.Provided)
	d.reported(2, "P", 2, inquiry.CannotProvide)
	d.lapsed(3, "P", 3)
	for n, want := range map[byte]string{1: "provided", 2: "cannot-provide", 3: "lapsed", 4: "notified", 5: "refused", 6: "none"} {
		if got := d.state(n); got != want {
			t.Errorf("inquiry %d is %s, want %s", n, got, want)
		}
	}
	s, _, _ := d.mediation.Standing(number(1))
	h, err := ledger.DecodeHeader(s.Latest.Header)
	if err != nil || h.Type != event.TypeProvisionReported || s.Provider != "P" || !s.ValidUntil.Equal(begin.Add(time.Hour)) {
		t.Errorf("standing of 1: latest %s, provider %s, until %s, %v", h.Type, s.Provider, s.ValidUntil, err)
	}
	if _, err := d.ledger.Open(t.Context(), h, s.Latest.Data); err != nil {
		t.Errorf("the latest event does not open: %v", err)
	}
	if ref, found, err := d.mediation.Command(command); !found || err != nil || ref.Revision != 1 {
		t.Errorf("command: %+v, %v, %v", ref, found, err)
	}
}

func TestOpenNotifications(t *testing.T) {
	d := newDesk(t)
	d.notified(1, "P", 9)
	d.notified(2, "P", 3)
	d.notified(3, "PQ", 1) // a code that begins with another
	d.notified(4, "P", 6)
	got, err := d.open("P", 10)
	d.expect("P", got, err, 2, 4, 1)
	got, err = d.open("P", 2)
	d.expect("the first two of P", got, err, 2, 4)
	got, err = d.open("PQ", 10)
	d.expect("PQ", got, err, 3)
	got, err = d.open("Q", 10)
	d.expect("Q", got, err)
	d.reported(2, "P", 3, inquiry.Provided)
	d.lapsed(4, "P", 6)
	got, err = d.open("P", 10)
	d.expect("P after an answer and a lapse", got, err, 1)
	got, err = d.open("P", 0)
	d.expect("none wanted", got, err)
}

// TestExpired asks again and again, as the core does: what was passed over once must not be forgotten.
func TestExpired(t *testing.T) {
	d := newDesk(t)
	expired := func(hours, limit int) ([]register.Standing, error) {
		return d.mediation.Expired(begin.Add(time.Duration(hours)*time.Hour), limit)
	}
	d.notified(1, "P", 2)
	d.notified(2, "P", 5)
	d.notified(3, "Q", 4)
	got, err := expired(1, 10)
	d.expect("at 1", got, err)
	got, err = expired(2, 10)
	d.expect("at 2, the moment it ends", got, err, 1)
	got, err = expired(5, 2)
	d.expect("at 5, two of them", got, err, 1, 3)
	got, err = expired(5, 10)
	d.expect("at 5", got, err, 1, 3, 2)
	d.lapsed(1, "P", 2)
	got, err = expired(5, 10)
	d.expect("after the lapse", got, err, 3, 2)
	d.lapsed(3, "Q", 4)
	d.lapsed(2, "P", 5)
	got, err = expired(5, 10)
	d.expect("all lapsed", got, err)
	d.notified(4, "P", 3) // ends before what was looked at
	got, err = expired(5, 10)
	d.expect("a notification that ends early", got, err, 4)
	if err := d.mediation.Reset(); err != nil {
		t.Fatal(err)
	}
	d.apply()
	got, err = expired(5, 10)
	d.expect("after a reset", got, err, 4)
}

// TestClosedStaysClosed: an event that contradicts the end of an inquiry changes nothing and is counted.
func TestClosedStaysClosed(t *testing.T) {
	d := newDesk(t)
	d.notified(1, "P", 2)
	d.lapsed(1, "P", 2)
	d.reported(1, "P", 2, inquiry.Provided)
	d.notified(1, "P", 20)
	if got := d.state(1); got != "lapsed" {
		t.Errorf("the inquiry is %s", got)
	}
	got, err := d.open("P", 10)
	d.expect("open", got, err)
	if n, err := d.mediation.Rows().Count(mediation.Contradicting); n != 2 || err != nil {
		t.Errorf("%d contradicting events, %v", n, err)
	}
}

// TestAnswerOutlivesItsNotification: the day of the notification is destroyed, the answer of the next is not.
func TestAnswerOutlivesItsNotification(t *testing.T) {
	d := newDesk(t)
	d.reported(1, "P", 2, inquiry.Provided)
	if got := d.state(1); got != "provided" {
		t.Errorf("the inquiry is %s", got)
	}
}

// TestCorrectionKeepsTheState: a new branch of the record is its latest event, and opens nothing again.
func TestCorrectionKeepsTheState(t *testing.T) {
	d := newDesk(t)
	d.notified(1, "P", 2)
	d.reported(1, "P", 2, inquiry.Provided)
	d.happens(event.TypeInquiryNotified, func(c event.Command) any {
		r := record(1, "P", 2)
		r.Branch, r.AmendmentReason = 1, "誤記"
		return event.InquiryNotified{Command: c, Record: r}
	})
	s, _, err := d.mediation.Standing(number(1))
	h, decode := ledger.DecodeHeader(s.Latest.Header)
	if err != nil || decode != nil || s.State != "provided" || h.Revision != 3 {
		t.Errorf("state %s, latest event %d, %v, %v", s.State, h.Revision, err, decode)
	}
	got, err := d.open("P", 10)
	d.expect("open", got, err)
}

// TestADayEnds: what stood with it or with an earlier day goes, what was made so on a later day stays. An inquiry on a day
// that a legal hold keeps does not look open again in a view made anew, although its answer can be read no more.
func TestADayEnds(t *testing.T) {
	d := newDesk(t)
	on := func(day int, eventType string, payload any) {
		at := begin.AddDate(0, 0, day)
		f := projectiontest.Fact{Type: eventType, Time: at, Payload: payload, Key: projectiontest.DayKey(calendar.DayOf(at), "record-00")}
		if err := d.ledger.Append("record-00", f); err != nil {
			t.Fatal(err)
		}
	}
	far := 24 * 30
	on(0, event.TypeInquiryNotified, event.InquiryNotified{Record: record(1, "P", far)}) // held, answered on the day that ends
	on(0, event.TypeInquiryNotified, event.InquiryNotified{Record: record(2, "P", far)}) // held, answered later
	on(1, event.TypeProvisionReported, event.ProvisionReported{Record: record(1, "P", far), Answer: inquiry.Provided.String()})
	on(1, event.TypeInquiryNotified, event.InquiryNotified{Record: record(3, "P", far)}) // of the day that ends
	on(2, event.TypeProvisionReported, event.ProvisionReported{Record: record(2, "P", far), Answer: inquiry.Provided.String()})
	on(2, event.TypeInquiryNotified, event.InquiryNotified{Record: record(4, "P", far)})
	read := func(m *mediation.Mediation) {
		t.Helper()
		c, err := projectiontest.Read(t.Context(), d.ledger, "registry", "record-00")
		if err == nil {
			err = c.ApplyAll(m)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read(d.mediation)
	if err := projectiontest.Shred(d.ledger, calendar.DayOf(begin).AddDays(1), begin.AddDate(0, 0, 3)); err != nil {
		t.Fatal(err)
	}
	anew, err := mediation.Open(&projectiontest.Memory{})
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*mediation.Mediation{"live": d.mediation, "made anew": anew} {
		read(m)
		d.mediation = m
		for n, want := range map[byte]string{1: "none", 2: "provided", 3: "none", 4: "notified"} {
			if got := d.state(n); got != want {
				t.Errorf("%s: inquiry %d is %s, want %s", name, n, got, want)
			}
		}
		got, err := d.open("P", 10)
		d.expect(name+", open", got, err, 4)
		got, err = m.Expired(begin.AddDate(1, 0, 0), 10)
		d.expect(name+", expired", got, err, 4)
	}
}
