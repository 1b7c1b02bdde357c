// Package hsmtest gives tests a real token: SoftHSM with fresh keys.
//
// SoftHSM has one directory of tokens for each process, so the tests of a
// process share that directory while any of them is running; each Open makes a
// token of its own in it.
package hsmtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"kiroku/adapters/hsm"
)

// shared is the directory of the process.
var shared struct {
	mu    sync.Mutex
	dir   string
	users int
	made  int
}

// Token is a token that the keys of a test live in.
type Token struct {
	// Config opens it; it has no ExpectedSentinel.
	Config hsm.Config
}

// Dir is the token's own directory, so that a test can take it away. It is ""
// while Init has not made the token.
func (t Token) Dir() string {
	dirs, _ := filepath.Glob(filepath.Join(TokensDir(), "*", "token.object"))
	for _, path := range dirs {
		// SoftHSM keeps the label of a token in clear.
		if content, err := os.ReadFile(path); err == nil && bytes.Contains(content, []byte(t.Config.Token.Label)) {
			return filepath.Dir(path)
		}
	}
	return ""
}

// Open is an HSM over a fresh token with all standing keys. It is closed, and
// the token removed, when the test ends.
func Open(tb testing.TB) *hsm.HSM {
	tb.Helper()
	return Reopen(tb, New(tb))
}

// New makes a fresh token with all standing keys. It is removed when the test
// ends.
func New(tb testing.TB) Token {
	tb.Helper()
	token := Blank(tb)
	if err := hsm.Init(tb.Context(), token.Config); err != nil {
		tb.Fatalf("making a token: %v", err)
	}
	return token
}

// Reopen is one more HSM over a token, as after a restart. It is closed when
// the test ends.
func Reopen(tb testing.TB, token Token) *hsm.HSM {
	tb.Helper()
	h, err := hsm.Open(tb.Context(), token.Config)
	if err != nil {
		tb.Fatalf("opening a token: %v", err)
	}
	tb.Cleanup(func() { h.Close() })
	return h
}

// Blank prepares a token that Init has not made yet.
func Blank(tb testing.TB) Token {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.users == 0 {
		dir, err := os.MkdirTemp("", "kiroku-hsmtest-")
		if err != nil {
			tb.Fatal(err)
		}
		shared.dir = dir
	}
	shared.users++
	tb.Cleanup(leave)
	shared.made++
	config, err := hsm.Provision(shared.dir, fmt.Sprintf("test-%d-%06d", os.Getpid(), shared.made))
	if err != nil {
		tb.Fatalf("preparing a token: %v", err)
	}
	config.TokenFiles = "" // no token of a test has to outlast a power failure
	return Token{Config: config}
}

// leave removes the directory with its last user. A token is not removed
// before: the module of the others goes through all of them.
func leave() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.users--; shared.users == 0 {
		os.RemoveAll(shared.dir)
	}
}

// TokensDir is the directory that SoftHSM keeps all tokens of the process in.
func TokensDir() string {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	return filepath.Join(shared.dir, "tokens")
}
