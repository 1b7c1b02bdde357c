package sequencer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/adapters/eventstore/storetest"
	"kiroku/commands/sequencer"
	"kiroku/domain/ledger"
)

// realStore is the event store in the sequencer's terms.
type realStore struct{ *eventstore.Store }

func (s realStore) Append(ctx context.Context, stream string, next uint64, events []ledger.Event) error {
	err := s.Store.Append(ctx, stream, next, events)
	if errors.Is(err, eventstore.ErrWrongRevision) {
		return fmt.Errorf("%w: %w", sequencer.ErrWrongRevision, err)
	}
	return err
}

func (s realStore) ReadForward(ctx context.Context, stream string, from uint64, limit int) ([]ledger.Event, error) {
	events, err := s.Store.ReadForward(ctx, stream, from, limit)
	if errors.Is(err, eventstore.ErrNoStream) {
		return nil, nil
	}
	return events, err
}

// site is a real event store with a writer behind a faulty network and one beside it.
type site struct {
	*bed
	proxy           *storetest.Proxy
	direct          realStore
	through, beside *desk
}

func newSite(t *testing.T) *site {
	t.Helper()
	connection, srv := embeddedtest.Start(t)
	s := &site{bed: newBed(t), proxy: storetest.NewProxy(t, srv.Addr())}
	s.direct = openStore(t, connection)
	s.through = s.desk(s.on(openStore(t, s.proxy.Through(t, connection))))
	s.beside = s.desk(s.on(s.direct))
	return s
}

func openStore(t *testing.T, connection string) realStore {
	t.Helper()
	store, err := eventstore.Open(eventstore.Config{ConnectionString: connection, AppendTimeout: time.Second, Patience: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return realStore{store}
}

func (s *site) on(store realStore) func(*sequencer.Options) {
	return func(o *sequencer.Options) {
		o.Store = store
		catchUp := o.CaughtUp
		o.CaughtUp = func(ctx context.Context, next uint64) error {
			return errors.Join(s.mirror(ctx), catchUp(ctx, next))
		}
	}
}

// mirror copies what the store holds onto the shelf, where the proof looks.
func (s *site) mirror(ctx context.Context) error {
	events, err := s.direct.ReadForward(ctx, stream, 0, 100_000)
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	if err == nil && len(events) > len(s.shelf.events) {
		s.shelf.events = events
	}
	return err
}

func (s *site) proveStore(t *testing.T) {
	t.Helper()
	for _, d := range s.desks {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := d.seq.Close(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	if err := s.mirror(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.prove()
}

// eventually fails the test if cond stays false for far longer than it takes.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// count is the number of events in the store.
func (s *site) count(t *testing.T) uint64 {
	t.Helper()
	last, ok, err := s.direct.ReadLast(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return 0
	}
	return last.Revision + 1
}

// TestOnTheRealStore holds the promises on the event store itself, through a network that harms them.
func TestOnTheRealStore(t *testing.T) {
	for name, course := range map[string]func(*testing.T, *site, uuid.UUID, chan error){
		"answer is lost": func(t *testing.T, s *site, _ uuid.UUID, answer chan error) {
			s.proxy.Cut()
			s.proxy.Release()
			if err := <-answer; err != nil {
				t.Errorf("the command was told %v", err)
			}
			s.through.must(3)
		},
		"answer is lost, and another writer goes on behind it": func(t *testing.T, s *site, command uuid.UUID, answer chan error) {
			if err := s.beside.seq.Takeover(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.beside.must(2)
			s.proxy.Cut()
			s.proxy.Release()
			if err := <-answer; err != nil {
				t.Errorf("the command stands, but was told %v", err)
			}
			want(t, s.beside.do(t.Context(), command, 2), errRepeated)
			want(t, s.through.do(t.Context(), uuid.New(), 1), sequencer.ErrNotWriter)
		},
		"caller gives up": func(t *testing.T, s *site, command uuid.UUID, answer chan error) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			want(t, s.through.do(ctx, uuid.New(), 1), sequencer.ErrOutcomeOpen)
			s.proxy.Release()
			<-answer
			want(t, s.through.do(t.Context(), command, 2), errRepeated)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			if err := s.through.seq.Takeover(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.through.must(3)
			s.proxy.HoldResponses()
			command, answer := uuid.New(), make(chan error, 1)
			go func() { answer <- s.through.do(t.Context(), command, 2) }()
			eventually(t, "the append lands", func() bool { return s.count(t) == 6 })
			course(t, s, command, answer)
			s.proveStore(t)
		})
	}
}

// TestALateAppendOnTheRealStore: the network holds an append back until another writer has taken over.
func TestALateAppendOnTheRealStore(t *testing.T) {
	s := newSite(t)
	if err := s.through.seq.Takeover(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.through.must(2)
	s.proxy.HoldRequests()
	answer := make(chan error, 1)
	go func() { answer <- s.through.do(t.Context(), uuid.New(), 1) }()
	eventually(t, "the append is on its way", func() bool { return s.proxy.Held() > 500 })
	s.proxy.Cut()
	if err := s.beside.seq.Takeover(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.beside.must(2)
	s.proxy.Release()
	want(t, <-answer, sequencer.ErrNotWriter)
	s.beside.must(2)
	s.proveStore(t)
}

// TestCutsUnderLoadOnTheRealStore breaks the network again and again under commands.
func TestCutsUnderLoadOnTheRealStore(t *testing.T) {
	s := newSite(t)
	if err := s.through.seq.Takeover(t.Context()); err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for range 25 {
				if err := s.through.do(t.Context(), uuid.New(), 1); err != nil {
					t.Errorf("command: %v", err)
				}
			}
		})
	}
	for i := range 5 {
		at := s.count(t)
		eventually(t, "commands are served", func() bool { return s.count(t) > at || s.count(t) == 401 })
		if i%2 == 0 {
			s.proxy.HoldResponses()
			time.Sleep(5 * time.Millisecond)
		}
		s.proxy.Cut()
		s.proxy.Release()
	}
	clients.Wait()
	s.proveStore(t)
}
