package pki_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/pki"
	"kiroku/domain/approval"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestOfficialsCanApprove: each by its own key, as different officials, and not when the year is over.
func TestOfficialsCanApprove(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new", "pki")
	now := time.Now()
	made, err := pki.Develop(folder, 3, now)
	if err != nil || len(made.Officials) != 3 {
		t.Fatal(made, err)
	}
	officials, err := approval.ParseOfficials(read(t, made.Authority))
	if err != nil {
		t.Fatal(err)
	}
	if !officials.Development() || officials.Production().Known() {
		t.Error("the authority does not say that it is for development")
	}
	h := approval.HashOf([]byte("a proposal"))
	subjects := map[string]bool{}
	for _, o := range made.Officials {
		block, _ := pem.Decode(read(t, o.Key))
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := approval.DecodePEM(read(t, o.Certificate))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := approval.Sign(key.(*ecdsa.PrivateKey), h)
		if err != nil {
			t.Fatal(err)
		}
		given := approval.Given{Certificate: chain[0], Signature: signature}
		signer, err := officials.Verify(h, given, now)
		if err != nil {
			t.Fatal(err)
		}
		subjects[string(signer.Subject)] = true
		if _, err := officials.Verify(h, given, made.ValidTo.Add(time.Minute)); !errors.Is(err, approval.ErrCertificate) {
			t.Errorf("after a year: %v", err)
		}
	}
	if len(subjects) != 3 {
		t.Errorf("%d different officials", len(subjects))
	}
}

func TestKeysAreTheirOwnersAndNothingIsWrittenOver(t *testing.T) {
	folder := t.TempDir()
	made, err := pki.Develop(folder, 2, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{made.AuthorityKey, made.Officials[0].Key, made.Officials[1].Key} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	before := string(read(t, made.AuthorityKey))
	for _, removed := range []string{"", made.Authority, made.AuthorityKey} { // one file that is left is enough
		if removed != "" {
			if err := os.Remove(removed); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := pki.Develop(folder, 2, time.Now()); !errors.Is(err, fs.ErrExist) {
			t.Errorf("written over: %v", err)
		}
		if removed == "" && string(read(t, made.AuthorityKey)) != before {
			t.Error("the authority's key was replaced")
		}
	}
	if _, err := os.Stat(made.Authority); !errors.Is(err, fs.ErrNotExist) {
		t.Error("half of it was written")
	}
	for _, n := range []int{-1, 0, 1, pki.MostOfficials + 1} {
		if _, err := pki.Develop(t.TempDir(), n, time.Now()); err == nil {
			t.Errorf("%d officials", n)
		}
	}
}
