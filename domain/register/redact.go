package register

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Format implements fmt.Formatter for every verb.
func (SubjectID) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (SubjectID) String() string { return redacted }

// LogValue implements slog.LogValuer.
func (SubjectID) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler.
func (SubjectID) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format implements fmt.Formatter for every verb: fmt does not ask members inside a pointer that it prints with a
// verb that does not fit.
func (Resolution) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter for every verb, for the same reason.
func (Holder) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }
