package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what every text form of a secret shows.
const Redacted = "[redacted]"

// ErrNotEncodable answers every attempt to write a secret in a binary form. Seal what has to be stored.
var ErrNotEncodable = errors.New("encoding a secret: it has no stored form; seal it first")

// Redaction gives a type that embeds it the text and binary forms of a secret: "[redacted]" to every print verb,
// slog handler and text encoder, ErrNotEncodable to every binary one. Its methods have value receivers, so that
// they hold for the value, the pointer, and anything that contains them exported.
//
// Printing reaches unexported fields by reflection, where no method is called: what a type keeps in its fields
// must bear being printed.
type Redaction struct{}

// Format implements fmt.Formatter for every verb but %T and %p, which show a type and an address.
func (Redaction) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// String implements fmt.Stringer.
func (Redaction) String() string { return Redacted }

// GoString implements fmt.GoStringer.
func (Redaction) GoString() string { return Redacted }

// LogValue implements slog.LogValuer.
func (Redaction) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements encoding.TextMarshaler.
func (Redaction) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON implements json.Marshaler.
func (Redaction) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalYAML implements the interface of the YAML encoders.
func (Redaction) MarshalYAML() (any, error) { return Redacted, nil }

// MarshalBinary implements encoding.BinaryMarshaler: always ErrNotEncodable.
func (Redaction) MarshalBinary() ([]byte, error) { return nil, ErrNotEncodable }

// AppendBinary implements encoding.BinaryAppender: always ErrNotEncodable.
func (Redaction) AppendBinary([]byte) ([]byte, error) { return nil, ErrNotEncodable }

// GobEncode implements gob.GobEncoder: always ErrNotEncodable.
func (Redaction) GobEncode() ([]byte, error) { return nil, ErrNotEncodable }

// MarshalCBOR implements the interface of the CBOR encoder: always ErrNotEncodable.
func (Redaction) MarshalCBOR() ([]byte, error) { return nil, ErrNotEncodable }

// UnmarshalText refuses: a secret comes from a file or a delivery, never out of a document.
func (*Redaction) UnmarshalText([]byte) error { return ErrNotEncodable }

// UnmarshalJSON refuses, as UnmarshalText does.
func (*Redaction) UnmarshalJSON([]byte) error { return ErrNotEncodable }

// UnmarshalBinary refuses, as UnmarshalText does.
func (*Redaction) UnmarshalBinary([]byte) error { return ErrNotEncodable }

// GobDecode refuses, as UnmarshalText does.
func (*Redaction) GobDecode([]byte) error { return ErrNotEncodable }

// UnmarshalCBOR refuses, as UnmarshalText does.
func (*Redaction) UnmarshalCBOR([]byte) error { return ErrNotEncodable }
