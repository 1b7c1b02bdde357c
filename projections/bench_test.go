package projections_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/adapters/views"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/projections"
	"kiroku/projections/dedup"
	"kiroku/projections/disclosure"
	"kiroku/projections/mediation"
	"kiroku/projections/projectiontest"
)

const (
	benchEvents = 200 * benchBatch
	benchBatch  = 256
	benchKey    = "record/2026-11-22/record-00/1" // of one day
)

// benchLedger holds inquiries, each notified and answered, and issuances.
func benchLedger(b *testing.B) *projectiontest.Ledger {
	b.Helper()
	l, err := projectiontest.New()
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < benchEvents; i += benchBatch {
		var asked, issued []projectiontest.Fact
		for j := i; j < i+benchBatch; j += 2 {
			asked = append(asked, benchInquiry(j)...)
			issued = append(issued, benchIssuance(j, 0), benchIssuance(j, 1))
		}
		if err := errors.Join(l.Append(stream, asked...), l.Append(event.StreamIssuance, issued...)); err != nil {
			b.Fatal(err)
		}
	}
	return l
}

func benchFact(kind string, i int, key string, payload func(event.Command) any) projectiontest.Fact {
	c := event.Command{ID: uuid.NewSHA1(uuid.Nil, fmt.Append(nil, kind, i)), Actor: event.Actor{Identity: "gateway-13101", Role: "gateway", Agency: "13101"}, Digest: make([]byte, 16)}
	return projectiontest.Fact{Type: kind, ID: event.IDOf(c.ID, 0), Time: start.Add(time.Duration(i) * time.Millisecond), Key: key, Payload: payload(c)}
}

func octets(kind string, i int, n int) []byte {
	b := []byte{}
	for len(b) < n {
		id := uuid.NewSHA1(uuid.Nil, fmt.Append(b, kind, i))
		b = append(b, id[:]...)
	}
	return b[:n]
}

func benchInquiry(i int) []projectiontest.Fact {
	number := inquiry.NewProcessingNumber(uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)))
	r := event.Record{
		Symbol: octets("record", i/20, 16), Subject: octets("subject", i/20, 16), ProcessingNumber: number[:],
		Affair: "児童手当法による児童手当又は特例給付の支給に関する事務", Procedure: "認定請求の審査", Inquirer: "13101", InquirerName: "千代田区",
		Department: "子ども部子育て推進課", Provider: "27100", ProviderName: "大阪市", RequestedAt: start.UnixMicro(),
		Information: "地方税関係情報", Items: []string{"合計所得金額", "扶養親族の数", "控除の額"}, RuleSet: make([]byte, 32), Rule: "2024-9-2-112",
		ValidUntil: start.Add(72 * time.Hour).UnixMicro(),
	}
	return []projectiontest.Fact{
		benchFact(event.TypeInquiryNotified, i, benchKey, func(c event.Command) any { return event.InquiryNotified{Command: c, Record: r} }),
		benchFact(event.TypeProvisionReported, i, benchKey, func(c event.Command) any {
			return event.ProvisionReported{Command: c, Record: r, Answer: inquiry.Provided.String()}
		}),
	}
}

func benchIssuance(i, agency int) projectiontest.Fact {
	return benchFact(event.TypeSymbolIssued, 2*i+agency, "subject/x", func(c event.Command) any {
		return event.SymbolIssued{Command: c, NewPerson: agency == 0,
			Subject:  event.Subject{ID: octets("subject", i, 16), Linkage: octets("linkage", i, 16), Management: octets("management", i, 32), Salt: octets("salt", i, 16)},
			Issuance: event.Issuance{Agency: fmt.Sprint("1310", agency), Parameter: make([]byte, 16), Scheme: 1}}
	})
}

func benchView(b *testing.B) *views.DB {
	b.Helper()
	v, err := views.Open(b.TempDir(), views.Options{Ledger: "benchmark", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// replay follows the streams from nothing into fresh views until all is applied.
func replay(b *testing.B, l *projectiontest.Ledger, source projections.Source, streams ...string) {
	b.Helper()
	view := benchView(b)
	d, err1 := dedup.Open(view, l)
	m, err2 := mediation.Open(view)
	s, err3 := disclosure.Open(view, l)
	r, err4 := projections.New(projections.Config{Source: source, Opener: l, Trust: l, Streams: streams, Projections: []projections.Projection{d, m, s}})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	for _, p := range []projections.Projection{d, m, s} {
		for _, name := range streams {
			if p.Wants(name) {
				if err := r.WaitFor(ctx, p.Name(), name, benchEvents+1); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	cancel()
	<-done
	b.StopTimer()
	if err := view.Close(); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}

// rate measures a loop of the benchmark. The processor time is told beside the rate, because on a machine that others
// use too it is the steadier of the two; the embedded store, which runs in the same process, is in it.
type rate struct{ began time.Duration }

func beginRate(b *testing.B) rate { return rate{processorTime(b)} }

func (r rate) report(b *testing.B, streams int) {
	events := float64(b.N * benchEvents * streams)
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64((processorTime(b)-r.began).Microseconds())/events, "cpu-µs/event")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkReplay is a rebuild of the views: from memory, and from the embedded
// store beside the bare client's read of the same events.
func BenchmarkReplay(b *testing.B) {
	l := benchLedger(b)
	kinds := map[string]string{"records": stream, "issuance": event.StreamIssuance}
	for name, s := range kinds {
		b.Run("memory/"+name, func(b *testing.B) {
			r := beginRate(b)
			for b.Loop() {
				replay(b, l, l, s)
			}
			r.report(b, 1)
		})
	}
	connection, _ := embeddedtest.Start(b)
	store, err := eventstore.Open(eventstore.Config{ConnectionString: connection})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	for _, s := range kinds {
		benchFill(b, store, l.Events(s))
	}
	for name, s := range kinds {
		b.Run("bare read/"+name, func(b *testing.B) {
			r := beginRate(b)
			for b.Loop() {
				bareRead(b, connection, s)
			}
			r.report(b, 1)
		})
		b.Run("store/"+name, func(b *testing.B) {
			r := beginRate(b)
			for b.Loop() {
				replay(b, l, store, s)
			}
			r.report(b, 1)
		})
	}
	b.Run("store/both", func(b *testing.B) {
		r := beginRate(b)
		for b.Loop() {
			replay(b, l, store, stream, event.StreamIssuance)
		}
		r.report(b, 2)
	})
}

func benchFill(b *testing.B, store *eventstore.Store, events []ledger.Event) {
	b.Helper()
	for len(events) > 0 {
		n := min(len(events), benchBatch)
		if err := store.Append(b.Context(), events[0].Stream, events[0].Revision, events[:n]); err != nil {
			b.Fatal(err)
		}
		events = events[n:]
	}
}

func bareRead(b *testing.B, connection, stream string) {
	b.Helper()
	conf, err := esdb.ParseConnectionString(connection)
	if err != nil {
		b.Fatal(err)
	}
	conf.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(conf)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	reader, err := client.ReadStream(b.Context(), stream, esdb.ReadStreamOptions{From: esdb.Start{}}, math.MaxInt64)
	if err != nil {
		b.Fatal(err)
	}
	defer reader.Close()
	n := 0
	for ; err == nil; n++ {
		_, err = reader.Recv()
	}
	if !errors.Is(err, io.EOF) || n != benchEvents+2 {
		b.Fatal(n, err)
	}
}
