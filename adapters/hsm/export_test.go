package hsm

import (
	"context"

	"github.com/miekg/pkcs11"
)

// Cryptoki lets the tests stand between an HSM and its token.
type Cryptoki = cryptoki

// Through returns config with all C calls going through wrap.
func Through(config Config, wrap func(Cryptoki) Cryptoki) Config {
	config.wrap = wrap
	return config
}

// Raw runs f on a read-write session of the first token, past all rules.
func (h *HSM) Raw(ctx context.Context, f func(api Cryptoki, sh pkcs11.SessionHandle) error) error {
	return h.tokens[0].keep(ctx, func(s *session) error { return f(s.api, s.handle) })
}

// TemplateOf is how a key of a label is made.
func TemplateOf(label string) (mechanism uint, template []*pkcs11.Attribute) {
	f, _, err := parseLabel(label)
	if err != nil {
		panic(err)
	}
	sh := shapes[f.kind]
	return sh.generate, sh.template(label)
}

// LowS and ParseLabel are what the properties are stated about.
var (
	LowS       = lowS
	ParseLabel = func(label string) (family, version string, err error) {
		f, version, err := parseLabel(label)
		return f.name, version, err
	}
)

// Interrupt drops all connections, so that the next call makes them anew.
func (h *HSM) Interrupt() {
	for _, t := range h.tokens {
		if conn := t.conn.Load(); conn != nil {
			t.drop(conn)
		}
	}
}

// Prepared is an HSM that has not connected yet.
func Prepared(tb interface {
	Fatal(...any)
	Cleanup(func())
}, config Config) *HSM {
	h, err := prepare(config)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { h.Close() })
	return h
}

// Waiting is how many callers' blocks wait for the next call.
func (h *HSM) Waiting(label string) int {
	h.mu.Lock()
	m := h.merges[mergeKey{label, false}]
	h.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
}
