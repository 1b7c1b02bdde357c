package retention

import (
	"errors"
	"fmt"
	"slices"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
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

// Since returns the revision from which a name has been in force without a break, and false if it is not. A name that was
// removed and declared again is another copy: what officials decided of it before says nothing of that.
func (c Copies) Since(name string) (revision uint64, inForce bool) {
	for _, term := range slices.Backward(c) {
		if !slices.Contains(term.Fact.Copies, name) {
			break
		}
		revision, inForce = term.Revision, true
	}
	return revision, inForce
}

// Removes reports whether two officials approved that a copy which is in force is one no more, in a proposal that was made
// since it was declared, and that did not remove it before.
func (c Copies) Removes(by *approval.Standing) bool {
	if by == nil || by.Made.Kind != event.ProposalCopyRemoval {
		return false
	}
	since, inForce := c.Since(by.Made.Copy)
	return inForce && by.Revision > since && !c.CarriedOut(by.Hash) && by.Approved()
}

// Concerns reports whether a proposal, approved or not, is to attest a day for a copy, and was made since that was last
// declared.
func (c Copies) Concerns(by *approval.Standing, name string, day calendar.Day) bool {
	if by == nil || by.Made.Kind != event.ProposalAttestation || by.Made.Copy != name || by.Made.From > day.String() || day.String() > by.Made.To {
		return false
	}
	since, inForce := c.Since(name)
	return !inForce || by.Revision > since
}

// Attested reports whether two officials attest a day for a copy, in a proposal that Concerns it.
func (c Copies) Attested(by *approval.Standing, name string, day calendar.Day) bool {
	return c.Concerns(by, name, day) && by.Approved()
}

// CarriedOut reports whether a removal that officials approved was carried out.
func (c Copies) CarriedOut(proposal approval.Hash) bool {
	return slices.ContainsFunc(c, func(t CopiesTerm) bool { return string(t.Fact.Proposal) == string(proposal[:]) })
}

// Next returns the lists with one more. Whoever runs the core may add names; a name may be left out only if two officials
// approved its removal, as Removes says: by is the proposal that the fact names, nil if there is no such (ErrCopies).
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
		if !c.Removes(by) || by.Made.Copy != name || by.Revision >= revision {
			return c, fmt.Errorf("%w: two officials did not approve that %q is left out", ErrCopies, name)
		}
	}
	return append(slices.Clip(c), CopiesTerm{revision, fact}), nil
}
