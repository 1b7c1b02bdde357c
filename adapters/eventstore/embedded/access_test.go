package embedded_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"kiroku/adapters/eventstore/embedded"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

func errorCode(err error) esdb.ErrorCode {
	var e *esdb.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return esdb.ErrorCodeUnknown
}

func TestAccess(t *testing.T) {
	f := embeddedtest.New(t)
	password := f.AddUser("clerk")
	srv := f.Open(t)
	admin := connect(t, f.ConnectionString(srv))
	clerk := connect(t, f.ConnectionStringFor(srv, "clerk", password))
	wrong := connect(t, f.ConnectionStringFor(srv, "clerk", "not the password"))
	u, err := url.Parse(f.ConnectionString(srv))
	if err != nil {
		t.Fatal(err)
	}
	u.User = nil
	anonymous := connect(t, u.String())

	closed := esdb.StreamMetadata{}
	acl := esdb.Acl{}
	acl.AddReadRoles("$admins")
	closed.SetAcl(acl)
	if _, err := admin.AppendToStream(t.Context(), "open", esdb.AppendToStreamOptions{}, events(1)...); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.AppendToStream(t.Context(), "closed", esdb.AppendToStreamOptions{}, events(1)...); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.SetStreamMetadata(t.Context(), "closed", esdb.AppendToStreamOptions{}, closed); err != nil {
		t.Fatal(err)
	}

	const allowed = esdb.ErrorCode(-1)
	read := func(c *esdb.Client, stream string) error {
		r, err := c.ReadStream(t.Context(), stream, esdb.ReadStreamOptions{}, 1)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = r.Recv()
		return err
	}
	write := func(c *esdb.Client, stream string) error {
		_, err := c.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{}, events(1)...)
		return err
	}
	all := func(c *esdb.Client, _ string) error {
		r, err := c.ReadAll(t.Context(), esdb.ReadAllOptions{From: esdb.Start{}}, 1)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = r.Recv()
		return err
	}
	for _, c := range []struct {
		name   string
		who    *esdb.Client
		do     func(*esdb.Client, string) error
		stream string
		want   esdb.ErrorCode
	}{
		{"administrator reads", admin, read, "open", allowed},
		{"administrator reads what is closed", admin, read, "closed", allowed},
		{"administrator reads $all", admin, all, "", allowed},
		{"administrator writes a system stream", admin, write, "$system", allowed},
		{"user reads", clerk, read, "open", allowed},
		{"user writes", clerk, write, "open", allowed},
		{"user reads what is closed", clerk, read, "closed", esdb.ErrorCodeAccessDenied},
		{"user writes what is closed to reading", clerk, write, "closed", allowed},
		{"user writes a system stream", clerk, write, "$system", esdb.ErrorCodeAccessDenied},
		{"user reads $all", clerk, all, "", esdb.ErrorCodeAccessDenied},
		{"wrong password reads", wrong, read, "open", esdb.ErrorCodeUnauthenticated},
		{"wrong password writes", wrong, write, "open", esdb.ErrorCodeUnauthenticated},
		{"nobody reads", anonymous, read, "open", esdb.ErrorCodeAccessDenied},
		{"nobody writes", anonymous, write, "open", esdb.ErrorCodeAccessDenied},
		{"writing to $all", admin, write, "$all", esdb.ErrorCodeAccessDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.do(c.who, c.stream)
			if c.want == allowed && err != nil || c.want != allowed && errorCode(err) != c.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestRevokedRight: a subscription ends when its reader loses the right.
func TestRevokedRight(t *testing.T) {
	f := embeddedtest.New(t)
	password := f.AddUser("clerk")
	srv := f.Open(t)
	admin := connect(t, f.ConnectionString(srv))
	clerk := connect(t, f.ConnectionStringFor(srv, "clerk", password))
	sub, err := clerk.SubscribeToStream(t.Context(), "s", esdb.SubscribeToStreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	m, acl := esdb.StreamMetadata{}, esdb.Acl{}
	acl.AddReadRoles("$admins")
	m.SetAcl(acl)
	if _, err := admin.SetStreamMetadata(t.Context(), "s", esdb.AppendToStreamOptions{}, m); err != nil {
		t.Fatal(err)
	}
	for {
		e := sub.Recv()
		if e.SubscriptionDropped != nil {
			if !strings.Contains(e.SubscriptionDropped.Error.Error(), "PermissionDenied") {
				t.Error(e.SubscriptionDropped.Error)
			}
			return
		}
	}
}

func TestDiscoveryByGossip(t *testing.T) {
	f := embeddedtest.New(t)
	srv := f.Open(t)
	c := connect(t, strings.Replace(f.ConnectionString(srv), "esdb:", "esdb+discover:", 1))
	if _, err := c.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, events(1)...); err != nil {
		t.Error(err)
	}
}

func TestHTTP(t *testing.T) {
	f := embeddedtest.New(t)
	clerk := f.AddUser("clerk")
	ops := f.AddUser("ops", embedded.GroupOperations)
	srv := f.Open(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		method, path, user, password string
		want                         int
	}{
		{"GET", "/health/live", "", "", 204},
		{"GET", "/metrics", "", "", 401},
		{"GET", "/metrics", "clerk", "wrong", 401},
		{"GET", "/metrics", "clerk", clerk, 200},
		{"POST", "/admin/scavenge", "", "", 401},
		{"POST", "/admin/scavenge", "ops", "wrong", 401},
		{"POST", "/admin/scavenge", "clerk", clerk, 403},
		{"POST", "/admin/scavenge", "ops", ops, 200},
		{"GET", "/admin/scavenge", "ops", ops, 405},
	} {
		req, err := http.NewRequest(c.method, "https://"+srv.Addr()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.user != "" {
			req.SetBasicAuth(c.user, c.password)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s %s as %q: %d, want %d", c.method, c.path, c.user, resp.StatusCode, c.want)
		}
	}
}

func TestLoadUsers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       int // users; -1: an error
	}{
		{"two", "# comment\nadmin:$admins,$ops:a:b c\n\nother::x\n", 0o600, 2},
		{"no password", "admin::\n", 0o600, -1},
		{"no groups field", "admin:secret-word\n", 0o600, -1},
		{"open to others", "admin::secret-word\n", 0o644, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			os.Remove(path)
			if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			users, err := embedded.LoadUsers(path)
			if c.want < 0 != (err != nil) || c.want >= 0 && len(users) != c.want {
				t.Fatalf("%d users, %v", len(users), err)
			}
			if err != nil && strings.Contains(err.Error(), "secret-word") {
				t.Error("the error tells the password")
			}
			for _, u := range users {
				var logged strings.Builder
				slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "user", u, "password", u.Password)
				for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s %q", u, u, u, u, u), logged.String()} {
					if strings.Contains(shown, string(u.Password)) && len(u.Password) > 1 {
						t.Errorf("the password shows: %s", shown)
					}
				}
			}
		})
	}
}
