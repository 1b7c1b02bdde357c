package approval

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"kiroku/domain/event"
)

// DevelopmentUnit is the organisational unit by which an authority for development is known. Such an authority certifies
// people who do not exist: a core in production refuses it.
const DevelopmentUnit = "development, not for production"

const (
	// LeastValid is for how long an authority of a set must be valid still when that is proposed, and when it comes into
	// force: afterwards nobody could approve the change to another.
	LeastValid = 30 * 24 * time.Hour
	// EndingWithin is how long before the last authority ends that is an alarm.
	EndingWithin = 90 * 24 * time.Hour
)

// Errors of sets of authorities. The set in force stays as it is.
var (
	ErrEnding        = errors.New("no authority of the set is valid now and for 30 days more: soon nobody could approve anything, not even another set")
	ErrDevelopment   = errors.New("an authority for development does not count here; only with a development token, or with officials.allow_development=true, does it")
	ErrAuthorities   = errors.New("not a set of authorities that can be in force")
	ErrNotInForce    = errors.New("the set of authorities that this would replace is not in force (any more); propose the change anew")
	ErrSameSet       = errors.New("this set of authorities is in force already")
	ErrNobodyShown   = errors.New("certificates of two different officials whom the new authorities certify must be shown: otherwise it may be that nobody could approve anything under them")
	ErrSetUnapproved = errors.New("two officials of the set before did not approve the change of the authorities")
)

// Set names authorities by the SHA-256 of their certificates, rising, none twice.
type Set [][sha256.Size]byte

// Has reports whether an authority, by its SHA-256, is in the set.
func (s Set) Has(authority []byte) bool {
	return slices.ContainsFunc(s, func(a [sha256.Size]byte) bool { return bytes.Equal(a[:], authority) })
}

// Hash names the set as a whole: SHA-256("kiroku/authorities/1" ‖ members in order).
func (s Set) Hash() []byte {
	all := []byte("kiroku/authorities/1")
	for _, a := range s {
		all = append(all, a[:]...)
	}
	sum := sha256.Sum256(all)
	return sum[:]
}

// NewOfficials makes the authorities of a set as the registry has it: certificates in DER, rising by their SHA-256.
func NewOfficials(ders [][]byte) (Officials, error) {
	o, err := officialsOf(ders)
	if err != nil {
		return Officials{}, fmt.Errorf("%w: %w", ErrAuthorities, err)
	}
	if len(ders) == 0 || len(o.roots) != len(ders) || !slices.EqualFunc(o.Certificates(), ders, bytes.Equal) {
		return Officials{}, fmt.Errorf("%w: it is empty, or not in order", ErrAuthorities)
	}
	return o, nil
}

// sorted puts the roots into the order of a set, each once.
func (o Officials) sorted() Officials {
	order := func(a, b *x509.Certificate) int {
		x, y := sha256.Sum256(a.Raw), sha256.Sum256(b.Raw)
		return bytes.Compare(x[:], y[:])
	}
	roots := slices.SortedFunc(slices.Values(o.roots), order)
	return Officials{roots: slices.CompactFunc(roots, func(a, b *x509.Certificate) bool { return a.Equal(b) })}
}

// Certificates returns the authorities' certificates, DER, in the order of a set.
func (o Officials) Certificates() [][]byte {
	var ders [][]byte
	for _, c := range o.sorted().roots {
		ders = append(ders, c.Raw)
	}
	return ders
}

// Set names the authorities.
func (o Officials) Set() Set { return setOf(o.Certificates()) }

func setOf(ders [][]byte) Set {
	var s Set
	for _, der := range ders {
		s = append(s, sha256.Sum256(der))
	}
	return s
}

// Lasts refuses a set of which no authority is valid at a time and for LeastValid after it; the error names the one that
// ends last, by the SHA-256 of its certificate. Error: ErrEnding.
func (o Officials) Lasts(at time.Time) error {
	for _, c := range o.roots {
		if !at.Before(c.NotBefore) && !at.Add(LeastValid).After(c.NotAfter) {
			return nil
		}
	}
	last, any := o.last()
	if !any {
		return fmt.Errorf("%w: there is none", ErrEnding)
	}
	return fmt.Errorf("%w: the one that ends last, %x, is valid from %s to %s", ErrEnding, sha256.Sum256(last.Raw),
		last.NotBefore.UTC().Format(time.RFC3339), last.NotAfter.UTC().Format(time.RFC3339))
}

// End returns when the last of the authorities ends: from then on nobody can approve anything. It is zero if there is none.
func (o Officials) End() time.Time {
	last, any := o.last()
	if !any {
		return time.Time{}
	}
	return last.NotAfter.UTC()
}

