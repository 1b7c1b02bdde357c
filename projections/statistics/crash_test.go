package statistics_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kiroku/adapters/clickhouse"
	"kiroku/adapters/clickhouse/clickhousetest"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
	"kiroku/projections/statistics"
)

// The ledger of the crash test: how many events each stream has, 100,000 in all.
var lengths = map[string]int{
	event.StreamRegistry: 1000, event.StreamIssuance: 19_000,
	event.RecordStream(0): 20_000, event.RecordStream(1): 20_000, event.RecordStream(2): 20_000, event.RecordStream(3): 20_000,
}

// eventAt makes an event of that ledger, opened, always the same one.
func eventAt(stream string, revision int) projections.Opened {
	random := rand.New(rand.NewPCG(uint64(len(stream))+uint64(stream[len(stream)-1]), uint64(revision)))
	// A week of events, in order but for an hour or so around midnight.
	at := projectiontest.Begin.Add(time.Duration(revision)*7*24*time.Hour/20_000 + time.Duration(random.IntN(3600))*time.Second)
	o := projections.Opened{
		Event:       ledger.Event{Stream: stream, Revision: uint64(revision)},
		Header:      ledger.Header{Stream: stream, Revision: uint64(revision), Time: at},
		HeaderBytes: fmt.Appendf(nil, "%s@%d", stream, revision),
	}
	agency := func() string { return fmt.Sprintf("A-%03d", random.IntN(20)) }
	record := event.Record{Inquirer: agency(), Department: "課", Provider: agency(), Affair: fmt.Sprint("事務", random.IntN(5)), Procedure: "手続",
		Information: fmt.Sprint("情報", random.IntN(5)), Rule: fmt.Sprint("r-", random.IntN(9)), RequestedAt: at.Add(-time.Duration(random.IntN(7200)) * time.Second).UnixMicro()}
	issuance := event.Issuance{Agency: agency(), Scheme: 1, At: at.UnixMicro()}
	var payload any
	switch choice := random.IntN(8); {
	case stream == event.StreamRegistry:
		o.Event.Type, payload = event.TypeAgencyRegistered, event.AgencyRegistered{Code: agency(), Name: fmt.Sprint("見本 ", revision), Classes: []string{"市町村長"}, Parameter: make([]byte, 16)}
	case stream == event.StreamIssuance && choice > 1:
		o.Event.Type, payload = event.TypeSymbolIssued, event.SymbolIssued{Issuance: issuance}
	case stream == event.StreamIssuance:
		o.Event.Type, payload = event.TypeSymbolAlreadyAcquired, event.SymbolAlreadyAcquired{Issuance: issuance}
	case choice < 2:
		o.Event.Type, payload = event.TypeInquiryNotified, event.InquiryNotified{Record: record}
	case choice == 2:
		o.Event.Type, payload = event.TypeInquiryRefused, event.InquiryRefused{Record: record, Reason: inquiry.OutOfScope.Code()}
	case choice == 3:
		o.Event.Type, payload = event.TypeInquiryLapsed, event.InquiryLapsed{Record: record, At: at.UnixMicro()}
	default:
		o.Event.Type, payload = event.TypeProvisionReported, event.ProvisionReported{Record: record, Answer: inquiry.Provided.String(), At: at.UnixMicro()}
	}
	o.Payload, _ = event.Encode(payload) // these payloads have no value that cannot be encoded
	return o
}

