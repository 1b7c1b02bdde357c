// Package record holds the provision record (情報提供等記録, Act 23, 別添2 of the
// assessment): what is recorded of each inquiry and each provision, how it is
// amended, and what of it a person and the commission are shown. It promises
// that a record is never changed, only followed by a new branch, and that what
// is withheld from a person (Act 23(2)) leaves no trace in what they are shown.
package record

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"kiroku/domain/agency"
	"kiroku/domain/inquiry"
	"kiroku/domain/scope"
	"kiroku/domain/symbol"
	"kiroku/domain/text"
)

// MaxAmendmentReason bounds an amendment reason, in characters.
const MaxAmendmentReason = 500

// ErrInvalid is wrapped by every error that says a record is not acceptable.
var ErrInvalid = errors.New("invalid provision record")

// Fact is what a record was made on. Every fact repeats all fields of the
// record, so that a fact destroyed after its seven years maims no later one.
type Fact uint8

// The facts. Requested and Refused open branch 000, Amended opens every other;
// an answer or a lapse stands on the branch that it follows and repeats its
// amendment reason.
const (
	Requested   Fact = iota + 1 // the inquiry was mediated
	Refused                     // the inquiry was refused
	Provided                    // the provider gave the information
	NotProvided                 // the provider had no such information, or could not give it
	Lapsed                      // no answer within the validity
	Amended                     // a field was corrected
)

var factNames = map[Fact]string{
	Requested: "requested", Refused: "refused", Provided: "provided",
	NotProvided: "not-provided", Lapsed: "lapsed", Amended: "amended",
}

// String gives the stable name, such as "not-provided".
func (f Fact) String() string {
	if n, ok := factNames[f]; ok {
		return n
	}
	return fmt.Sprintf("fact %d", uint8(f))
}

// FactOf gives the fact that an inquiry's new state makes.
func FactOf(s inquiry.State) (Fact, bool) {
	f, ok := map[inquiry.State]Fact{
		inquiry.Notified: Requested, inquiry.Refused: Refused, inquiry.Provided: Provided,
		inquiry.NoSuchInformation: NotProvided, inquiry.CannotProvide: NotProvided, inquiry.Lapsed: Lapsed,
	}[s]
	return f, ok
}

// Party is an agency as the record names it: by the name it had then.
type Party struct {
	Code agency.Code
	Name agency.Name // zero only for an agency that is not registered
}

// Fields are those of 別添2, with the fact and the time they were recorded.
type Fields struct {
	Fact       Fact
	RecordedAt time.Time

	Symbol                symbol.Record            // 情報提供等記録用符号; zero where the symbol asked with names nobody
	Number                inquiry.ProcessingNumber // 処理通番
	Branch                inquiry.BranchNumber     // 処理通番の枝番
	Affair                string                   // 事務名
	Procedure             string                   // 事務手続
	Inquirer              Party                    // 情報照会者の名称
	Department            agency.Department        // 情報照会者の部署名
	Provider              Party                    // 情報提供者の名称
	RequestedAt           time.Time                // 提供の求めの日時
	ProvidedAt            time.Time                // 提供の日時; zero: not provided
	Information           string                   // 特定個人情報名
	Items                 []string                 // 特定個人情報の項目: those provided, before that those asked for
	RequestNonDisclosed   bool                     // 不開示情報に該当する旨: the request, Act 23(2)
	ProvisionNonDisclosed bool                     // 不開示情報に該当する旨: the provision
	AmendmentReason       string                   // 記録事項変更事由; "" but on an amendment
	Article21             bool                     // 番号法21条第2項各号に該当する旨
}

// ProvisionRecord is a record that was checked. It is immutable.
type ProvisionRecord struct{ f Fields }

