// Package approval is the rule of two officials: what ends early, or says that a copy is gone, needs a proposal and the
// approvals of two different officials, each a signature with that official's own certificate over the proposal's hash.
// It promises the commands, the retention and whoever checks a ledger without its core one and the same answer to the
// question whether a proposal is approved.
//
// It has no clock: every question that depends on time is asked with the time. It names no official in an error or in
// anything printed; who signed stands in the certificate, which the core keeps sealed.
package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"kiroku/domain/event"
)

// Needed is how many different officials must approve.
const Needed = 2

const (
	proposalContext = "kiroku/proposal/1"
	approvalContext = "kiroku/approval/1"
)

// Errors of this package. Nothing was approved in any of these cases.
var (
	ErrHash          = errors.New("a proposal is named by 64 hexadecimal digits")
	ErrExpired       = errors.New("the proposal has expired; propose it anew")
	ErrApproved      = errors.New("two officials have approved the proposal already")
	ErrSameOfficial  = errors.New("this official has approved the proposal already; another official must")
	ErrSameKey       = errors.New("the key of an approval that was given already, under another name; another official must approve with a key of their own")
	ErrSignature     = errors.New("the signature is not one of this certificate's key over this proposal")
	ErrCertificate   = errors.New("the certificate cannot be used for an approval")
	ErrNoAuthorities = errors.New("no authority for officials' certificates is known")
)

// Hash names a proposal and is what is signed.
type Hash [sha256.Size]byte

// HashOf returns the hash of a proposal's payload as it stands in the registry:
// SHA-256("kiroku/proposal/1" ‖ payload).
func HashOf(payload []byte) Hash {
	return sha256.Sum256(append([]byte(proposalContext), payload...))
}

// ParseHash reads what String writes.
func ParseHash(text string) (Hash, error) {
	var h Hash
	if b, err := hex.DecodeString(text); err == nil && len(b) == len(h) {
		return Hash(b), nil
	}
	return h, ErrHash
}

// String is the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) (err error) {
	*h, err = ParseHash(string(text))
	return err
}

// digest is what an official's key signs: SHA-256("kiroku/approval/1" ‖ hash of the proposal).
func (h Hash) digest() [sha256.Size]byte {
	return sha256.Sum256(append([]byte(approvalContext), h[:]...))
}

// Standing is a proposal with the approvals that were recorded of it.
type Standing struct {
	Hash      Hash
	Revision  uint64 // of proposal-made in the registry
	Made      event.ProposalMade
	Approvals []event.ProposalApproved // as they followed each other
	Terms     Terms                    // which authorities are in force when
}

// Counting returns the approvals that count: signed over this proposal by the key they name, given before it expired, under
// an authority that was in force then, by officials and with keys that differ from those before. It proves every signature.
func (s Standing) Counting() []event.ProposalApproved {
	var counting []event.ProposalApproved
	for _, a := range s.Approvals {
		early, late := a.At < s.Made.At, a.At > s.Made.Until
		if early || late || Hash(pad(a.Proposal)) != s.Hash || differs(counting, a.Official, a.SPKI) != nil || !s.Terms.At(a.At).Has(a.Authority) {
			continue
		}
		if verify(a.SPKI, s.Hash, a.Signature) == nil {
			counting = append(counting, a)
		}
	}
	return counting
}

func pad(b []byte) (h [sha256.Size]byte) {
	if len(b) == len(h) {
		copy(h[:], b)
	}
	return h
}

// Approved reports whether enough different officials approved in time.
func (s Standing) Approved() bool { return len(s.Counting()) >= Needed }

// Expired reports whether it is too late to approve.
func (s Standing) Expired(now time.Time) bool { return now.UnixMicro() > s.Made.Until }

// Admit refuses an approval that cannot count: the proposal is approved or has expired, or this official, or this key, is
// among its approvals. official is the pseudonym of the certificate's subject.
func (s Standing) Admit(official string, spki []byte, now time.Time) error {
	counting := s.Counting()
	switch {
	case len(counting) >= Needed:
		return fmt.Errorf("proposal %s: %w", s.Hash, ErrApproved)
	case s.Expired(now):
		return fmt.Errorf("proposal %s, which could be approved until %s: %w", s.Hash, time.UnixMicro(s.Made.Until).UTC().Format(time.RFC3339), ErrExpired)
	}
	if err := differs(counting, official, spki); err != nil {
		return fmt.Errorf("proposal %s: %w", s.Hash, err)
	}
	return nil
}

func differs(from []event.ProposalApproved, official string, spki []byte) error {
	for _, a := range from {
		switch {
		case a.Official == official:
			return ErrSameOfficial
		case string(a.SPKI) == string(spki):
			return ErrSameKey
		}
	}
	return nil
}
