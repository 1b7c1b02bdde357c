package event

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"kiroku/domain/secret"
)

// Protected is a byte string inside an encrypted payload that must not be seen
// anywhere else: a symbol, a salt, a management information. It prints, logs and
// marshals to JSON or text as redacted; only the payload's own encoding carries it.
type Protected []byte

const redacted = "[redacted]"

// Format implements fmt.Formatter for every verb.
func (Protected) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (Protected) String() string { return redacted }

// LogValue implements slog.LogValuer.
func (Protected) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (Protected) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText implements encoding.TextMarshaler.
func (Protected) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// GobEncode implements gob.GobEncoder: it refuses.
func (Protected) GobEncode() ([]byte, error) { return nil, secret.ErrNotEncodable }

// MarshalYAML implements the interface of the YAML encoders.
func (Protected) MarshalYAML() (any, error) { return redacted, nil }