// fill gives a projection the whole ledger, and what failed again. applied is told how far each stream has come.
func fill(ctx context.Context, p projections.Projection, batch int, twice func() bool, applied func(stream string, next int)) {
	var streams sync.WaitGroup
	for stream, length := range lengths {
		streams.Go(func() {
			for ctx.Err() == nil && !fillStream(p, stream, length, batch, twice, applied) {
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	streams.Wait()
}

// fillStream reports whether the projection has all of a stream.
func fillStream(p projections.Projection, stream string, length, batch int, twice func() bool, applied func(string, int)) bool {
	at, err := p.Checkpoint(stream)
	applied(stream, int(at.Next))
	for from := int(at.Next); err == nil && from < length; from += batch {
		var events []projections.Opened
		for revision := from; revision < min(from+batch, length); revision++ {
			events = append(events, eventAt(stream, revision))
		}
		last := events[len(events)-1]
		to := projections.Checkpoint{Next: last.Event.Revision + 1, Leaf: ledger.LeafHash(last.HeaderBytes)}
		err = p.Apply(stream, events, to)
		for again := 0; err != nil && again < 2 || err == nil && again == 0 && twice(); again++ {
			err = p.Apply(stream, events, to)
		}
		applied(stream, int(to.Next))
	}
	return err == nil && int(at.Next) >= length
}

// The variables by which the test program is told to fill a database as a process of its own.
const (
	addressVariable  = "KIROKU_TEST_STATISTICS_ADDRESS"
	databaseVariable = "KIROKU_TEST_STATISTICS_DATABASE"
	seedVariable     = "KIROKU_TEST_STATISTICS_SEED"
	resetVariable    = "KIROKU_TEST_STATISTICS_RESET" // set: empty it first
)

func TestMain(m *testing.M) {
	if address := os.Getenv(addressVariable); address != "" {
		os.Exit(write(address))
	}
	clickhousetest.Main(m)
}

// write fills a database to the end, over a store that loses one call in twenty and the answer to another, and prints
// how many events it has read.
func write(address string) int {
	seed, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	db, err := clickhouse.Open(clickhouse.Config{Locate: clickhousetest.At(address), Database: os.Getenv(databaseVariable)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Told to stop it does as the core: it lets go of what is under way, and closes.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	defer db.Close()
	store := &unreliable{Store: db, random: rand.New(rand.NewPCG(seed, 1)), one: 20}
	var mu sync.Mutex // guards read
	read := map[string]int{}
	applied := func(stream string, next int) {
		mu.Lock()
		defer mu.Unlock()
		read[stream] = next
		sum := 0
		for _, n := range read {
			sum += n
		}
		fmt.Println(sum)
	}
	p := statistics.Open(ctx, store, quick(2000+store.intN(2000)))
	for os.Getenv(resetVariable) != "" && ctx.Err() == nil && p.Reset() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	fill(ctx, p, 500+store.intN(1500), func() bool { return store.intN(10) == 0 }, applied)
	if ctx.Err() != nil {
		return 2
	}
	return 0
}

// writer is that process.
type writer struct {
	child *exec.Cmd
	read  atomic.Int64  // events
	ended chan struct{} // closed when it has printed its last
}

func startWriter(t *testing.T, engine *clickhousetest.Engine, database string, seed uint64, more ...string) *writer {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	location, err := engine.Writer()
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{child: exec.Command(self), ended: make(chan struct{})}
	w.child.Env = append(os.Environ(), addressVariable+"="+location.Addresses[0], databaseVariable+"="+database, fmt.Sprintf("%s=%d", seedVariable, seed))
	w.child.Env = append(w.child.Env, more...)
	w.child.Stderr = os.Stderr
	output, err := w.child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.child.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.ended)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if n, err := strconv.ParseInt(lines.Text(), 10, 64); err == nil {
				w.read.Store(n)
			}
		}
	}()
	t.Cleanup(w.kill)
	return w
}

// kill ends the process without a warning, if it runs.
func (w *writer) kill() {
	_ = w.child.Process.Kill()
	<-w.ended
	_ = w.child.Wait()
}

// stop tells the process to end, and waits until it does.
func (w *writer) stop() {
	_ = w.child.Process.Signal(syscall.SIGTERM)
	<-w.ended
	_ = w.child.Wait()
}

// await waits until so many events were read, and reports false if the process ended before.
func (w *writer) await(events int) bool {
	for int(w.read.Load()) < events {
		select {
		case <-w.ended:
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

// TestNothingIsLostOrDoubledWhateverIsKilled fills 100,000 events, and ends twenty times, at random, the engine, the
// process that fills it, or both, without a warning or as they end when they are told to.
func TestNothingIsLostOrDoubledWhateverIsKilled(t *testing.T) {
	engine := clickhousetest.Start(t)
	began, never := time.Now(), func() bool { return false }
	calm := engine.Open(inDatabase("calm"))
	fill(t.Context(), statistics.Open(t.Context(), calm, quick(5000)), 5000, never, func(string, int) {})
	expected := fingerprints(t, calm, "calm")
	t.Logf("undisturbed: %v", time.Since(began))

	seed := cmp.Or(seedOf(os.Getenv(seedVariable)), rand.Uint64N(1<<32))
	t.Logf("%s=%d", seedVariable, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	points := make([]int, 20)
	for i := range points {
		points[i] = random.IntN(90_000)
	}
	slices.Sort(points)
	w := startWriter(t, engine, "killed", seed)
	for i, point := range points {
		if !w.await(point) {
			t.Logf("it was full after %d kills", i)
			break
		}
		time.Sleep(time.Duration(random.IntN(15_000)) * time.Microsecond)
		victim, endEngine, endWriter := random.IntN(3), engine.Kill, w.kill
		if random.IntN(2) > 0 {
			endEngine, endWriter = engine.Stop, w.stop
		}
		if victim > 0 {
			endEngine()
		}
		if victim < 2 {
			endWriter()
			w = startWriter(t, engine, "killed", seed+uint64(i)+1)
		}
		engine.Resume()
	}
	<-w.ended
	if err := w.child.Wait(); err != nil {
		t.Fatalf("the process that fills ended with %v", err)
	}
	killed := engine.Open(inDatabase("killed"))
	t.Logf("killed: %v", time.Since(began))
	alike(t, killed, expected)

	t.Run("stopped while it is built again", func(t *testing.T) {
		for i := range 3 {
			w := startWriter(t, engine, "killed", seed+uint64(i)+100, resetVariable+"=1")
			time.Sleep(time.Duration(100+random.IntN(900)) * time.Millisecond)
			if i > 0 {
				engine.Stop()
			}
			if i < 2 {
				w.stop()
			} else {
				w.kill()
			}
			engine.Resume()
		}
		log := &lines{}
		db := engine.Open(inDatabase("killed"), func(c *clickhouse.Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
		fill(t.Context(), statistics.Open(t.Context(), db, quick(5000)), 5000, never, func(string, int) {})
		if text := log.String(); strings.Contains(text, "have to be rebuilt") {
			t.Errorf("the next start tells: %s", text)
		}
		alike(t, killed, expected)
	})
	t.Run("built again", func(t *testing.T) {
		p := statistics.Open(t.Context(), killed, quick(5000))
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		fill(t.Context(), p, 5000, never, func(string, int) {})
		alike(t, killed, expected)
	})
}

// lines keep what is logged.
type lines struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func seedOf(text string) uint64 {
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// fingerprints are the number of rows of each table, and a hash of them all.
func fingerprints(t *testing.T, d *clickhouse.DB, database string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for name := range summed {
		found[name] = rowsOf(t, d, "SELECT count(), sum(cityHash64(*)) FROM ("+reading(database, name)+")")[0]
	}
	return found
}

// alike fails for each table of the database "killed" that differs from that of "calm".
func alike(t *testing.T, d *clickhouse.DB, expected map[string]string) {
	t.Helper()
	got := fingerprints(t, d, "killed")
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		if got[name] != expected[name] {
			should, is := rowsOf(t, d, reading("calm", name)), rowsOf(t, d, reading("killed", name))
			t.Errorf("%s has %d rows and should have %d:\n%s", name, len(is), len(should), differences(strings.Join(should, "\n"), strings.Join(is, "\n")))
		}
	}
}
