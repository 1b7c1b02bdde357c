package inquiry

import (
	"fmt"
	"time"

	"kiroku/domain/calendar"
)

// Reason says why an inquiry was refused. The zero Reason is none.
type Reason uint8

// The reasons, in their order of precedence: where several apply, the inquirer
// is told the first, and only that. The order goes from what concerns the
// asking organisation, over what the law says of the exchange, to what concerns
// the person, so that no inquirer learns whether a person is known, or known to
// a provider, through an exchange that was never permitted.
const (
	UnknownInquirer     Reason = iota + 1 // the inquirer is not a registered agency
	SuspendedInquirer                     // the inquirer is suspended
	UnknownProvider                       // the provider is not a registered agency
	SuspendedProvider                     // the provider is suspended
	OutOfScope                            // no rule permits the exchange (Act 21(2) item 1)
	ConsentMissing                        // a by-law rule permits it with the person's consent only, and none was declared
	InquirerViolation                     // PIA violation of the inquirer's file (Act 21(2) item 2, 28)
	ProviderViolation                     // PIA violation of the provider's file
	UnknownPerson                         // the inquirer's symbol names no registered person
	ProviderHasNoSymbol                   // the provider was not issued this person's symbol (Order 26(1), (2))
)

type reasonRow struct {
	code, term, explanation string
	article21               bool
	from, to                calendar.Day // days on which the reason may be given; zero to: until further notice
}

// introduced is the day the exchange itself began (情報連携の試行運用).
var introduced = calendar.Of(2017, time.July, 18)

// byLawSince is the day from which by-law affairs rest on Act 19(9).
var byLawSince = calendar.Of(2021, time.September, 1)

var reasons = map[Reason]reasonRow{
	UnknownInquirer:     {"unknown-inquirer", "未登録の情報照会者", "the inquirer is not a registered agency", false, introduced, calendar.Day{}},
	SuspendedInquirer:   {"suspended-inquirer", "情報照会者の利用停止", "the inquirer is suspended", false, introduced, calendar.Day{}},
	UnknownProvider:     {"unknown-provider", "未登録の情報提供者", "the provider is not a registered agency", false, introduced, calendar.Day{}},
	SuspendedProvider:   {"suspended-provider", "情報提供者の利用停止", "the provider is suspended", false, introduced, calendar.Day{}},
	OutOfScope:          {"out-of-scope", "提供制限（番号法第19条第8号及び第9号に該当しない求め）", "no rule in force permits this exchange", true, introduced, calendar.Day{}},
	ConsentMissing:      {"consent-missing", "地方税関係情報に係る本人の同意なし", "the by-law rule needs the person's consent to local tax information being given, and none was declared", true, byLawSince, calendar.Day{}},
	InquirerViolation:   {"pia-violation-inquirer", "特定個人情報保護評価違反（情報照会者のファイル）", "the assessment of the inquirer's file is missing or unpublished", true, introduced, calendar.Day{}},
	ProviderViolation:   {"pia-violation-provider", "特定個人情報保護評価違反（情報提供者のファイル）", "the assessment of the provider's file is missing or unpublished", true, introduced, calendar.Day{}},
	UnknownPerson:       {"unknown-person", "情報提供用個人識別符号に対応する者なし", "the symbol names no registered person", false, introduced, calendar.Day{}},
	ProviderHasNoSymbol: {"provider-has-no-symbol", "情報提供者における情報提供用個人識別符号の未取得", "the provider was not issued this person's symbol", false, introduced, calendar.Day{}},
}

// Reasons gives every reason in the order of precedence.
func Reasons() []Reason {
	out := make([]Reason, 0, len(reasons))
	for r := UnknownInquirer; r <= ProviderHasNoSymbol; r++ {
		out = append(out, r)
	}
	return out
}

// Code gives the stable code, such as "out-of-scope"; "" for none.
func (r Reason) Code() string { return reasons[r].code }

// Term gives the Japanese official term.
func (r Reason) Term() string { return reasons[r].term }

// Explanation gives the reason as an English clause.
func (r Reason) Explanation() string { return reasons[r].explanation }

func (r Reason) String() string {
	if r == 0 {
		return "no refusal"
	}
	if c := r.Code(); c != "" {
		return c
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Article21 reports whether an inquiry refused so falls under an item of Act
// 21(2), which its provision record has to say (別添2).
func (r Reason) Article21() bool { return reasons[r].article21 }

// ParseReason reads a code.
func ParseReason(code string) (Reason, error) {
	for r, row := range reasons {
		if row.code == code {
			return r, nil
		}
	}
	return 0, fmt.Errorf("%w: unknown refusal reason", ErrInvalid)
}

// MarshalText gives the code; no reason gives "".
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.Code()), nil }

// UnmarshalText is ParseReason; "" is no reason.
func (r *Reason) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*r = 0
		return nil
	}
	*r, err = ParseReason(string(b))
	return err
}

// Holds reports whether the law lets the reason be given on a day. A reason
// whose law has ended stays readable in old records and is given no more.
// Decide does not ask: a law that ends changes what Decide looks at, and an
// exchange is never let through because the reason against it has run out.
func (r Reason) Holds(day calendar.Day) bool {
	row, ok := reasons[r]
	return ok && !day.Before(row.from) && (row.to.IsZero() || !row.to.Before(day))
}