// New checks f, normalises its texts and takes its times to microseconds in
// UTC. Every error wraps ErrInvalid.
func New(f Fields) (ProvisionRecord, error) {
	f.RecordedAt, f.RequestedAt, f.ProvidedAt = moment(f.RecordedAt), moment(f.RequestedAt), moment(f.ProvidedAt)
	for _, check := range []func(*Fields) error{identity, wording, times, flags} {
		if err := check(&f); err != nil {
			return ProvisionRecord{}, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return ProvisionRecord{f}, nil
}

func moment(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

func identity(f *Fields) error {
	switch {
	case factNames[f.Fact] == "":
		return fmt.Errorf("%v is none", f.Fact)
	case f.Number.IsZero():
		return errors.New("no processing number")
	case f.Branch > inquiry.MaxBranch:
		return fmt.Errorf("branch number %d, the limit is %d", f.Branch, inquiry.MaxBranch)
	case f.Branch == 0 && f.Fact == Amended:
		return errors.New("an amendment on branch 000, which is the inquiry's own")
	case f.Branch > 0 && f.opens() && f.Fact != Amended:
		return fmt.Errorf("%v, on a branch other than 000", f.Fact)
	case f.Inquirer.Code.IsZero() || f.Provider.Code.IsZero():
		return errors.New("inquirer or provider has no agency code")
	case f.Department.IsZero():
		return errors.New("no department of the inquirer")
	case f.Fact != Refused && f.Fact != Amended && (f.Inquirer.Name.IsZero() || f.Provider.Name.IsZero()):
		return errors.New("inquirer or provider has no name")
	}
	return nil
}

func wording(f *Fields) (err error) {
	if f.Affair, err = text.Line("affair", f.Affair, scope.MaxAffair); err != nil {
		return err
	}
	if f.Procedure, err = text.Line("procedure", f.Procedure, inquiry.MaxProcedure); err != nil {
		return err
	}
	if f.Information, err = text.Line("information name", f.Information, scope.MaxInformation); err != nil {
		return err
	}
	if f.AmendmentReason, err = text.OptionalLine("amendment reason", f.AmendmentReason, MaxAmendmentReason); err != nil {
		return err
	}
	f.Items, err = inquiry.NewItems(f.Items)
	return err
}

func times(f *Fields) error {
	switch {
	case f.RequestedAt.IsZero() || f.RecordedAt.IsZero():
		return errors.New("no time of request or of recording")
	case f.RecordedAt.Before(f.RequestedAt):
		return errors.New("recorded before it was requested")
	case f.Fact == Provided && f.ProvidedAt.IsZero():
		return errors.New("provided, without a time of provision")
	case f.Fact != Provided && f.Fact != Amended && !f.ProvidedAt.IsZero():
		return fmt.Errorf("%v, with a time of provision", f.Fact)
	case !f.ProvidedAt.IsZero() && f.ProvidedAt.Before(f.RequestedAt.Add(-inquiry.MaxSkew)):
		return errors.New("provided before it was requested")
	}
	return nil
}

func flags(f *Fields) error {
	switch {
	case f.Branch > 0 && f.AmendmentReason == "":
		return errors.New("a branch other than 000 has no amendment reason")
	case f.Branch == 0 && f.AmendmentReason != "":
		return errors.New("branch 000 has an amendment reason")
	case f.ProvisionNonDisclosed && (f.Fact == Requested || f.Fact == Refused || f.Fact == Lapsed):
		return fmt.Errorf("%v, with the provision withheld", f.Fact)
	case f.Article21 && !f.ProvidedAt.IsZero():
		return errors.New("falls under Act 21(2), yet provided")
	case f.Article21 && f.Fact != Refused && f.Fact != Amended:
		return fmt.Errorf("falls under Act 21(2), yet %v", f.Fact)
	}
	return nil
}

// Fields gives a copy of everything, for storing and for New.
func (r ProvisionRecord) Fields() Fields {
	f := r.f
	f.Items = slices.Clone(f.Items)
	return f
}

// Number gives the processing number.
func (r ProvisionRecord) Number() inquiry.ProcessingNumber { return r.f.Number }

// Branch gives the branch number.
func (r ProvisionRecord) Branch() inquiry.BranchNumber { return r.f.Branch }

// Fact gives what the record was made on.
func (r ProvisionRecord) Fact() Fact { return r.f.Fact }

// Symbol gives the record symbol, which prints as redacted.
func (r ProvisionRecord) Symbol() symbol.Record { return r.f.Symbol }

// IsProvided reports whether the record says that information was given.
func (r ProvisionRecord) IsProvided() bool { return !r.f.ProvidedAt.IsZero() }

// IsZero reports whether r is no record.
func (r ProvisionRecord) IsZero() bool { return r.f.Number.IsZero() }

// opens reports whether the fact is the first of its branch.
func (f *Fields) opens() bool {
	return f.Fact == Requested || f.Fact == Refused || f.Fact == Amended
}

// follow orders the records of one inquiry as they came about: by branch, in a
// branch what opened it before its answer or lapse.
func follow(a, b ProvisionRecord) int {
	if a.f.Branch != b.f.Branch {
		return int(a.f.Branch) - int(b.f.Branch)
	}
	if x, y := a.f.opens(), b.f.opens(); x != y {
		if x {
			return -1
		}
		return 1
	}
	if c := a.f.RecordedAt.Compare(b.f.RecordedAt); c != 0 {
		return c
	}
	return int(a.f.Fact) - int(b.f.Fact)
}