func (o Officials) last() (*x509.Certificate, bool) {
	if len(o.roots) == 0 {
		return nil, false
	}
	return slices.MaxFunc(o.roots, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }), true
}

// Development reports whether any of the authorities is one for development.
func (o Officials) Development() bool { return slices.ContainsFunc(o.roots, IsDevelopment) }

// Production returns those that are not for development.
func (o Officials) Production() Officials {
	return Officials{roots: slices.DeleteFunc(slices.Clone(o.roots), IsDevelopment)}
}

// IsDevelopment reports whether an authority's certificate says that it is one for development.
func IsDevelopment(c *x509.Certificate) bool {
	return slices.Contains(c.Subject.OrganizationalUnit, DevelopmentUnit)
}

// Term is a set of authorities with the time from which it is in force.
type Term struct {
	Revision uint64 // of authorities-set in the registry
	Fact     event.AuthoritiesSet
	Set      Set
}

// TermOf makes a term of a fact that took effect. Error: ErrAuthorities.
func TermOf(fact event.AuthoritiesSet, revision uint64) (Term, error) {
	o, err := NewOfficials(fact.Authorities)
	return Term{Revision: revision, Fact: fact, Set: o.Set()}, err
}

// Terms says which authorities are in force when, in the order of the registry. The zero Terms has none.
type Terms []Term

// Last returns the set in force, and false if there is none.
func (t Terms) Last() (Term, bool) {
	if len(t) == 0 {
		return Term{}, false
	}
	return t[len(t)-1], true
}

// At returns the set in force at a time, in microseconds since 1970-01-01 UTC; none before the first.
func (t Terms) At(micros int64) Set {
	for _, term := range slices.Backward(t) {
		if term.Fact.At <= micros {
			return term.Set
		}
	}
	return nil
}

// Next returns the terms with one more. The first set is taken as it is; each later one only if two officials of the set
// before it approved it, in a proposal that was made after that came into force, and if an authority of it lasts: by is the
// proposal that the fact names, nil if there is no such. Errors: ErrAuthorities, ErrNotInForce, ErrSetUnapproved, ErrEnding.
func (t Terms) Next(fact event.AuthoritiesSet, revision uint64, by *Standing) (Terms, error) {
	o, err := NewOfficials(fact.Authorities)
	if err != nil {
		return t, err
	}
	if _, any := t.Last(); any {
		if by == nil || by.Revision >= revision || !slices.EqualFunc(by.Made.Authorities, fact.Authorities, bytes.Equal) {
			return t, ErrSetUnapproved
		}
		s := *by
		s.Terms = t
		if err := errors.Join(s.Replaces(), o.Lasts(time.UnixMicro(fact.At))); err != nil {
			return t, err
		}
	}
	return append(slices.Clip(t), Term{Revision: revision, Fact: fact, Set: o.Set()}), nil
}

// Timely says whether a proposal to change the authorities can still do so: it was made to replace the set that is in force,
// and since that came into force. So none does it twice, nor when the set before is in force again: whoever approved it
// meant the change that was to be made then. Error: ErrNotInForce. A proposal of another kind is timely.
func (s Standing) Timely() error {
	if s.Made.Kind != event.ProposalAuthorities {
		return nil
	}
	last, any := s.Terms.Last()
	used := slices.ContainsFunc(s.Terms, func(t Term) bool { return bytes.Equal(t.Fact.Proposal, s.Hash[:]) })
	if !any || used || s.Revision <= last.Revision || !bytes.Equal(s.Made.Replaces, last.Set.Hash()) {
		return fmt.Errorf("proposal %s: %w", s.Hash, ErrNotInForce)
	}
	return nil
}

// Replaces says whether a proposal to change the authorities is approved, by officials of the set that it names and that is
// in force still. Errors: ErrSetUnapproved, ErrNotInForce.
func (s Standing) Replaces() error {
	if s.Made.Kind != event.ProposalAuthorities || !s.Approved() {
		return fmt.Errorf("proposal %s: %w", s.Hash, ErrSetUnapproved)
	}
	if err := s.Timely(); err != nil {
		return err
	}
	last, _ := s.Terms.Last()
	of := slices.DeleteFunc(s.Counting(), func(a event.ProposalApproved) bool { return !last.Set.Has(a.Authority) })
	if len(of) < Needed { // by a clock that stood before the set came into force
		return fmt.Errorf("proposal %s: %w", s.Hash, ErrSetUnapproved)
	}
	return nil
}
