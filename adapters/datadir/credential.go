package datadir

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
)

// redacted is all that a Credential shows.
const redacted = "[redacted]"

// Credential is a password or token by which processes of one data directory
// know each other. It prints, logs and marshals as "[redacted]"; in clear it
// stands only in the endpoint files.
type Credential struct{ text string }

// NewCredential makes a random credential of 130 bits.
func NewCredential() Credential { return Credential{rand.Text()} }

// Expose returns the credential, for the connection that needs it.
func (c Credential) Expose() string { return c.text }

// IsZero reports whether there is none.
func (c Credential) IsZero() bool { return c.text == "" }

// Format shows no credential, whatever the verb.
func (c Credential) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// LogValue shows no credential.
func (c Credential) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText shows no credential.
func (c Credential) MarshalText() ([]byte, error) { return []byte(redacted), nil }
