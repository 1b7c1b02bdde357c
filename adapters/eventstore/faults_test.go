package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/adapters/eventstore/storetest"
	"kiroku/domain/ledger"
)

// eventually fails the test if cond stays false for far longer than it takes.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// behindProxy starts a server and returns a Store that reaches it through a
// proxy and one that reaches it directly.
func behindProxy(t testing.TB, change func(*eventstore.Config)) (through, direct *eventstore.Store, proxy *storetest.Proxy) {
	t.Helper()
	connection, srv := embeddedtest.Start(t)
	proxy = storetest.NewProxy(t, srv.Addr())
	return open(t, proxy.Through(t, connection), change), open(t, connection, nil), proxy
}

func impatient(config *eventstore.Config) {
	config.AppendTimeout = 300 * time.Millisecond
	config.Patience = 300 * time.Millisecond
}

func TestAnAppendWhoseAnswerIsLostHasAnUnknownOutcome(t *testing.T) {
	tests := []struct {
		name  string
		fault func(*storetest.Proxy, context.CancelFunc)
	}{
		{"the connection breaks", func(p *storetest.Proxy, _ context.CancelFunc) { p.Cut() }},
		{"the time-out passes", func(*storetest.Proxy, context.CancelFunc) {}},
		{"the caller gives up", func(_ *storetest.Proxy, cancel context.CancelFunc) { cancel() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store, direct, proxy := behindProxy(t, func(c *eventstore.Config) { c.AppendTimeout = time.Second })
			mustAppend(t, store, events("s", 0, 1, "a"))
			batch := events("s", 1, 3, "a")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			proxy.HoldResponses()
			answer := make(chan error, 1)
			go func() { answer <- store.Append(ctx, "s", 1, batch) }()
			eventually(t, "the append lands", func() bool {
				last, _, err := direct.ReadLast(t.Context(), "s")
				return err == nil && last.Revision == 3
			})
			test.fault(proxy, cancel)
			if err := <-answer; !errors.Is(err, eventstore.ErrOutcomeUnknown) {
				t.Fatalf("got %v, want ErrOutcomeUnknown", err)
			}
			proxy.Release()
			resend(t, store, batch)
			if stored, err := store.Stored(t.Context(), batch); err != nil || !stored {
				t.Fatal(stored, err)
			}
			same(t, readAll(t, direct, "s"), events("s", 0, 4, "a"))
			if n := store.Stats().OutcomesUnknown; n == 0 {
				t.Error("the statistics show no unknown outcome")
			}
		})
	}
}

