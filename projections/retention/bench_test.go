package retention_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/views"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/projections"
)

// BenchmarkHeaders is what the projection costs for each event that dies with a day, seven years of days being there.
func BenchmarkHeaders(b *testing.B) {
	v, err := views.Open(b.TempDir(), views.Options{Ledger: "test", Logger: slog.New(slog.DiscardHandler)})
	check(b, err)
	defer v.Close()
	r := open(b, v, memory{})
	stream, begin := event.RecordStream(0), calendar.Of(2026, 11, 22)
	next := uint64(0)
	apply := func(day calendar.Day, n int) time.Duration {
		batch := make([]projections.Opened, n)
		for i := range batch {
			h := ledger.Header{Stream: stream, Revision: next, Time: day.Start().Add(time.Hour), ID: uuid.UUID{1}, KeyID: ledger.DataKeyID(day.String(), stream, 1)}
			batch[i] = projections.Opened{Event: ledger.Event{Stream: stream, Revision: next, Type: event.TypeInquiryLapsed}, Header: h, HeaderBytes: []byte{1}}
			next++
		}
		begun := time.Now()
		check(b, r.Apply(stream, batch, projections.Checkpoint{Next: next}))
		return time.Since(begun)
	}
	for i := range 7 * 365 {
		apply(begin.AddDays(i), 1)
	}
	for _, size := range []int{1, 256, 2000} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			var spent time.Duration
			for range b.N {
				spent += apply(begin.AddDays(7*365), size)
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*size), "ns/event")
		})
	}
}
