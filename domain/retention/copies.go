package retention

import (
	"errors"
	"fmt"
	"slices"

	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// ErrCopies is wrapped by every error of Copies.Next.
var ErrCopies = errors.New("not a list of the copies of the HSM's keys that can follow the one before")

// CopiesTerm is a list of copies with the place from which it is in force.
type CopiesTerm struct {
	Revision uint64 // of copies-declared in the registry
	Fact     event.CopiesDeclared
}

// Copies says which copies of the HSM's keys (backups, replicas) there are when, in the order of the registry.
type Copies []CopiesTerm

// InForce returns the names of the copies that there are now, sorted.
func (c Copies) InForce() []string {
	if len(c) == 0 {
		return nil
	}
	return c[len(c)-1].Fact.Copies
}

// Ever returns every name that was ever in a list, sorted.
func (c Copies) Ever() []string { return union(c) }

// Of returns the names that may hold the key of a day that was destroyed at a revision of the registry, sorted: those in
// force then, and those that were declared since. A name that was removed before is not among them; one that was removed
// since is, because the copy was there when the key was destroyed in the HSM.
func (c Copies) Of(destroyed uint64) []string {
	from := 0
	for i, term := range c {
		if term.Revision < destroyed {
			from = i
		}
	}
	return union(c[from:])
}

func union(terms Copies) (names []string) {
	for _, term := range terms {
		names = append(names, term.Fact.Copies...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// CarriedOut reports whether a removal that officials approved was carried out.
func (c Copies) CarriedOut(proposal approval.Hash) bool {
	return slices.ContainsFunc(c, func(t CopiesTerm) bool { return string(t.Fact.Proposal) == string(proposal[:]) })
}

// Next returns the lists with one more. Whoever runs the core may add names; a name may be left out only if two officials
// approved its removal: by is the proposal that the fact names, nil if there is no such (ErrCopies).
func (c Copies) Next(fact event.CopiesDeclared, revision uint64, by *approval.Standing) (Copies, error) {
	names := slices.Clone(fact.Copies)
	slices.Sort(names)
	if !slices.Equal(slices.Compact(names), fact.Copies) {
		return c, fmt.Errorf("%w: it is not sorted", ErrCopies)
	}
	for _, name := range c.InForce() {
		if slices.Contains(fact.Copies, name) {
			continue
		}
		if by == nil || by.Made.Kind != event.ProposalCopyRemoval || by.Made.Copy != name || c.CarriedOut(by.Hash) || !by.Approved() {
			return c, fmt.Errorf("%w: two officials did not approve that %q is left out", ErrCopies, name)
		}
	}
	return append(slices.Clip(c), CopiesTerm{revision, fact}), nil
}
