package disclosure_test

import (
	"cmp"
	"encoding/binary"
	"flag"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"kiroku/adapters/views"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/projections"
	"kiroku/projections/disclosure"
	"kiroku/projections/projectiontest"
)

var records = flag.Int("records", 200_000, "records that BenchmarkRecords puts into the view")

const (
	recordsPerPerson = 20
	sealedSize       = 1040 // octets of data, those of a usual record; its header has 300
	asked            = 2000 // persons about whom is asked

	kept = 7 * 365 * 24 * time.Hour // over which the records lie
)

// crowd is a view full of records as the runner would have applied them: of made-up events, since neither seals nor
// signatures matter to it.
type crowd struct {
	dir   string
	index projections.Indexer
	view  *views.DB
	apart time.Duration // of two records
	size  int           // of a record, 0: sealedSize
	*disclosure.Disclosure
}

func symbolOf(person uint64) []byte {
	id := uuid.NewSHA1(uuid.Nil, binary.BigEndian.AppendUint64(nil, person))
	return id[:]
}

func (c *crowd) open(b testing.TB) {
	b.Helper()
	var err error
	if c.view, err = views.Open(c.dir, views.Options{Ledger: "benchmark", Logger: slog.New(slog.DiscardHandler)}); err != nil {
		b.Fatal(err)
	}
	if c.Disclosure, err = disclosure.Open(c.view, c.index); err != nil {
		b.Fatal(err)
	}
}

func (c *crowd) fill(b testing.TB, n int) {
	b.Helper()
	const batch = 1000
	random := rand.NewChaCha8([32]byte{})
	choose := rand.New(random)
	c.apart = kept / time.Duration(n)
	opened := make([]projections.Opened, batch)
	for from := 0; from < n; from += batch {
		for i := range opened {
			opened[i] = c.record(b, uint64(from+i), symbolOf(choose.Uint64N(uint64(n/recordsPerPerson))), random)
		}
		if err := c.Apply(event.RecordStream(0), opened, projections.Checkpoint{Next: uint64(from + batch)}); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.view.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func (c *crowd) record(b testing.TB, revision uint64, symbol []byte, random *rand.ChaCha8) projections.Opened {
	at := begin.Add(time.Duration(revision) * c.apart)
	payload, err := event.Encode(event.InquiryLapsed{Record: event.Record{Symbol: symbol}, At: at.UnixMicro()})
	if err != nil {
		b.Fatal(err)
	}
	sealed := make([]byte, 300+cmp.Or(c.size, sealedSize))
	_, _ = random.Read(sealed)
	e := ledger.Event{Stream: event.RecordStream(0), Revision: revision, Type: event.TypeInquiryLapsed, Data: sealed[300:]}
	return projections.Opened{Event: e, Header: ledger.Header{Stream: e.Stream, Revision: revision, Type: e.Type, Time: at, KeyID: ledger.DataKeyID(calendar.DayOf(at).String(), e.Stream, 0)}, HeaderBytes: sealed[:300], Payload: payload}
}

// End applies that the key of a day was destroyed.
func (c *crowd) End(day calendar.Day) error {
	at, err := c.Checkpoint(event.StreamRegistry)
	if err != nil {
		return err
	}
	payload, err := event.Encode(event.DayKeyDestroyed{Day: day.String()})
	if err != nil {
		return err
	}
	e := ledger.Event{Stream: event.StreamRegistry, Revision: at.Next, Type: event.TypeDayKeyDestroyed, Data: payload}
	o := projections.Opened{Event: e, Header: ledger.Header{Stream: e.Stream, Revision: e.Revision, Type: e.Type}, Payload: payload}
	return c.Apply(e.Stream, []projections.Opened{o}, projections.Checkpoint{Next: at.Next + 1})
}

// evict asks the operating system to forget what it holds of the files.
func (c *crowd) evict(b *testing.B) {
	b.Helper()
	err := filepath.WalkDir(c.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
	if err != nil {
		b.Fatal(err)
	}
}

// ask times the records of persons, those from a number on, and reports the middle and the slowest of a hundred.
func (c *crowd) ask(b *testing.B, person func(i int) uint64) {
	took := make([]time.Duration, 0, b.N)
	found := 0
	for i := 0; b.Loop(); i++ {
		key := c.index.Index(keyring.IndexRecord, symbolOf(person(i)))
		began := time.Now()
		all, err := c.Records(key, time.Time{}, time.Time{}, 1000)
		took = append(took, time.Since(began))
		if err != nil {
			b.Fatal(err)
		}
		found += len(all)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(found)/float64(len(took)), "records/person")
}

// BenchmarkRecords is how long the records of one person take to be found among all: cold, with a new process's empty
// cache and files that the operating system must read from the disk, each person once; and warm, asked before.
func BenchmarkRecords(b *testing.B) {
	l, err := projectiontest.New()
	if err != nil {
		b.Fatal(err)
	}
	c := &crowd{dir: b.TempDir(), index: l}
	c.open(b)
	began := time.Now()
	c.fill(b, *records)
	took := time.Since(began)
	b.Logf("%d records of %d persons at %.0f/s, %d MB on disk", *records, *records/recordsPerPerson,
		float64(*records)/took.Seconds(), c.view.Usage().DiskBytes>>20)
	if err := c.view.Close(); err != nil {
		b.Fatal(err)
	}
	c.evict(b)
	c.open(b)
	defer func() { _ = c.view.Close() }()
	people := uint64(*records / recordsPerPerson)
	stride := max(1, people/asked)
	b.Run("cold", func(b *testing.B) {
		c.ask(b, func(i int) uint64 { return (uint64(i)*stride + uint64(i)/asked) % people })
	})
	for i := range uint64(asked) {
		if _, err := c.Records(c.index.Index(keyring.IndexRecord, symbolOf(i*stride)), time.Time{}, time.Time{}, 1000); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("warm", func(b *testing.B) {
		c.ask(b, func(i int) uint64 { return uint64(i) % asked * stride })
	})
}

// BenchmarkEndDay is how long the rows of the first day, one of 2,555 alike, take to go: to be dropped, and to leave the files.
func BenchmarkEndDay(b *testing.B) {
	l, err := projectiontest.New()
	if err != nil {
		b.Fatal(err)
	}
	c := &crowd{dir: b.TempDir(), index: l}
	c.open(b)
	c.fill(b, *records)
	defer func() { _ = c.view.Close() }()
	day := calendar.DayOf(begin)
	var dropped, compacted time.Duration
	for b.Loop() {
		began := time.Now()
		if err := c.End(day); err != nil {
			b.Fatal(err)
		}
		dropped += time.Since(began)
		if err := c.Compact(b.Context()); err != nil {
			b.Fatal(err)
		}
		compacted += time.Since(began)
		day = day.AddDays(1)
	}
	compacted -= dropped
	b.ReportMetric(float64(*records)*float64(24*time.Hour)/float64(kept), "rows/day")
	b.ReportMetric(dropped.Seconds()/float64(b.N), "s/drop")
	b.ReportMetric(compacted.Seconds()/float64(b.N), "s/compaction")
}
