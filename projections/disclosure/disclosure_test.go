package disclosure_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/projections/disclosure"
	"kiroku/projections/projectiontest"
)

var begin = projectiontest.Begin

func at(hour int) time.Time { return begin.Add(time.Duration(hour) * time.Hour) }

// notified is an inquiry about a person, recorded at an hour.
func notified(person byte, hour int) projectiontest.Fact {
	number := uuid.UUID{1, person, byte(hour)}
	r := event.Record{ProcessingNumber: number[:], Items: []string{"続柄"}, Provider: "P"}
	if person != 0 {
		r.Symbol = bytes.Repeat([]byte{person}, 16)
	}
	return projectiontest.Fact{Type: event.TypeInquiryNotified, Time: at(hour), Key: fmt.Sprint("hour/", hour), Payload: event.InquiryNotified{Record: r}}
}

func disclosed(person byte, hour int) projectiontest.Fact {
	return projectiontest.Fact{Type: event.TypeRecordsDisclosed, Time: at(hour), Key: "audit", ID: uuid.UUID{2, byte(hour)}, Payload: event.RecordsDisclosed{
		Command: event.Command{ID: uuid.UUID{3}, Digest: make([]byte, 16)}, Symbol: bytes.Repeat([]byte{person}, 16), Given: [][]byte{},
	}}
}

func filled(t *testing.T) (*projectiontest.Ledger, *disclosure.Disclosure) {
	t.Helper()
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	for stream, facts := range map[string][]projectiontest.Fact{
		"record-00":       {notified(1, 1), notified(2, 2), notified(1, 5), notified(0, 6)},
		"record-01":       {notified(1, 3), notified(1, 5), notified(255, 7)},
		event.StreamAudit: {disclosed(1, 8), disclosed(2, 9)},
	} {
		if err := l.Append(stream, facts...); err != nil {
			t.Fatal(err)
		}
	}
	d, err := disclosure.Open(&projectiontest.Memory{}, l)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, l, d)
	return l, d
}

func apply(t *testing.T, l *projectiontest.Ledger, d *disclosure.Disclosure) {
	t.Helper()
	c, err := projectiontest.Read(t.Context(), l, projectiontest.Streams...)
	if err == nil {
		err = c.ApplyAll(d)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func key(l *projectiontest.Ledger, person byte) register.Key {
	return l.Index(keyring.IndexRecord, bytes.Repeat([]byte{person}, 16))
}

// places says which events were returned.
func places(t *testing.T, sealed []register.Sealed, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, s := range sealed {
		h, err := ledger.DecodeHeader(s.Header)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf(" %s@%d", h.Stream, h.Revision)
	}
	return text
}

func TestRecordsOfOnePerson(t *testing.T) {
	l, d := filled(t)
	none := time.Time{}
	for name, c := range map[string]struct {
		person   byte
		from, to time.Time
		limit    int
		want     string
	}{
		"all, in the order of recording over all streams": {1, none, none, 10, " record-00@1 record-01@1 record-01@2 record-00@3"},
		"from is inclusive":    {1, at(3), none, 10, " record-01@1 record-01@2 record-00@3"},
		"to is exclusive":      {1, none, at(5), 10, " record-00@1 record-01@1"},
		"from and to":          {1, at(2), at(4), 10, " record-01@1"},
		"the first two":        {1, none, none, 2, " record-00@1 record-01@1"},
		"no more than none":    {1, none, none, 0, ""},
		"another person":       {2, none, none, 10, " record-00@2"},
		"the greatest symbol":  {255, none, none, 10, " record-01@3"},
		"nobody":               {3, none, none, 10, ""},
		"an interval of none":  {1, at(4), at(2), 10, ""},
		"before the beginning": {1, time.Unix(-5, 0), at(2), 10, " record-00@1"},
	} {
		got, err := d.Records(key(l, c.person), c.from, c.to, c.limit)
		if text := places(t, got, err); text != c.want {
			t.Errorf("%s: %s, want%s", name, text, c.want)
		}
	}
}

func TestRecordsStaySealed(t *testing.T) {
	l, d := filled(t)
	got, err := d.Records(key(l, 2), time.Time{}, time.Time{}, 1)
	if err != nil || len(got) != 1 {
		t.Fatal(len(got), err)
	}
	h, err := ledger.DecodeHeader(got[0].Header)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := l.Open(t.Context(), h, got[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := event.Decode[event.InquiryNotified](plain); err != nil || e.Record.ProcessingNumber[1] != 2 {
		t.Errorf("opened to another record, %v", err)
	}
}

func TestDisclosuresAreFoundToo(t *testing.T) {
	l, d := filled(t)
	got, err := d.Disclosures(key(l, 1), time.Time{}, time.Time{}, 10)
	if text := places(t, got, err); text != " audit@1" {
		t.Errorf("disclosures:%s", text)
	}
	ref, found, err := d.Command(uuid.UUID{2, 9})
	if err != nil || !found || ref.Stream != event.StreamAudit || ref.Revision != 2 {
		t.Errorf("command: %+v, %v, %v", ref, found, err)
	}
}

// TestDestroyedDay: rebuilt after a day is destroyed, its records are not there, and the others are.
func TestDestroyedDay(t *testing.T) {
	l, d := filled(t)
	l.Destroy("hour/3")
	if err := d.Reset(); err != nil {
		t.Fatal(err)
	}
	apply(t, l, d)
	got, err := d.Records(key(l, 1), time.Time{}, time.Time{}, 10)
	if text := places(t, got, err); text != " record-00@1 record-01@2 record-00@3" {
		t.Errorf("left:%s", text)
	}
}
