package eventstore_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/adapters/eventstore/storetest"
	"kiroku/domain/ledger"
)

// subscription collects what a subscription delivers.
type subscription struct {
	stop context.CancelFunc
	end  chan error // receives what Subscribe returned

	mu       sync.Mutex
	got      []ledger.Event
	caughtUp []int // number of events at each caughtUp
}

func subscribe(t testing.TB, store *eventstore.Store, stream string, from uint64) *subscription {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &subscription{stop: cancel, end: make(chan error, 1)}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.end <- store.Subscribe(ctx, stream, from, func(_ context.Context, batch []ledger.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.got = append(s.got, batch...)
			return nil
		}, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.caughtUp = append(s.caughtUp, len(s.got))
		})
	}()
	t.Cleanup(func() { cancel(); <-stopped })
	return s
}

func (s *subscription) events() []ledger.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *subscription) reached() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.caughtUp)
}

// waitFor waits until the subscription has delivered n events or ended.
func (s *subscription) waitFor(t testing.TB, n int) []ledger.Event {
	t.Helper()
	eventually(t, "the subscription delivers", func() bool { return len(s.events()) >= n || len(s.end) > 0 })
	return s.events()
}

func (s *subscription) waitEnd(t testing.TB) error {
	t.Helper()
	select {
	case err := <-s.end:
		return err
	case <-time.After(60 * time.Second):
		t.Fatal("the subscription does not end")
		return nil
	}
}

func TestASubscriptionDeliversWhatIsAndWhatComes(t *testing.T) {
	connection, _ := embeddedtest.Start(t)
	store := open(t, connection, nil)
	mustAppend(t, store, events("s", 0, 1500, "a"))
	whole, part := subscribe(t, store, "s", 0), subscribe(t, store, "s", 1400)
	same(t, whole.waitFor(t, 1500), events("s", 0, 1500, "a"))
	same(t, part.waitFor(t, 100), events("s", 1400, 100, "a"))
	eventually(t, "both have caught up", func() bool { return len(whole.reached()) > 0 && len(part.reached()) > 0 })
	if n := whole.reached()[0]; n != 1500 {
		t.Errorf("caught up after %d events of 1500", n)
	}
	for i := range uint64(30) {
		mustAppend(t, store, events("s", 1500+10*i, 10, "a"))
	}
	same(t, whole.waitFor(t, 1800), events("s", 0, 1800, "a"))
	same(t, part.waitFor(t, 400), events("s", 1400, 400, "a"))
	whole.stop()
	if err := whole.waitEnd(t); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestASubscriptionWaitsForItsStream(t *testing.T) {
	connection, _ := embeddedtest.Start(t)
	store := open(t, connection, nil)
	sub := subscribe(t, store, "later", 0)
	eventually(t, "caught up with nothing", func() bool { return len(sub.reached()) > 0 })
	mustAppend(t, store, events("later", 0, 3, "a"))
	same(t, sub.waitFor(t, 3), events("later", 0, 3, "a"))
}

func TestASubscriptionOutlivesConnectionsAndServers(t *testing.T) {
	f := embeddedtest.New(t)
	srv := f.Open(t)
	proxy := storetest.NewProxy(t, srv.Addr())
	store := open(t, proxy.Through(t, f.ConnectionString(srv)), nil)
	sub := subscribe(t, store, "s", 0)
	next := uint64(0)
	grow := func() {
		resend(t, store, events("s", next, 7, "a"))
		next += 7
		same(t, sub.waitFor(t, int(next)), events("s", 0, int(next), "a"))
	}
	grow()
	for range 5 {
		proxy.Cut()
		grow()
	}
	for range 3 {
		before := store.Stats().ConnectFailures
		srv = restart(t, f, srv, func() {
			eventually(t, "the subscription looks for the server", func() bool { return store.Stats().ConnectFailures > before+3 })
		})
		grow()
	}
	if len(sub.reached()) < 2 {
		t.Error("caughtUp was not called anew after a reconnection")
	}
}

func TestWhereASubscriptionEnds(t *testing.T) {
	t.Run("handler", func(t *testing.T) {
		connection, _ := embeddedtest.Start(t)
		store := open(t, connection, nil)
		mustAppend(t, store, events("s", 0, 3, "a"))
		boom := errors.New("boom")
		err := store.Subscribe(t.Context(), "s", 0, func(context.Context, []ledger.Event) error { return boom }, nil)
		if !errors.Is(err, boom) {
			t.Errorf("got %v, want the handler's error", err)
		}
	})
	t.Run("context, while the handler waits", func(t *testing.T) {
		connection, _ := embeddedtest.Start(t)
		store := open(t, connection, nil)
		mustAppend(t, store, events("s", 0, 2000, "a"))
		ctx, cancel := context.WithCancel(t.Context())
		err := store.Subscribe(ctx, "s", 0, func(ctx context.Context, _ []ledger.Event) error {
			cancel()
			<-ctx.Done()
			return nil
		}, nil)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
	t.Run("context, while the server is away", func(t *testing.T) {
		store, _, proxy := behindProxy(t, nil)
		proxy.Refuse(true)
		sub := subscribe(t, store, "s", 0)
		eventually(t, "it looks for the server", func() bool { return store.Stats().ConnectFailures > 2 })
		sub.stop()
		if err := sub.waitEnd(t); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
	t.Run("truncation passed the reader", func(t *testing.T) {
		store, direct, proxy := behindProxy(t, nil)
		mustAppend(t, direct, events("s", 0, 10, "a"))
		sub := subscribe(t, store, "s", 0)
		sub.waitFor(t, 10)
		proxy.Refuse(true)
		proxy.Cut()
		mustAppend(t, direct, events("s", 10, 10, "a"))
		if err := direct.SetTruncateBefore(t.Context(), "s", 15); err != nil {
			t.Fatal(err)
		}
		proxy.Refuse(false)
		var gap *eventstore.SequenceError
		if err := sub.waitEnd(t); !errors.As(err, &gap) || !errors.Is(err, eventstore.ErrSequence) || gap.Want != 10 || gap.Got != 15 {
			t.Errorf("got %v, want that event 15 came for event 10", err)
		}
		same(t, sub.events(), events("s", 0, 10, "a"))
	})
	t.Run("the store is an older copy", func(t *testing.T) {
		older, newer := embeddedtest.New(t), embeddedtest.New(t)
		older.Config.Certificate, newer.Config.Certificate = nil, nil
		oldServer, newServer := older.Open(t), newer.Open(t)
		mustAppend(t, open(t, older.ConnectionString(oldServer), nil), events("s", 0, 5, "a"))
		mustAppend(t, open(t, newer.ConnectionString(newServer), nil), events("s", 0, 9, "a"))
		proxy := storetest.NewProxy(t, newServer.Addr())
		store := open(t, proxy.Through(t, newer.ConnectionString(newServer)), nil)
		sub := subscribe(t, store, "s", 0)
		sub.waitFor(t, 9)
		proxy.Target(oldServer.Addr())
		proxy.Cut()
		if err := sub.waitEnd(t); !errors.Is(err, eventstore.ErrBehind) {
			t.Errorf("got %v, want ErrBehind", err)
		}
		if err := store.Subscribe(t.Context(), "gone", 3, nil, nil); !errors.Is(err, eventstore.ErrBehind) {
			t.Errorf("a stream that is gone: got %v, want ErrBehind", err)
		}
	})
}
