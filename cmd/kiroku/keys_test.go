package main_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func labels(t *testing.T, data string) []string {
	t.Helper()
	var listed struct{ Keys []struct{ Label string } }
	if err := json.Unmarshal([]byte(kiroku(t, "keys", "list", "--json", "--data", data).must(t).out), &listed); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, key := range listed.Keys {
		names = append(names, key.Label)
	}
	return names
}

func TestKeysAreMadeOnceAndStay(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	kiroku(t, "keys", "init", "--data", data).must(t)
	first := labels(t, data)
	if !strings.Contains(strings.Join(first, " "), "sign/1") {
		t.Fatalf("keys %v", first)
	}
	public := kiroku(t, "keys", "export-public", "sign/1", "--data", data).must(t).out
	kiroku(t, "keys", "init", "--data", data).must(t)
	if again := labels(t, data); strings.Join(again, " ") != strings.Join(first, " ") {
		t.Errorf("%v became %v", first, again)
	}
	if again := kiroku(t, "keys", "export-public", "sign/1", "--data", data).must(t).out; again != public {
		t.Error("the signing key was replaced")
	}
	block, _ := pem.Decode([]byte(public))
	if block == nil || len(block.Headers) != 0 { // OpenSSL reads no PEM with headers of ours
		t.Fatalf("not plain PEM: %s", public)
	}
	if key, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		t.Error(err)
	} else if _, ok := key.(*ecdsa.PublicKey); !ok {
		t.Errorf("%T", key)
	}
}

func TestAPINThatOthersCanReadIsRefused(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	kiroku(t, "keys", "init", "--data", data).must(t)
	pin := filepath.Join(data, "hsm", "user.pin")
	text, err := os.ReadFile(pin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(pin, 0o644); err != nil {
		t.Fatal(err)
	}
	got := kiroku(t, "keys", "list", "--data", data)
	if got.code != 2 || !strings.Contains(got.err, pin) || strings.Contains(got.out+got.err, strings.TrimSpace(string(text))) {
		t.Errorf("%d %s", got.code, got.err)
	}
}

func TestALostTokenIsNotReplaced(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, data, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	if code := p.stop(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	if err := os.RemoveAll(filepath.Join(data, "hsm")); err != nil {
		t.Fatal(err)
	}
	got := kiroku(t, "serve", "--data", data)
	if got.code != 2 || !strings.Contains(got.err, "there is no token yet") {
		t.Errorf("%d\n%s", got.code, got.err)
	}
}
