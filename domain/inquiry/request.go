// Package inquiry holds the life of one inquiry (提供の求め, Act 21, 22): what an
// inquirer may ask, whether the core mediates it, what a provider may answer
// and until when. It promises that the same facts always give the same
// decision, that every way through a life is one of the documented ones, and
// that a refusal tells the inquirer nothing about a person that the law did
// not let them ask.
package inquiry

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"kiroku/domain/agency"
	"kiroku/domain/scope"
	"kiroku/domain/text"
)

// Bounds of a request, in characters where they are of a text.
const (
	MaxProcedure = 500
	MaxItem      = 200
	MaxItems     = 64
)

// The validity of a notification (Ordinance 41): bounds, and what holds where
// the inquirer asks for none.
const (
	MinValidity     = time.Second
	MaxValidity     = 90 * 24 * time.Hour
	DefaultValidity = 3 * 24 * time.Hour
)

// ErrInvalid is wrapped by every error that says a request or an answer is not acceptable.
var ErrInvalid = errors.New("invalid inquiry")

// Fields are what an inquiry carries (Order 20, Ordinance 40) beside the
// person's agency symbol, which this package never sees.
type Fields struct {
	Inquirer      agency.Code
	Department    agency.Department // of the inquirer
	Provider      agency.Code
	Affair        string        // 事務名
	Procedure     string        // 事務手続
	Information   string        // 特定個人情報名
	Items         []string      // 項目, 1 to 64, each once
	NonDisclosure bool          // Act 23(2): the request is to be withheld from the person
	Consent       bool          // the inquirer declares the person's consent to local tax information being given (Act 19(9) only)
	Validity      time.Duration // 0: DefaultValidity
}

// Request is an inquiry that was checked. It is immutable.
type Request struct{ f Fields }

// NewRequest checks f and normalises its texts. Every error wraps ErrInvalid.
func NewRequest(f Fields) (Request, error) {
	if f.Inquirer.IsZero() {
		return Request{}, fmt.Errorf("%w: no inquirer", ErrInvalid)
	}
	if f.Provider.IsZero() {
		return Request{}, fmt.Errorf("%w: no provider", ErrInvalid)
	}
	if f.Department.IsZero() {
		return Request{}, fmt.Errorf("%w: no department of the inquirer", ErrInvalid)
	}
	for _, t := range []struct {
		what  string
		s     *string
		limit int
	}{
		{"affair", &f.Affair, scope.MaxAffair},
		{"procedure", &f.Procedure, MaxProcedure},
		{"information name", &f.Information, scope.MaxInformation},
	} {
		var err error
		if *t.s, err = text.Line(t.what, *t.s, t.limit); err != nil {
			return Request{}, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	items, err := NewItems(f.Items)
	if err != nil {
		return Request{}, err
	}
	f.Items = items
	if f.Validity == 0 {
		f.Validity = DefaultValidity
	}
	if f.Validity < MinValidity || f.Validity > MaxValidity {
		return Request{}, fmt.Errorf("%w: validity of %v is not from %v to %v", ErrInvalid, f.Validity, MinValidity, MaxValidity)
	}
	return Request{f}, nil
}

// NewItems checks a list of information items (項目): 1 to 64, each 1 to 200
// characters and there once. It gives a copy with the texts normalised, in the
// order given.
func NewItems(items []string) ([]string, error) {
	if len(items) == 0 {
		return nil, fmt.Errorf("%w: no information item", ErrInvalid)
	}
	if len(items) > MaxItems {
		return nil, fmt.Errorf("%w: %d information items, the limit is %d", ErrInvalid, len(items), MaxItems)
	}
	out := make([]string, 0, len(items))
	for i, item := range items {
		item, err := text.Line(fmt.Sprintf("information item %d", i+1), item, MaxItem)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if slices.Contains(out, item) {
			return nil, fmt.Errorf("%w: information item %d is there twice", ErrInvalid, i+1)
		}
		out = append(out, item)
	}
	return out, nil
}

// Inquirer gives the code of the agency that asks.
func (r Request) Inquirer() agency.Code { return r.f.Inquirer }

// Department gives the department that asks.
func (r Request) Department() agency.Department { return r.f.Department }

// Provider gives the code of the agency that is asked.
func (r Request) Provider() agency.Code { return r.f.Provider }

// Affair gives the affair.
func (r Request) Affair() string { return r.f.Affair }

// Procedure gives the procedure.
func (r Request) Procedure() string { return r.f.Procedure }

// Information gives the information name.
func (r Request) Information() string { return r.f.Information }

// Items gives a copy of the information items.
func (r Request) Items() []string { return slices.Clone(r.f.Items) }

// NonDisclosure reports whether the request is withheld from the person (Act 23(2)).
func (r Request) NonDisclosure() bool { return r.f.NonDisclosure }

// Consent reports whether the person's consent was declared.
func (r Request) Consent() bool { return r.f.Consent }

// Validity gives how long the notification may be answered.
func (r Request) Validity() time.Duration { return r.f.Validity }

// Expiry gives the first moment at which a notification made at a time can no
// longer be answered, in whole microseconds.
func (r Request) Expiry(notified time.Time) time.Time {
	return notified.Add(r.f.Validity).UTC().Truncate(time.Microsecond)
}

// Fields gives a copy of everything, for storing and for NewRequest.
func (r Request) Fields() Fields {
	f := r.f
	f.Items = slices.Clone(f.Items)
	return f
}

// IsZero reports whether r is no request.
func (r Request) IsZero() bool { return r.f.Inquirer.IsZero() }
