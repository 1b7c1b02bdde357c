package localtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/datadir"
	"kiroku/adapters/localtls"
)

func ensure(t *testing.T, folder string, now time.Time) localtls.Files {
	t.Helper()
	files, err := localtls.Ensure(folder, now)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// talks starts a server on files and reports whether a client that trusts only
// their authority, whose clock shows now, reaches it.
func talks(t *testing.T, files localtls.Files, now time.Time) error {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return err
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(text(t, files.CA)))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Time: func() time.Time { return now }}}}
	answer, err := client.Get(server.URL)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return errors.Join(err, answer.Body.Close())
}

func TestClientsOfTheDirectoryReachItsServers(t *testing.T) {
	now, folder := time.Now(), t.TempDir()
	files := ensure(t, folder, now)
	for _, at := range []time.Time{now, now.Add(-time.Hour), now.Add(localtls.ServerValidity - time.Hour)} {
		if err := talks(t, files, at); err != nil {
			t.Errorf("at %s: %v", at, err)
		}
	}
	other := ensure(t, t.TempDir(), now)
	other.CA, files.CA = files.CA, other.CA
	if talks(t, files, now) == nil {
		t.Error("the authority of another directory was trusted")
	}
	for _, name := range []string{"server-key.pem", "ca-key.pem"} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestRenewal(t *testing.T) {
	now, folder := time.Now(), t.TempDir()
	first := ensure(t, folder, now)
	ca, cert := text(t, first.CA), text(t, first.Cert)

	ensure(t, folder, now.Add(localtls.ServerValidity-localtls.RenewBefore-time.Hour))
	if text(t, first.Cert) != cert {
		t.Error("renewed although there was time")
	}
	later := now.Add(localtls.ServerValidity - localtls.RenewBefore + time.Hour)
	ensure(t, folder, later)
	if text(t, first.Cert) == cert {
		t.Error("not renewed in time")
	}
	if text(t, first.CA) != ca {
		t.Error("clients would have to learn a new authority")
	}
	much := now.Add(localtls.AuthorityValidity)
	if err := talks(t, ensure(t, folder, much), much); err != nil {
		t.Errorf("after the authority's own end: %v", err)
	}
	if text(t, first.CA) == ca {
		t.Error("the authority was not renewed")
	}
}

// TestMendsWhatACrashOrAPersonLeft starts from every state that writing the
// four files can be stopped in, and some worse ones.
func TestMendsWhatACrashOrAPersonLeft(t *testing.T) {
	names := []string{"ca.pem", "ca-key.pem", "server.pem", "server-key.pem"}
	other := t.TempDir()
	ensure(t, other, time.Now())
	for _, name := range names {
		for how, harm := range map[string]func(path string) error{
			"missing":   os.Remove,
			"cut short": func(path string) error { return os.Truncate(path, 20) },
			"another's": func(path string) error {
				b, err := os.ReadFile(filepath.Join(other, name))
				return errors.Join(err, os.WriteFile(path, b, 0o600))
			},
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				folder := t.TempDir()
				ensure(t, folder, time.Now())
				if err := harm(filepath.Join(folder, name)); err != nil {
					t.Fatal(err)
				}
				if err := talks(t, ensure(t, folder, time.Now()), time.Now()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestExposedAuthorityKeyIsNotUsed(t *testing.T) {
	folder := t.TempDir()
	ensure(t, folder, time.Now())
	if err := os.Chmod(filepath.Join(folder, "ca-key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := localtls.Ensure(folder, time.Now()); !errors.Is(err, datadir.ErrExposed) || !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err)
	}
}

// TestAuthorityCertifiesThisMachineOnly forges a certificate for another name
// with the authority's key.
func TestAuthorityCertifiesThisMachineOnly(t *testing.T) {
	folder := t.TempDir()
	files := ensure(t, folder, time.Now())
	ca, err := tls.LoadX509KeyPair(files.CA, filepath.Join(folder, "ca-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	for name, want := range map[string]bool{"localhost": true, "bank.example": false} {
		forged := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: ca.Leaf.NotBefore, NotAfter: ca.Leaf.NotAfter}
		der, err := x509.CreateCertificate(nil, &forged, ca.Leaf, ca.Leaf.PublicKey, ca.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); (err == nil) != want {
			t.Errorf("a certificate for %s: %v", name, err)
		}
	}
}
