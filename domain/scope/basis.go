package scope

import (
	"fmt"
	"strings"
	"time"

	"kiroku/domain/calendar"
)

// Kind is the legal ground on which a rule permits an exchange.
type Kind uint8

// The kinds, in the order in which they are preferred where several rules
// permit the same exchange: the statute before a by-law.
const (
	// Statutory is Act 19(8) (番号法19条8号): the table of the scope order.
	Statutory Kind = iota + 1
	// ByLaw is Act 19(9) (番号法19条9号): an affair under a municipality's or a
	// prefecture's own by-law (条例事務), filed with and published by the
	// commission.
	ByLaw
)

// String gives the stable name, "statutory" or "by-law".
func (k Kind) String() string {
	switch k {
	case Statutory:
		return "statutory"
	case ByLaw:
		return "by-law"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Term gives the term an official would use.
func (k Kind) Term() string {
	switch k {
	case Statutory:
		return "番号法第19条第8号"
	case ByLaw:
		return "番号法第19条第9号（条例事務）"
	}
	return ""
}

// MaxBasis bounds a legal basis, in characters.
const MaxBasis = 200

// Basis is the legal basis of a rule: the item of Act 19 and, after ・, the
// place in it, for instance 番号法19条8号・主務省令2条の表1の項. For a by-law affair
// the place is its filing number and the day the commission published it:
// 番号法19条9号・届出13101-2024-3・公表2024-06-01.
type Basis struct {
	text      string
	kind      Kind
	from, to  calendar.Day // in which this numbering of the Act holds; zero to: still
	published calendar.Day // by-law only
}

// numberings lists how the Act numbered the two items, and when. The items
// were the seventh and the eighth until 31 August 2021 (令和3年法律第37号).
var numberings = []struct {
	prefix   string
	kind     Kind
	from, to calendar.Day
}{
	{"番号法19条8号", Statutory, calendar.Of(2021, time.September, 1), calendar.Day{}},
	{"番号法19条9号", ByLaw, calendar.Of(2021, time.September, 1), calendar.Day{}},
}

const separator = "・"

// ParseBasis reads a legal basis.
func ParseBasis(s string) (Basis, error) {
	s, err := line("legal basis", s, MaxBasis)
	if err != nil {
		return Basis{}, err
	}
	head, place, _ := strings.Cut(s, separator)
	for _, n := range numberings {
		if n.prefix != head {
			continue
		}
		return Basis{text: s, kind: n.kind, from: n.from, to: n.to}.withPlace(place)
	}
	return Basis{}, fmt.Errorf("%w: legal basis begins neither with 番号法19条8号 (the scope order's table) nor with 番号法19条9号 (a by-law affair)", ErrInvalid)
}

func (b Basis) withPlace(place string) (Basis, error) {
	if b.kind == Statutory {
		if place == "" {
			return Basis{}, fmt.Errorf("%w: legal basis does not say where; add the article and row, such as ・主務省令2条の表1の項", ErrInvalid)
		}
		return b, nil
	}
	filing, published, _ := strings.Cut(place, separator)
	number, filed := strings.CutPrefix(filing, "届出")
	day, shown := strings.CutPrefix(published, "公表")
	if !filed || number == "" || !shown {
		return Basis{}, fmt.Errorf("%w: a by-law affair needs its filing number and the day the commission published it: 番号法19条9号・届出NUMBER・公表YYYY-MM-DD", ErrInvalid)
	}
	var err error
	if b.published, err = calendar.Parse(day); err != nil {
		return Basis{}, fmt.Errorf("%w: day of publication of the by-law affair: %w", ErrInvalid, err)
	}
	return b, nil
}

// Kind tells the item of the Act.
func (b Basis) Kind() Kind { return b.kind }

// String gives the basis as written.
func (b Basis) String() string { return b.text }

// covers says why a rule of these days cannot rest on b, or "".
func (b Basis) covers(from, to calendar.Day) string {
	switch {
	case from.Before(b.from):
		return fmt.Sprintf("the Act numbers this item so only from %s on; a rule on it cannot hold earlier", b.from)
	case !b.to.IsZero() && (to.IsZero() || b.to.Before(to)):
		return fmt.Sprintf("the Act numbered this item so only until %s; a rule on it cannot hold longer", b.to)
	case b.kind == ByLaw && from.Before(b.published):
		return fmt.Sprintf("the commission published this by-law affair on %s; the rule cannot hold earlier", b.published)
	}
	return ""
}

// LocalTax is the name by which local tax information is exchanged. A by-law
// rule for it permits nothing without the person's consent, because Act 19(9)
// does not lift the secrecy of local tax officials (地方税法22条).
const LocalTax = "地方税関係情報"

// hiddenTax names words that make information local tax information in
// substance. A by-law rule must then name it as LocalTax, or consent would not
// be asked for.
var hiddenTax = []string{"税", "所得"}

func needsConsent(k Kind, information string) bool {
	return k == ByLaw && strings.Contains(information, LocalTax)
}

func evadesConsent(k Kind, information string) bool {
	if k != ByLaw || strings.Contains(information, LocalTax) {
		return false
	}
	for _, w := range hiddenTax {
		if strings.Contains(information, w) {
			return true
		}
	}
	return false
}
