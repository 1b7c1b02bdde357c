package retention_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
	"kiroku/projections/retention"
)

// FuzzKeyOfADay: whatever a key id says, the event is noted on the day that stands in it, or refused; never on another.
func FuzzKeyOfADay(f *testing.F) {
	for _, id := range []string{"", "record/2026-11-22/audit/1", "record/2026-11-22", "record/2026-02-30/audit/1", "record//audit/1", "subject/1/x", "record/2024-02-29/audit/1", "record/0000-00-00/"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		r, err := retention.Open(&projectiontest.Memory{}, func(calendar.Day) { t.Error("keys were dropped") })
		check(t, err)
		o := projections.Opened{
			Event:  ledger.Event{Stream: event.StreamAudit, Revision: 3, Type: event.TypeOperationRecorded},
			Header: ledger.Header{Stream: event.StreamAudit, Revision: 3, ID: uuid.UUID{1}, Time: projectiontest.Begin, KeyID: id}, HeaderBytes: []byte{1},
		}
		err = r.Apply(event.StreamAudit, []projections.Opened{o}, projections.Checkpoint{Next: 4})
		days := r.Snapshot().Days()
		switch {
		case errors.Is(err, event.ErrMalformed) || id == "":
			if len(days) > 0 {
				t.Fatalf("refused, and noted on %v", days)
			}
		case err != nil:
			t.Fatal(err)
		case len(days) != 1 || days[0].Events() != 1 || days[0].Streams[0].First != 3:
			t.Fatalf("%q was noted as %+v", id, days)
		default:
			if want := "record/" + days[0].Day.String(); len(id) < len(want) || id[:len(want)] != want {
				t.Fatalf("%q was noted on %s", id, days[0].Day)
			}
		}
	})
}
