package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/domain/ledger"
)

// quick makes failures pass quickly in tests.
var quick = eventstore.Backoff{Min: time.Millisecond, Max: 20 * time.Millisecond}

// open opens a Store for the test; change may be nil.
func open(t testing.TB, connectionString string, change func(*eventstore.Config)) *eventstore.Store {
	t.Helper()
	config := eventstore.Config{ConnectionString: connectionString, Reconnect: quick}
	if testing.Verbose() && os.Getenv("KIROKU_TEST_LOG") != "" {
		config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if change != nil {
		change(&config)
	}
	store, err := eventstore.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// events makes n events for the revisions from next on. Their content tells
// stream, revision and writer.
func events(stream string, next uint64, n int, writer string) []ledger.Event {
	made := make([]ledger.Event, n)
	for i := range made {
		revision := next + uint64(i)
		made[i] = ledger.Event{
			Stream:   stream,
			Revision: revision,
			ID:       uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s %d", stream, revision)),
			Type:     "written",
			Data:     fmt.Appendf(nil, "%s %d by %s", stream, revision, writer),
			Metadata: []byte{0x00, 0xFF, byte(revision)},
		}
	}
	return made
}

func mustAppend(t testing.TB, store *eventstore.Store, batch []ledger.Event) {
	t.Helper()
	if err := store.Append(t.Context(), batch[0].Stream, batch[0].Revision, batch); err != nil {
		t.Fatal(err)
	}
}

// same fails the test unless both hold the same events.
func same(t testing.TB, got, want []ledger.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d events, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.Stream != w.Stream || g.Revision != w.Revision || g.ID != w.ID || g.Type != w.Type ||
			!bytes.Equal(g.Data, w.Data) || !bytes.Equal(g.Metadata, w.Metadata) {
			t.Fatalf("event %d is %+v, want %+v", i, g, w)
		}
	}
}

func TestAppendedEventsAreReadBackAsTheyWere(t *testing.T) {
	connection, _ := embeddedtest.Start(t)
	store := open(t, connection, nil)
	first, second := events("registry", 0, 3, "a"), events("registry", 3, 300, "a")
	second[1].Data = bytes.Repeat([]byte{7}, 1<<19)
	mustAppend(t, store, first)
	mustAppend(t, store, second)
	all := append(first, second...)

	read, err := store.ReadForward(t.Context(), "registry", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	same(t, read, all)

	read, err = store.ReadForward(t.Context(), "registry", 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	same(t, read, all[2:4])

	var iterated []ledger.Event
	err = store.Iterate(t.Context(), "registry", 1, func(batch []ledger.Event) error {
		iterated = append(iterated, batch...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, iterated, all[1:])

	back, err := store.ReadBackward(t.Context(), "registry", eventstore.End, 2)
	if err != nil {
		t.Fatal(err)
	}
	same(t, back, []ledger.Event{all[302], all[301]})
	if back, err = store.ReadBackward(t.Context(), "registry", 1, 9); err != nil {
		t.Fatal(err)
	}
	same(t, back, []ledger.Event{all[1], all[0]})

	last, ok, err := store.ReadLast(t.Context(), "registry")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	same(t, []ledger.Event{last}, all[302:])
}

func TestWhatAnAppendIsRefusedFor(t *testing.T) {
	f := embeddedtest.New(t)
	password := f.AddUser("somebody")
	srv := f.Open(t)
	connection := f.ConnectionString(srv)
	store := open(t, connection, nil)
	mustAppend(t, store, events("s", 0, 5, "a"))
	large := events("s", 5, 2, "a")
	large[0].Data, large[1].Data = make([]byte, 1<<19), make([]byte, 1<<19)
	noID := events("s", 5, 2, "a")
	noID[1].ID = uuid.Nil
	noType := events("s", 5, 1, "a")
	noType[0].Type = ""

	tests := []struct {
		name   string
		stream string
		next   uint64
		events []ledger.Event
		want   error
	}{
		{"stream exists", "s", 0, events("s", 0, 2, "b")[:1:1], nil}, // same ids: the store takes it for a repetition
		{"another's ids below the end", "s", 2, otherIDs(events("s", 2, 1, "b")), eventstore.ErrWrongRevision},
		{"beyond the end", "s", 7, events("s", 7, 1, "a"), eventstore.ErrWrongRevision},
		{"no such stream", "none", 4, events("none", 4, 1, "a"), eventstore.ErrWrongRevision},
		{"too large", "s", 5, large, eventstore.ErrTooLarge},
		{"no events", "s", 5, nil, eventstore.ErrInvalid},
		{"no id", "s", 5, noID, eventstore.ErrInvalid},
		{"no type", "s", 5, noType, eventstore.ErrInvalid},
		{"events of another stream", "s", 5, events("t", 5, 1, "a"), eventstore.ErrInvalid},
		{"events for another revision", "s", 5, events("s", 6, 1, "a"), eventstore.ErrInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := store.Append(t.Context(), test.stream, test.next, test.events); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}

	t.Run("the error tells where the stream is", func(t *testing.T) {
		for next, actual := range map[uint64]uint64{9: 5, 6: 5} {
			var wrong *eventstore.WrongRevisionError
			err := store.Append(t.Context(), "s", next, events("s", next, 1, "a"))
			if !errors.As(err, &wrong) || !wrong.Known || wrong.Actual != actual || wrong.Next != next || wrong.Stream != "s" {
				t.Errorf("got %v", err)
			}
		}
		var wrong *eventstore.WrongRevisionError
		err := store.Append(t.Context(), "none", 4, events("none", 4, 1, "a"))
		if !errors.As(err, &wrong) || !wrong.Known || wrong.Actual != 0 {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no right", func(t *testing.T) {
		plain := open(t, f.ConnectionStringFor(srv, "somebody", password), nil)
		for _, n := range []int{1, 1000} {
			err := plain.Append(t.Context(), "$system", 0, events("$system", 0, n, "a"))
			if !errors.Is(err, eventstore.ErrDenied) {
				t.Errorf("%d events: got %v, want ErrDenied", n, err)
			}
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		wrong := open(t, f.ConnectionStringFor(srv, "somebody", "not "+password), nil)
		for _, n := range []int{1, 1000} {
			err := wrong.Append(t.Context(), "s", 5, events("s", 5, n, "a"))
			if !errors.Is(err, eventstore.ErrDenied) {
				t.Errorf("%d events: got %v, want ErrDenied", n, err)
			}
		}
		if err := wrong.Ping(t.Context()); !errors.Is(err, eventstore.ErrDenied) {
			t.Errorf("Ping: got %v, want ErrDenied", err)
		}
		if _, err := wrong.ReadForward(t.Context(), "s", 0, 1); !errors.Is(err, eventstore.ErrDenied) {
			t.Errorf("ReadForward: got %v, want ErrDenied", err)
		}
		if err := wrong.Subscribe(t.Context(), "s", 0, nil, nil); !errors.Is(err, eventstore.ErrDenied) {
			t.Errorf("Subscribe: got %v, want ErrDenied", err)
		}
	})
	same(t, readAll(t, store, "s"), events("s", 0, 5, "a"))
}

// otherIDs gives the events ids of their own.
func otherIDs(batch []ledger.Event) []ledger.Event {
	for i := range batch {
		batch[i].ID = uuid.New()
	}
	return batch
}

func readAll(t testing.TB, store *eventstore.Store, stream string) []ledger.Event {
	t.Helper()
	var all []ledger.Event
	err := store.Iterate(context.WithoutCancel(t.Context()), stream, 0, func(batch []ledger.Event) error {
		all = append(all, batch...)
		return nil
	})
	if err != nil && !errors.Is(err, eventstore.ErrNoStream) {
		t.Fatal(err)
	}
	return all
}

func TestARepeatedAppendIsConfirmedByItsBytes(t *testing.T) {
	connection, _ := embeddedtest.Start(t)
	store := open(t, connection, nil)
	batch := events("s", 0, 4, "a")
	if stored, err := store.Stored(t.Context(), batch); err != nil || stored {
		t.Fatal("an empty stream holds the batch:", stored, err)
	}
	mustAppend(t, store, batch)
	mustAppend(t, store, batch) // the same again: a success
	if stored, err := store.Stored(t.Context(), batch); err != nil || !stored {
		t.Fatal("the batch is not found stored:", stored, err)
	}
	forged := events("s", 0, 4, "b") // same ids, other content: the store calls it a success
	mustAppend(t, store, forged)
	if stored, err := store.Stored(t.Context(), forged); err != nil || stored {
		t.Fatal("another content with the same ids passes for stored:", stored, err)
	}
	if stored, err := store.Stored(t.Context(), events("s", 2, 4, "a")); err != nil || stored {
		t.Fatal("a batch of which half is there passes for stored:", stored, err)
	}
}
