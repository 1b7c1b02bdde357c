package eventstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

func TestScavengeRemovesWhatIsHidden(t *testing.T) {
	f := embeddedtest.New(t)
	server := f.Open(t)
	store := open(t, f.ConnectionString(server), nil)
	mustAppend(t, store, events("s", 0, 20, "needle"))
	if err := store.SetTruncateBefore(t.Context(), "s", 12); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again is harmless
		if err := store.Scavenge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	same(t, readAll(t, store, "s"), events("s", 12, 8, "needle"))
	done, err := server.Scavenge(t.Context())
	if err != nil || done.Events != 0 {
		t.Errorf("the server found %d events that were left, %v", done.Events, err)
	}
}

func TestScavengeSaysWhyItCannot(t *testing.T) {
	f := embeddedtest.New(t)
	password := f.AddUser("reader")
	server := f.Open(t)
	mustAppend(t, open(t, f.ConnectionString(server), nil), events("s", 0, 3, "a"))
	reader := open(t, f.ConnectionStringFor(server, "reader", password), nil)
	if err := reader.Scavenge(t.Context()); !errors.Is(err, eventstore.ErrDenied) || !strings.Contains(err.Error(), "$ops") {
		t.Errorf("without the right: %v", err)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	stranger := open(t, f.ConnectionString(server), func(c *eventstore.Config) { c.User, c.PasswordFile = "reader", file })
	if err := stranger.Scavenge(t.Context()); !errors.Is(err, eventstore.ErrDenied) {
		t.Errorf("with a wrong password: %v", err)
	}
	gone := open(t, "esdb://127.0.0.1:1?tls=false", func(c *eventstore.Config) { c.Patience = time.Millisecond })
	if err := gone.Scavenge(t.Context()); !errors.Is(err, eventstore.ErrUnavailable) || strings.Contains(err.Error(), password) {
		t.Errorf("nobody there: %v", err)
	}
}
