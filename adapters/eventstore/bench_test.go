package eventstore_test

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/domain/ledger"
)

// The benchmarks compare this package with the bare client on the same server in
// the same run: 256 events of 900 bytes an append, as the sequencer makes them.
const (
	benchBatch = 256
	benchSize  = 900
)

func benchEvents(stream string, next uint64) []ledger.Event {
	batch := make([]ledger.Event, benchBatch)
	for i := range batch {
		batch[i] = ledger.Event{Stream: stream, Revision: next + uint64(i), ID: uuid.New(), Type: "benchmark",
			Data: make([]byte, benchSize-300), Metadata: make([]byte, 300)}
	}
	return batch
}

func bare(b testing.TB, connection string) *esdb.Client {
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
	b.Cleanup(func() { _ = client.Close() })
	return client
}

func report(b *testing.B, events uint64) {
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkAppend(b *testing.B) {
	connection, _ := embeddedtest.Start(b)
	b.Run("bare", func(b *testing.B) {
		client := bare(b, connection)
		stream := "bare-" + uuid.NewString()
		for b.Loop() {
			var data []esdb.EventData
			for _, e := range benchEvents(stream, 0) {
				data = append(data, esdb.EventData{EventID: e.ID, EventType: e.Type, Data: e.Data, Metadata: e.Metadata})
			}
			if _, err := client.AppendToStream(context.Background(), stream, esdb.AppendToStreamOptions{}, data...); err != nil {
				b.Fatal(err)
			}
		}
		report(b, uint64(b.N)*benchBatch)
	})
	b.Run("store", func(b *testing.B) {
		store := open(b, connection, nil)
		stream := "store-" + uuid.NewString()
		var next uint64
		for b.Loop() {
			if err := store.Append(context.Background(), stream, next, benchEvents(stream, next)); err != nil {
				b.Fatal(err)
			}
			next += benchBatch
		}
		report(b, uint64(b.N)*benchBatch)
	})
}

func BenchmarkRead(b *testing.B) {
	const stored = 400 * benchBatch
	connection, _ := embeddedtest.Start(b)
	store := open(b, connection, nil)
	for next := uint64(0); next < stored; next += benchBatch {
		mustAppend(b, store, benchEvents("s", next))
	}
	b.Run("bare", func(b *testing.B) {
		client := bare(b, connection)
		for b.Loop() {
			n := 0
			reader, err := client.ReadStream(context.Background(), "s", esdb.ReadStreamOptions{From: esdb.Start{}}, math.MaxInt64)
			if err != nil {
				b.Fatal(err)
			}
			for ; ; n++ {
				if _, err = reader.Recv(); err != nil {
					break
				}
			}
			reader.Close()
			if !errors.Is(err, io.EOF) || n != stored {
				b.Fatal(n, err)
			}
		}
		report(b, uint64(b.N)*stored)
	})
	b.Run("iterate", func(b *testing.B) {
		for b.Loop() {
			n := 0
			err := store.Iterate(context.Background(), "s", 0, func(batch []ledger.Event) error {
				n += len(batch)
				return nil
			})
			if err != nil || n != stored {
				b.Fatal(n, err)
			}
		}
		report(b, uint64(b.N)*stored)
	})
	b.Run("subscribe", func(b *testing.B) {
		var batches, n int
		for b.Loop() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			n = 0
			err := store.Subscribe(ctx, "s", 0, func(_ context.Context, batch []ledger.Event) error {
				n += len(batch)
				batches++
				return nil
			}, cancel)
			if !errors.Is(err, context.Canceled) || n != stored {
				b.Fatal(n, err)
			}
			cancel()
		}
		report(b, uint64(b.N)*stored)
		b.ReportMetric(float64(b.N)*stored/float64(batches), "events/batch")
	})
}
