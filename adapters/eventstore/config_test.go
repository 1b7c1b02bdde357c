package eventstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

func TestConfigurationsThatAreRefused(t *testing.T) {
	const password = "S3cret/Pass"
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		config eventstore.Config
		says   string
	}{
		{"nothing", eventstore.Config{}, "no connection string"},
		{"another scheme", eventstore.Config{ConnectionString: "http://u:" + password + "@h:1"}, "not valid"},
		{"reserved characters", eventstore.Config{ConnectionString: "esdb://u:" + password + "@h:2113"}, "percent-encoded"},
		{"a misspelt parameter", eventstore.Config{ConnectionString: "esdb://u:x@h:1?tlsCaFiles=f"}, `"tlsCaFiles"`},
		{"a follower", eventstore.Config{ConnectionString: "esdb://h:1,i:1?nodePreference=follower"}, "leader"},
		{"no deadline", eventstore.Config{ConnectionString: "esdb://h:1?defaultDeadline=abc"}, "defaultDeadline"},
		{"a user without password", eventstore.Config{ConnectionString: "esdb://h:1", User: "u"}, "belong together"},
		{"no password file", eventstore.Config{ConnectionString: "esdb://h:1", User: "u", PasswordFile: empty + "x"}, "password"},
		{"an empty password file", eventstore.Config{ConnectionString: "esdb://h:1", User: "u", PasswordFile: empty}, "empty"},
		{"no certificate", eventstore.Config{ConnectionString: "esdb://h:1", CAFile: empty}, "no PEM certificate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := eventstore.Open(test.config)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want an error that says %q", err, test.says)
			}
			for _, part := range []string{password, "S3cret", "Pass@"} {
				if strings.Contains(err.Error(), part) {
					t.Fatalf("the error shows a piece of the password: %v", err)
				}
			}
		})
	}
}

func TestNothingPrintsThePassword(t *testing.T) {
	const password = "nobody-may-see-this"
	config := eventstore.Config{ConnectionString: "esdb://u:" + password + "@127.0.0.1:1"}
	store := open(t, config.ConnectionString, nil)
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", config, &config, store)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "config", config, "pointer", &config, "store", store)
	encoded, err := json.Marshal(map[string]any{"config": config, "store": store})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(encoded)
	if shown := out.String(); strings.Contains(shown, password) || strings.Contains(shown, fmt.Sprintf("%x", password)) {
		t.Errorf("the password is shown in:\n%s", shown)
	}
}

func TestAClusterIsFoundByItsOtherHosts(t *testing.T) {
	f := embeddedtest.New(t)
	srv := f.Open(t)
	direct := f.ConnectionString(srv)
	for name, connection := range map[string]string{
		"a host that is away": strings.Replace(direct, srv.Addr(), "127.0.0.1:1,"+srv.Addr(), 1),
		"by name":             strings.Replace(direct, "esdb://", "esdb+discover://", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if err := open(t, connection, nil).Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAStoreThatMovesIsFollowed(t *testing.T) {
	f := embeddedtest.New(t)
	srv := f.Open(t)
	var mu sync.Mutex
	where, away := f.ConnectionString(srv), errors.New("no endpoint file")
	store := open(t, "", func(c *eventstore.Config) {
		c.Locate = func() (string, error) {
			mu.Lock()
			defer mu.Unlock()
			if where == "" {
				return "", away
			}
			return where, nil
		}
	})
	mustAppend(t, store, events("s", 0, 1, "a"))
	f.Config.Listen = "127.0.0.1:0"
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	mu.Lock()
	where = ""
	mu.Unlock()
	if err := srv.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := store.Append(t.Context(), "s", 1, events("s", 1, 1, "a")); !errors.Is(err, eventstore.ErrUnavailable) || !errors.Is(err, away) {
		t.Fatalf("got %v, want ErrUnavailable and the reason", err)
	}
	srv = f.Open(t)
	mu.Lock()
	where = f.ConnectionString(srv)
	mu.Unlock()
	resend(t, store, events("s", 1, 1, "a"))
	same(t, readAll(t, store, "s"), events("s", 0, 2, "a"))
}

func TestCredentialsAndCertificatesFromFiles(t *testing.T) {
	f := embeddedtest.New(t)
	first, second := f.AddUser("first"), f.AddUser("second")
	srv := f.Open(t)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	var log bytes.Buffer
	config := eventstore.Config{ConnectionString: "esdb://" + srv.Addr(), User: "first", PasswordFile: file, CAFile: f.CAFile, Reconnect: quick,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	store, err := eventstore.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if version, err := store.Version(t.Context()); err != nil || version != "24.10.4" {
		t.Fatal(version, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}

	write(second) // not first's password
	store, err = eventstore.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := store.Ping(t.Context()); !errors.Is(err, eventstore.ErrDenied) {
			t.Fatalf("got %v, want ErrDenied", err)
		}
	}
	write(first)
	eventually(t, "the corrected password is taken up", func() bool { return store.Ping(t.Context()) == nil })
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{first, second} {
		if strings.Contains(log.String(), password) {
			t.Error("a password is in the log")
		}
	}

	t.Run("an unknown authority", func(t *testing.T) {
		other := embeddedtest.New(t)
		config := config
		config.CAFile = other.CAFile
		store := open(t, config.ConnectionString, func(c *eventstore.Config) { c.User, c.PasswordFile, c.CAFile = "first", file, other.CAFile })
		err := store.Ping(t.Context())
		if !errors.Is(err, eventstore.ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v, want that the certificate is the reason", err)
		}
	})
}
