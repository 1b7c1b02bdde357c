// Package embeddedtest starts an event store for a test: its own directory, certificate
// and password, ended with the test.
package embeddedtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"kiroku/adapters/eventstore/embedded"
)

// User that the connection string logs in as, a member of $admins.
const User = "admin"

// Start runs a server with TLS and credentials and returns a connection string for the
// client and the server.
func Start(t testing.TB) (connectionString string, srv *embedded.Server) {
	t.Helper()
	f := New(t)
	srv = f.Open(t)
	return f.ConnectionString(srv), srv
}

// Fixture is what outlives one run of a server: directory, certificate, password. Change
// Config before Open.
type Fixture struct {
	Config embedded.Config
	CAFile string
	pass   string
}

// New makes a fixture in a temporary directory.
func New(t testing.TB) *Fixture {
	t.Helper()
	dir := t.TempDir()
	certificate, authority := newCertificate(t)
	f := &Fixture{CAFile: filepath.Join(dir, "ca.pem"), pass: rand.Text()}
	if err := os.WriteFile(f.CAFile, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	f.Config = embedded.Config{
		Dir:          filepath.Join(dir, "store"),
		Listen:       "127.0.0.1:0",
		Certificate:  &certificate,
		Users:        []embedded.User{{Name: User, Password: embedded.Password(f.pass), Groups: []string{embedded.GroupAdmins}}},
		Logger:       slog.New(slog.NewTextHandler(io.Discard, nil)),
		MinFreeBytes: 1, // a test must not depend on how full the machine's disk is
	}
	return f
}

// AddUser gives somebody without further groups an account and returns the password.
func (f *Fixture) AddUser(name string, groups ...string) (password string) {
	password = rand.Text()
	f.Config.Users = append(f.Config.Users, embedded.User{Name: name, Password: embedded.Password(password), Groups: groups})
	return password
}

// Open starts a server on the fixture; the end of the test closes it.
func (f *Fixture) Open(t testing.TB) *embedded.Server {
	t.Helper()
	srv, err := embedded.Open(f.Config)
	// A server that comes back to its port may find there a connection that somebody made meanwhile.
	for end := time.Now().Add(time.Minute); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		srv, err = embedded.Open(f.Config)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Close(ctx); err != nil && srv.Err() == nil {
			t.Errorf("close event store: %v", err)
		}
	})
	return srv
}

// ConnectionString for the administrator.
func (f *Fixture) ConnectionString(srv *embedded.Server) string {
	return f.ConnectionStringFor(srv, User, f.pass)
}

// ConnectionStringFor somebody else.
func (f *Fixture) ConnectionStringFor(srv *embedded.Server, user, password string) string {
	if f.Config.Certificate == nil {
		return "esdb://" + srv.Addr() + "?tls=false"
	}
	u := url.URL{Scheme: "esdb", User: url.UserPassword(user, password), Host: srv.Addr(),
		RawQuery: url.Values{"tlsCAFile": {f.CAFile}}.Encode()}
	return u.String()
}

// newCertificate is its own authority, good for the loopback.
func newCertificate(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "event store under test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
