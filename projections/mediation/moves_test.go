package mediation_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/projections"
	"kiroku/projections/mediation"
	"kiroku/projections/projectiontest"
)

func numbered(i int) uuid.UUID {
	var n uuid.UUID
	binary.BigEndian.PutUint32(n[:], uint32(i+1))
	return n
}

// concluded is a ledger of inquiries that are all made on one day and answered, one after the other, some days later.
func concluded(t *testing.T, n, days int) *projectiontest.Ledger {
	t.Helper()
	l, err := projectiontest.New()
	if err != nil {
		t.Fatal(err)
	}
	facts := func(eventType string, at time.Time, payload func(event.Record) any) (all []projectiontest.Fact) {
		for i := range n {
			id := numbered(i)
			r := event.Record{ProcessingNumber: id[:], Provider: "P", Items: []string{}, RequestedAt: begin.UnixMicro(), ValidUntil: begin.AddDate(1, 0, 0).UnixMicro()}
			all = append(all, projectiontest.Fact{Type: eventType, Time: at, Key: projectiontest.DayKey(calendar.DayOf(at), "record-00"), Payload: payload(r)})
		}
		return all
	}
	made := facts(event.TypeInquiryNotified, begin, func(r event.Record) any { return event.InquiryNotified{Record: r} })
	answered := facts(event.TypeProvisionReported, begin.AddDate(0, 0, days), func(r event.Record) any {
		return event.ProvisionReported{Record: r, Answer: inquiry.Provided.String()}
	})
	for _, f := range [][]projectiontest.Fact{made, answered} {
		if err := l.Append("record-00", f...); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// TestAStandingIsFoundWhileItMoves: whoever asks about an inquiry while it is being answered is told how it stood before or
// how it stands now, never that there is none; whether the answer comes on the same day, in the same span of days or later.
func TestAStandingIsFoundWhileItMoves(t *testing.T) {
	const n = 150
	for _, days := range []int{0, 1, 40, 400} {
		l := concluded(t, n, days)
		c, err := projectiontest.Read(t.Context(), l, "record-00")
		if err != nil {
			t.Fatal(err)
		}
		m, err := mediation.Open(&projectiontest.Memory{})
		if err != nil {
			t.Fatal(err)
		}
		all := len(c["record-00"])
		if err := c.Apply(m, "record-00", 0, all-n); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			var err error
			for i := all - n; i < all && err == nil; i++ {
				err = c.Apply(m, "record-00", i, 1)
			}
			done <- err
		}()
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			default:
			}
			for i := range n {
				s, found, err := m.Standing(numbered(i))
				if err != nil || !found || s.State != "notified" && s.State != "provided" {
					t.Fatalf("after %d days: inquiry %d is %q, %v, %v", days, i, s.State, found, err)
				}
			}
		}
		open, err := m.OpenFor(t.Context(), "P", n)
		if err != nil || len(open) > 0 {
			t.Errorf("after %d days: %d are open, %v", days, len(open), err)
		}
		if _, found, err := m.Standing(numbered(n)); found || err != nil {
			t.Errorf("after %d days: one that was never made is there, %v", days, err)
		}
		rows := 0
		err = m.Rows().Each(func(key, _ []byte) bool {
			if key[0] >= byte(projections.FirstTable) {
				rows++
			}
			return true
		})
		if err != nil || rows != 2*n { // the standing, and where it is
			t.Errorf("after %d days: %d rows for %d inquiries, %v", days, rows, n, err)
		}
	}
}
