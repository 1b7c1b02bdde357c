package approval

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"kiroku/domain/event"
)

// clockTolerance is how far the times of two streams may differ though one event came after the other.
const clockTolerance = 30 * time.Second

// Rotates reports whether two officials approved a rotation of the vault, whoever is deleted with it.
func (s *Standing) Rotates() bool { return s.decided(event.ProposalRotation) }

// Unapproved is something that a rotation of the vault did, or is about to do, without two officials' approval.
type Unapproved struct {
	Generation int    // that the rotation leads to
	Proposal   Hash   // that it names; zero where it is about none
	Why        string // names no person
}

// Error says all of it.
func (u Unapproved) Error() string {
	if u.Proposal == (Hash{}) {
		return fmt.Sprintf("vault generation %d: %s", u.Generation, u.Why)
	}
	return fmt.Sprintf("vault generation %d, proposal %s: %s", u.Generation, u.Proposal, u.Why)
}

// Rotations holds the rotations of the vault against what two officials approved. It needs the facts in the order of
// generations and no key: anybody can use it who has the registry, and the vault stream for what was deleted. The zero
// value has seen none.
type Rotations struct {
	opened  map[int]event.VaultOpened
	carried map[Hash]int // proposal → generation that carries it out
}

// Clone returns the same, to go on from apart.
func (r *Rotations) Clone() Rotations {
	return Rotations{opened: maps.Clone(r.opened), carried: maps.Clone(r.carried)}
}

// Opened takes in a vault-opened of a time, and names what of it is not approved: each proposal must be a deletion, or a
// rotation, that two officials approved by then, and that no other generation carries out; there must be one; nobody is
// deleted beyond them; and no bucket loses its key but for somebody deleted. find returns nil for a proposal that nobody
// made.
//
// That the people who are deleted are those of the requests, only a core with the keys can see.
func (r *Rotations) Opened(o event.VaultOpened, at time.Time, find func(Hash) *Standing) (found []Unapproved) {
	if r.opened == nil {
		r.opened, r.carried = map[int]event.VaultOpened{}, map[Hash]int{}
	}
	fail := func(format string, args ...any) {
		found = append(found, Unapproved{Generation: o.Generation, Why: fmt.Sprintf(format, args...)})
	}
	deletions, rotations := r.approved(o.Generation, o.Proposals, at, find, event.ProposalDeletion, &found), 0
	if o.Generation > 1 {
		rotations = r.approved(o.Generation, o.Rotations, at, find, event.ProposalRotation, &found)
	}
	if r.opened[o.Generation].Generation != 0 {
		fail("it is opened twice")
	}
	r.opened[o.Generation] = o
	switch deleted := len(o.Deleted); {
	case o.Generation == 1 && len(o.Deleted)+len(o.Rotated)+len(o.Proposals)+len(o.Rotations) > 0:
		fail("the first generation deletes people")
	case o.Generation > 1 && deletions+rotations == 0:
		fail("no two officials approved that it be opened")
	case deleted > deletions:
		fail("it deletes %d people, and %d deletions are approved", deleted, deletions)
	case len(o.Rotated) > deleted:
		fail("%d buckets lose their keys for %d people who are deleted", len(o.Rotated), deleted)
	}
	return found
}

// Rotated takes in a vault-rotated, and names what it claims to have carried out that two officials did not approve by
// then, or that its vault-opened did not, if that was taken in.
func (r *Rotations) Rotated(v event.VaultRotated, find func(Hash) *Standing) (found []Unapproved) {
	o, known := r.opened[v.Generation]
	if known {
		if !sameHashes(o.Proposals, v.Proposals) || !sameHashes(o.Rotations, v.Rotations) {
			found = append(found, Unapproved{Generation: v.Generation, Why: "its certificate names other proposals than the vault does"})
		}
		r = &Rotations{} // whether another carries them out was asked already
	}
	if r.carried == nil {
		r.carried = map[Hash]int{}
	}
	at := time.UnixMicro(v.At)
	n := r.approved(v.Generation, v.Proposals, at, find, event.ProposalDeletion, &found)
	if n += r.approved(v.Generation, v.Rotations, at, find, event.ProposalRotation, &found); n == 0 {
		found = append(found, Unapproved{Generation: v.Generation, Why: "no two officials approved the rotation"})
	}
	return found
}

// approved counts the proposals of a generation that allow what they are named for, and adds what is wrong with others.
func (r *Rotations) approved(generation int, proposals [][]byte, at time.Time, find func(Hash) *Standing, kind string, found *[]Unapproved) (n int) {
	for _, p := range proposals {
		hash := Hash(pad(p))
		why, s := "", find(hash)
		before, spent := r.carried[hash]
		switch {
		case s == nil:
			why = "nobody made this proposal"
		case !s.decided(kind):
			why = "two officials did not approve it, or it is for something else"
		case time.UnixMicro(s.Counting()[Needed-1].At).After(at.Add(clockTolerance)):
			why = "the second official approved it afterwards"
		case spent:
			why = fmt.Sprintf("generation %d carries it out", before)
		}
		r.carried[hash] = generation
		if why != "" {
			*found = append(*found, Unapproved{generation, hash, why})
			continue
		}
		n++
	}
	return n
}

func sameHashes(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
