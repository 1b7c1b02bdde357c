package event

import (
	"fmt"
	"io"
)

// Payloads that are encrypted in the ledger print as redacted, whole. Protected alone cannot see to it: fmt
// prints a pointer inside something else, with a verb that does not fit, without asking the members' methods.

func redact(f fmt.State) { _, _ = io.WriteString(f, redacted) }

// Format implements fmt.Formatter for every verb.
func (Subject) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (SymbolIssued) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (SymbolAlreadyAcquired) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (ResidentCodeChanged) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (ResidentCodeChangeRefused) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (Record) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (InquiryNotified) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (InquiryRefused) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (ProvisionReported) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (InquiryLapsed) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb.
func (RecordsDisclosed) Format(f fmt.State, _ rune) { redact(f) }

// Format implements fmt.Formatter for every verb: the certificates of an approval name an official.
func (OperationRecorded) Format(f fmt.State, _ rune) { redact(f) }
