package record

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"kiroku/domain/agency"
	"kiroku/domain/inquiry"
)

// LiftReason is the amendment reason of lifting a non-disclosure, the only one
// it can have. It is never shown to the person: it would tell them that
// something had been withheld.
const LiftReason = "不開示情報に該当しなくなったため"

// ErrUnchanged says that an amendment changes nothing.
var ErrUnchanged = errors.New("amendment changes nothing")

// Changes are what an amendment may correct; nil leaves a field as it is. The
// symbol, the processing number, the codes of the agencies, the time of request
// and the remark on Act 21(2) were set by the core itself and stay.
type Changes struct {
	Affair, Procedure, Information *string
	InquirerName, ProviderName     *agency.Name
	Department                     *agency.Department
	Items                          []string
	ProvidedAt                     *time.Time // only where the record says that information was provided
	RequestNonDisclosed            *bool
	ProvisionNonDisclosed          *bool
}

// Amendment is a correction (記録事項変更).
type Amendment struct {
	After   inquiry.BranchNumber // the last branch number of the inquiry so far
	At      time.Time            // by the core's clock
	Reason  string               // 記録事項変更事由, 1 to 500 characters; for a lift "" or LiftReason
	Changes Changes
}

// Amend gives the new branch that corrects r, and leaves r as it is. r is the
// latest record of the inquiry.
//
// Where the provision is withheld, every branch that tells of it is withheld
// too. A correction that the person is to see is therefore made twice: on the
// latest record that tells of no provision, and then, on the branch after, on
// the latest record.
//
// A non-disclosure is lifted by an amendment of its own, which changes nothing
// else and whose reason is LiftReason.
func (r ProvisionRecord) Amend(a Amendment) (ProvisionRecord, error) {
	if a.After < r.f.Branch {
		return ProvisionRecord{}, fmt.Errorf("%w: amend %v: branch %v comes after %v", ErrInvalid, r.f.Number, r.f.Branch, a.After)
	}
	branch, err := a.After.Next()
	if err != nil {
		return ProvisionRecord{}, fmt.Errorf("amend %v: %w", r.f.Number, err)
	}
	if a.Changes.ProvidedAt != nil && !r.IsProvided() {
		return ProvisionRecord{}, fmt.Errorf("%w: amend %v: nothing was provided whose time could be corrected", ErrInvalid, r.f.Number)
	}
	f := r.Fields()
	a.Changes.apply(&f)
	if a.Reason, err = reasonOf(r.f, f, a.Reason); err != nil {
		return ProvisionRecord{}, fmt.Errorf("amend %v: %w", r.f.Number, err)
	}
	f.Fact, f.Branch, f.RecordedAt, f.AmendmentReason = Amended, branch, a.At, a.Reason
	amended, err := New(f)
	if err != nil {
		return ProvisionRecord{}, fmt.Errorf("amend %v: %w", r.f.Number, err)
	}
	if same(r.f, amended.f) {
		return ProvisionRecord{}, fmt.Errorf("amend %v: %w", r.f.Number, ErrUnchanged)
	}
	return amended, nil
}

func (c Changes) apply(f *Fields) {
	set(&f.Affair, c.Affair)
	set(&f.Procedure, c.Procedure)
	set(&f.Information, c.Information)
	set(&f.Inquirer.Name, c.InquirerName)
	set(&f.Provider.Name, c.ProviderName)
	set(&f.Department, c.Department)
	set(&f.ProvidedAt, c.ProvidedAt)
	set(&f.RequestNonDisclosed, c.RequestNonDisclosed)
	set(&f.ProvisionNonDisclosed, c.ProvisionNonDisclosed)
	if c.Items != nil {
		f.Items = slices.Clone(c.Items)
	}
}

func set[T any](field, to *T) {
	if to != nil {
		*field = *to
	}
}

// reasonOf gives the reason that may stand for a change from one content to another.
func reasonOf(from, to Fields, reason string) (string, error) {
	lifts := from.RequestNonDisclosed && !to.RequestNonDisclosed ||
		from.ProvisionNonDisclosed && !to.ProvisionNonDisclosed
	if !lifts {
		if reason == LiftReason {
			return "", fmt.Errorf("%w: %s is the reason of lifting a non-disclosure only", ErrInvalid, LiftReason)
		}
		return reason, nil
	}
	if reason != "" && reason != LiftReason {
		return "", fmt.Errorf("%w: a non-disclosure is lifted for no other reason than %s", ErrInvalid, LiftReason)
	}
	raised := !from.RequestNonDisclosed && to.RequestNonDisclosed ||
		!from.ProvisionNonDisclosed && to.ProvisionNonDisclosed
	from.RequestNonDisclosed, from.ProvisionNonDisclosed = to.RequestNonDisclosed, to.ProvisionNonDisclosed
	if raised || !same(from, to) {
		return "", fmt.Errorf("%w: lifting a non-disclosure changes nothing else; make another amendment for the rest", ErrInvalid)
	}
	return LiftReason, nil
}

// same reports whether two records say the same, whatever branch they stand on.
func same(a, b Fields) bool {
	return a.Affair == b.Affair && a.Procedure == b.Procedure && a.Information == b.Information &&
		a.Inquirer == b.Inquirer && a.Provider == b.Provider && a.Department == b.Department &&
		a.ProvidedAt.Equal(b.ProvidedAt) && slices.Equal(a.Items, b.Items) &&
		a.RequestNonDisclosed == b.RequestNonDisclosed && a.ProvisionNonDisclosed == b.ProvisionNonDisclosed
}
