package embedded_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

const (
	benchBatch   = 256 // events an append
	benchPayload = 900 // bytes an event
)

func benchEvents() []esdb.EventData {
	es := make([]esdb.EventData, benchBatch)
	data := make([]byte, benchPayload)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for i := range es {
		es[i] = esdb.EventData{EventID: uuid.New(), EventType: "measured", Data: data}
	}
	return es
}

// BenchmarkAppend: durable events through the client, over TLS, each writer on a stream
// and a connection of its own. One operation is one append of 256 events of 900 bytes.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 4} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			connectionString, srv := embeddedtest.Start(b)
			b.SetBytes(benchBatch * benchPayload)
			appendBatches(b, connectionString, writers, b.N)
			b.ReportMetric(float64(b.N)*benchBatch/b.Elapsed().Seconds(), "events/s")
			m := srv.Metrics()
			b.ReportMetric(float64(m.Appends)/float64(max(1, m.Syncs)), "appends/sync")
		})
	}
}

func appendBatches(b *testing.B, connectionString string, writers, n int) {
	clients := make([]*esdb.Client, writers)
	for i := range clients {
		clients[i] = connect(b, connectionString)
		if _, err := clients[i].AppendToStream(context.Background(), "warm", esdb.AppendToStreamOptions{}, benchEvents()...); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	var done sync.WaitGroup
	for i, c := range clients {
		done.Go(func() {
			var expected esdb.ExpectedRevision = esdb.NoStream{}
			for range n/writers + 1 {
				w, err := c.AppendToStream(context.Background(), fmt.Sprintf("measured-%d", i), esdb.AppendToStreamOptions{ExpectedRevision: expected}, benchEvents()...)
				if err != nil {
					b.Error(err)
					return
				}
				expected = esdb.Revision(w.NextExpectedVersion)
			}
		})
	}
	done.Wait()
	b.StopTimer()
}

// BenchmarkRead: the bare read rate of the client. One operation is one event.
func BenchmarkRead(b *testing.B) {
	for _, readers := range []int{1, 4} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			connectionString, _ := embeddedtest.Start(b)
			each := b.N/readers + 1
			appendBatches(b, connectionString, readers, (each/benchBatch+1)*readers)
			b.SetBytes(benchPayload)
			b.ResetTimer()
			b.StartTimer()
			var done sync.WaitGroup
			for i := range readers {
				done.Go(func() {
					c := connect(b, connectionString)
					r, err := c.ReadStream(context.Background(), fmt.Sprintf("measured-%d", i), esdb.ReadStreamOptions{}, uint64(each))
					if err != nil {
						b.Error(err)
						return
					}
					defer r.Close()
					for err == nil {
						_, err = r.Recv()
					}
					if err != io.EOF {
						b.Error(err)
					}
				})
			}
			done.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