// resend repeats an append until its outcome is known, as the sequencer does.
func resend(t testing.TB, store *eventstore.Store, batch []ledger.Event) {
	t.Helper()
	eventually(t, "the repeated append succeeds", func() bool {
		err := store.Append(t.Context(), batch[0].Stream, batch[0].Revision, batch)
		if err != nil && !errors.Is(err, eventstore.ErrOutcomeUnknown) && !errors.Is(err, eventstore.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func TestAnAppendMayLandAfterItWasGivenUp(t *testing.T) {
	store, direct, proxy := behindProxy(t, nil)
	mustAppend(t, store, events("s", 0, 1, "a"))
	late := events("s", 1, 2, "late")
	late[0].Data = make([]byte, 10_000)
	proxy.HoldRequests()
	answer := make(chan error, 1)
	go func() { answer <- store.Append(t.Context(), "s", 1, late) }()
	held := 0
	eventually(t, "the append is under way", func() bool {
		before := held
		held = proxy.Held()
		time.Sleep(50 * time.Millisecond)
		return held > 10_000 && held == before
	})
	proxy.Cut()
	if err := <-answer; !errors.Is(err, eventstore.ErrOutcomeUnknown) {
		t.Fatalf("got %v, want ErrOutcomeUnknown", err)
	}
	same(t, readAll(t, direct, "s"), events("s", 0, 1, "a")) // it has not landed, but who could know?
	proxy.Release()
	eventually(t, "the append lands late", func() bool {
		last, _, err := direct.ReadLast(t.Context(), "s")
		return err == nil && last.Revision == 2
	})
	resend(t, store, late)
	if stored, err := store.Stored(t.Context(), late); err != nil || !stored {
		t.Fatal(stored, err)
	}
}

func TestAnAppendThatCannotBeSentSaysSo(t *testing.T) {
	store, direct, proxy := behindProxy(t, impatient)
	proxy.Refuse(true)
	for range 3 {
		if err := store.Append(t.Context(), "s", 0, events("s", 0, 1, "a")); !errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, eventstore.ErrOutcomeUnknown) {
			t.Fatalf("got %v, want ErrUnavailable", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Append(ctx, "s", 0, events("s", 0, 1, "a")); !errors.Is(err, eventstore.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want ErrUnavailable and context.Canceled", err)
	}
	if _, err := store.ReadForward(t.Context(), "s", 0, 1); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("ReadForward: got %v, want ErrUnavailable", err)
	}
	if err := store.Ping(t.Context()); !errors.Is(err, eventstore.ErrUnavailable) {
		t.Fatalf("Ping: got %v, want ErrUnavailable", err)
	}
	if got := readAll(t, direct, "s"); len(got) != 0 {
		t.Fatalf("something was written: %v", got)
	}
	proxy.Refuse(false)
	eventually(t, "the store is found again", func() bool { return store.Ping(t.Context()) == nil })
	mustAppend(t, store, events("s", 0, 1, "a"))
}

// restart closes the server and opens it again, at once or after downtime.
func restart(t *testing.T, f *embeddedtest.Fixture, srv *embedded.Server, downtime func()) *embedded.Server {
	t.Helper()
	f.Config.Listen = srv.Addr()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := srv.Close(ctx); err != nil {
		t.Fatal(err)
	}
	downtime()
	return f.Open(t)
}

func TestARestartedServerIsFoundWithoutRestartingTheClient(t *testing.T) {
	f := embeddedtest.New(t)
	srv := f.Open(t)
	store := open(t, f.ConnectionString(srv), func(c *eventstore.Config) { c.Patience = time.Minute })
	mustAppend(t, store, events("s", 0, 10, "a"))

	t.Run("unnoticed while idle", func(t *testing.T) {
		srv = restart(t, f, srv, func() {})
		mustAppend(t, store, events("s", 10, 1, "a"))
	})
	t.Run("after the client died many times", func(t *testing.T) {
		before := store.Stats().ConnectFailures
		srv = restart(t, f, srv, func() {
			for store.Stats().ConnectFailures < before+20 {
				if err := store.Append(t.Context(), "s", 11, events("s", 11, 1, "a")); !errors.Is(err, eventstore.ErrUnavailable) {
					t.Fatalf("got %v, want ErrUnavailable", err)
				}
			}
		})
		resend(t, store, events("s", 11, 1, "a"))
	})
	t.Run("a read waits for it", func(t *testing.T) {
		before := store.Stats().ConnectFailures
		read := make(chan []ledger.Event, 1)
		srv = restart(t, f, srv, func() {
			go func() { read <- readAll(t, store, "s") }()
			eventually(t, "the read meets the missing server", func() bool { return store.Stats().ConnectFailures > before })
		})
		same(t, <-read, events("s", 0, 12, "a"))
	})
}

func TestAReadIsTakenUpWhereItWasInterrupted(t *testing.T) {
	store, direct, proxy := behindProxy(t, nil)
	const batch, batches = 100, 20
	var all []ledger.Event
	for i := range batches {
		part := events("s", uint64(i*batch), batch, "a")
		for j := range part {
			part[j].Data = append(part[j].Data, make([]byte, 8_000)...)
		}
		mustAppend(t, direct, part)
		all = append(all, part...)
	}
	var got []ledger.Event
	err := store.Iterate(t.Context(), "s", 0, func(part []ledger.Event) error {
		got = append(got, part...)
		if store.Stats().Resumed < 5 {
			proxy.Cut()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, all)
	if store.Stats().Resumed == 0 {
		t.Error("the read was not interrupted")
	}
}

func TestReadsOfWhatIsNotThere(t *testing.T) {
	connection, _ := embeddedtest.Start(t)
	store := open(t, connection, nil)
	if _, err := store.ReadForward(t.Context(), "none", 0, 1); !errors.Is(err, eventstore.ErrNoStream) {
		t.Errorf("ReadForward: got %v, want ErrNoStream", err)
	}
	if _, err := store.ReadBackward(t.Context(), "none", eventstore.End, 1); !errors.Is(err, eventstore.ErrNoStream) {
		t.Errorf("ReadBackward: got %v, want ErrNoStream", err)
	}
	if err := store.Iterate(t.Context(), "none", 0, nil); !errors.Is(err, eventstore.ErrNoStream) {
		t.Errorf("Iterate: got %v, want ErrNoStream", err)
	}
	if _, ok, err := store.ReadLast(t.Context(), "none"); ok || err != nil {
		t.Errorf("ReadLast: got %v, %v", ok, err)
	}
	mustAppend(t, store, events("s", 0, 2, "a"))
	if got, err := store.ReadForward(t.Context(), "s", 2, 1); err != nil || len(got) != 0 {
		t.Errorf("ReadForward beyond the end: got %v, %v", got, err)
	}
	if _, err := store.ReadForward(t.Context(), "s", eventstore.End, 1); !errors.Is(err, eventstore.ErrInvalid) {
		t.Errorf("ReadForward from the end: got %v, want ErrInvalid", err)
	}
	boom := errors.New("boom")
	if err := store.Iterate(t.Context(), "s", 0, func([]ledger.Event) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("Iterate: got %v, want the handler's error", err)
	}
}

func TestClose(t *testing.T) {
	store, _, proxy := behindProxy(t, nil)
	mustAppend(t, store, events("s", 0, 1, "a"))
	ends := make(chan error, 2)
	proxy.HoldResponses()
	go func() { ends <- store.Append(context.Background(), "s", 1, events("s", 1, 1, "a")) }()
	eventually(t, "the append is under way", func() bool { return store.Stats().Appends == 1 && proxy.Connections() == 1 })
	time.Sleep(20 * time.Millisecond) // either before or after it is sent: both must end
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ends; !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("the append under way: got %v, want ErrClosed", err)
	}
	if err := store.Append(t.Context(), "s", 1, events("s", 1, 1, "a")); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("Append: got %v, want ErrClosed", err)
	}
	if err := store.Subscribe(t.Context(), "s", 0, nil, nil); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("Subscribe: got %v, want ErrClosed", err)
	}
	if err := store.Iterate(t.Context(), "s", 0, nil); !errors.Is(err, eventstore.ErrClosed) {
		t.Errorf("Iterate: got %v, want ErrClosed", err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// TestNothingHangsOrLeaksUnderFaults lets writers, readers and subscribers work
// while the network fails over and over. Whatever happens, each operation must
// return, what is stored must be what was appended, and nothing may be left
// running at the end.
func TestNothingHangsOrLeaksUnderFaults(t *testing.T) {
	connection, srv := embeddedtest.Start(t)
	direct := open(t, connection, nil)
	if err := direct.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy := storetest.NewProxy(t, srv.Addr())
	baseline := runtime.NumGoroutine()
	store := open(t, proxy.Through(t, connection), func(c *eventstore.Config) { c.Patience = time.Minute })
	calm := make(chan struct{}) // closed when the faults are over
	go func() {
		defer close(calm)
		for i := range 45 {
			time.Sleep(20 * time.Millisecond)
			harm(proxy, i)
		}
	}()
	var work sync.WaitGroup
	for w := range 3 {
		work.Go(func() { workUnderFaults(t, store, fmt.Sprintf("s-%d", w), calm) })
	}
	work.Wait()
	for w := range 3 {
		stream := fmt.Sprintf("s-%d", w)
		stored := readAll(t, direct, stream)
		same(t, stored, events(stream, 0, len(stored), "a"))
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= baseline })
}

// harm does one of the things a network does.
func harm(proxy *storetest.Proxy, i int) {
	switch i % 3 {
	case 0:
		proxy.Cut()
	case 1:
		proxy.Refuse(true)
		proxy.Cut()
		time.Sleep(10 * time.Millisecond)
		proxy.Refuse(false)
	case 2:
		proxy.HoldResponses()
		time.Sleep(5 * time.Millisecond)
		proxy.Cut()
		proxy.Release()
	}
}

// workUnderFaults appends to stream until calm is closed and a little longer,
// while reading it over and over, and checks what a subscription delivers.
func workUnderFaults(t *testing.T, store *eventstore.Store, stream string, calm <-chan struct{}) {
	const batch = 20
	sub := subscribe(t, store, stream, 0)
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			got := readAll(t, store, stream)
			same(t, got, events(stream, 0, len(got), "a"))
			select {
			case <-calm:
				return
			default:
			}
		}
	})
	n := 0
	for extra := 3; extra > 0; {
		select {
		case <-calm:
			extra--
		default:
		}
		resend(t, store, events(stream, uint64(n), batch, "a"))
		n += batch
	}
	reading.Wait()
	same(t, sub.waitFor(t, n), events(stream, 0, n, "a"))
	sub.stop()
	if err := sub.waitEnd(t); !errors.Is(err, context.Canceled) {
		t.Errorf("subscription to %s: %v", stream, err)
	}
}
