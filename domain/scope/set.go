// Package scope decides whether the law lets one agency ask another for
// information: the tuple inquirer × affair × provider × information against
// dated rules (Act 19(8) and 19(9)), and whether a missing assessment bars a
// file (Act 21(2), 28). It promises that a Set never changes, that equal sets
// have equal hashes wherever they were made, and that one tuple and day always
// has one answer, which names the rule that gave it.
package scope

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"iter"
	"slices"
	"strings"

	"kiroku/domain/agency"
	"kiroku/domain/calendar"
)

// MaxRules is how many rules a set may hold.
const MaxRules = 100_000

// Hash names a rule set: SHA-256 of its canonical encoding.
type Hash [sha256.Size]byte

// Set is an immutable set of rules without two that contradict each other. The
// zero Set is empty and permits nothing; it has a hash like any other.
type Set struct{ *index }

type index struct {
	rules []Rule // in the order in which they are preferred
	names map[string]uint32
	by    map[key][]uint32 // positions in rules, ascending
	hash  Hash
}

// key is a tuple of interned names: one small map look-up for each pair of classes.
type key struct{ inquirer, affair, provider, information uint32 }

// NewSet builds a set. The line of a Problem is the position in rules plus 1.
func NewSet(rules []Rule) (Set, []Problem) {
	var p problems
	c := newCollection(&p)
	for i, r := range rules {
		c.add(i+1, r)
	}
	if len(p.list) > 0 {
		return Set{}, p.list
	}
	return Set{build(c.rules)}, nil
}

// build takes rules that were checked against each other.
func build(rules []Rule) *index {
	x := &index{
		rules: slices.Clone(rules),
		names: make(map[string]uint32),
		by:    make(map[key][]uint32, len(rules)),
		hash:  hashOf(rules),
	}
	slices.SortFunc(x.rules, preferred)
	for i, r := range x.rules {
		k := key{x.intern(r.InquirerClass.String()), x.intern(r.Affair), x.intern(r.ProviderClass.String()), x.intern(r.Information)}
		x.by[k] = append(x.by[k], uint32(i))
	}
	return x
}

func (x *index) intern(s string) uint32 {
	n, ok := x.names[s]
	if !ok {
		n = uint32(len(x.names))
		x.names[s] = n
	}
	return n
}

// preferred orders rules: the statute before by-laws, then by id. Ids are
// unique, so no two rules are equal.
func preferred(a, b Rule) int {
	if a.Basis.kind != b.Basis.kind {
		return int(a.Basis.kind) - int(b.Basis.kind)
	}
	return strings.Compare(a.ID, b.ID)
}

// hashContext keeps the hash of a rule set apart from every other hash.
const hashContext = "kiroku/scope-rules/1"

// hashOf is SHA-256 over hashContext and the rules in the order of their ids,
// each as its eight columns of Row in order; every text is preceded by its
// length in bytes and the rules by their count, as 32 bits big-endian.
func hashOf(rules []Rule) (h Hash) {
	byID := slices.Clone(rules)
	slices.SortFunc(byID, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) })
	d := sha256.New()
	writeText(d, hashContext)
	writeNumber(d, len(byID))
	for _, r := range byID {
		for _, cell := range r.Row().cells() {
			writeText(d, cell)
		}
	}
	d.Sum(h[:0])
	return h
}

func writeNumber(d hash.Hash, n int) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n))
	d.Write(b[:])
}

func writeText(d hash.Hash, s string) {
	writeNumber(d, len(s))
	d.Write([]byte(s))
}

// Len gives the number of rules.
func (s Set) Len() int {
	if s.index == nil {
		return 0
	}
	return len(s.rules)
}

var emptyHash = hashOf(nil)

// Hash gives the hash of the canonical encoding. It does not depend on the
// order in which the rules were given, nor on how a file was quoted.
func (s Set) Hash() Hash {
	if s.index == nil {
		return emptyHash
	}
	return s.hash
}

// All gives the rules in the order in which they are preferred.
func (s Set) All() iter.Seq[Rule] {
	return func(yield func(Rule) bool) {
		for i := range s.Len() {
			if !yield(s.rules[i]) {
				return
			}
		}
	}
}

// Tuple is what an inquiry asks to be permitted.
type Tuple struct {
	InquirerClasses []agency.Class
	Affair          string // normalisation form C, as in a Rule
	ProviderClasses []agency.Class
	Information     string
	Consent         bool // the inquirer declares the person's consent to local tax information being given
}

// Verdict is the answer of a rule set.
type Verdict uint8

// The verdicts. The zero value permits nothing.
const (
	OutOfScope     Verdict = iota // no rule in force on that day covers the tuple
	ConsentMissing                // only rules that need the person's consent cover it, and none was declared
	Permitted
)

// Decide answers for one day (JST). Where several rules permit, because an
// agency holds several classes, the one named is the first in the order of
// All: the statute before a by-law, then the smaller id by its bytes. For
// ConsentMissing the rule named is the one that would permit. The cost is two
// map look-ups and one more for each pair of classes, whatever the set's size.
func (s Set) Decide(t Tuple, day calendar.Day) (Rule, Verdict) {
	if s.index == nil {
		return Rule{}, OutOfScope
	}
	affair, known := s.names[t.Affair]
	if !known {
		return Rule{}, OutOfScope
	}
	information, known := s.names[t.Information]
	if !known {
		return Rule{}, OutOfScope
	}
	var best choice
	for _, i := range t.InquirerClasses {
		inquirer, ok := s.names[i.String()]
		if !ok {
			continue
		}
		for _, p := range t.ProviderClasses {
			if provider, ok := s.names[p.String()]; ok {
				s.consider(&best, key{inquirer, affair, provider, information}, t.Consent, day)
			}
		}
	}
	if best.verdict == OutOfScope {
		return Rule{}, OutOfScope
	}
	return s.rules[best.position], best.verdict
}

// choice is the best rule seen so far.
type choice struct {
	position uint32
	verdict  Verdict
}

func (x *index) consider(best *choice, k key, consent bool, day calendar.Day) {
	for _, position := range x.by[k] {
		if !x.rules[position].Holds(day) {
			continue
		}
		v := Permitted
		if x.rules[position].NeedsConsent() && !consent {
			v = ConsentMissing
		}
		if v > best.verdict || v == best.verdict && position < best.position {
			*best = choice{position, v}
		}
	}
}
