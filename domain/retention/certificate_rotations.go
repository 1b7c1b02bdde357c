package retention

import (
	"cmp"
	"fmt"
	"slices"

	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// addGeneration takes a vault-opened, which says who is deleted with a rotation of the vault (物理削除).
func (c *Checker) addGeneration(e ledger.Event, p proven) {
	if err := gather(p, &c.generations); err != nil {
		c.disbelieve(e, fmt.Sprintf("%s: malformed", p))
	}
}

// checkRotations holds every rotation of the vault against what two officials approved before the registry says that it was
// done: physical deletions, and rotations alone. Who the deleted are, only a core with the keys can compare.
func (c *Checker) checkRotations() {
	opened := slices.SortedFunc(slices.Values(c.generations), func(a, b fact[event.VaultOpened]) int { return cmp.Compare(a.revision(), b.revision()) })
	done := map[int]uint64{} // generation → revision of its vault-rotated
	for _, f := range c.rotated {
		done[f.says.Generation] = f.revision()
	}
	var r approval.Rotations
	seen := map[int]bool{}
	for _, f := range opened {
		before, finished := done[f.says.Generation]
		if !finished {
			before = c.next // it may be under way
		}
		c.unapproved(f.proven, r.Opened(f.says, f.at, c.standingBefore(before)))
		seen[f.says.Generation] = true
	}
	for _, f := range inOrder(c.rotated) {
		c.unapproved(f.proven, r.Rotated(f.says, c.standingBefore(f.revision())))
		c.out.Rotations++
		if !seen[f.says.Generation] {
			c.out.NotChecked = append(c.out.NotChecked, fmt.Sprintf("how many people were deleted with generation %d of the vault: the event that opened it is not there", f.says.Generation))
		}
	}
	if c.out.Rotations > 0 {
		c.out.NotChecked = append(c.out.NotChecked, "that those who were deleted from the register are those of the approved requests: that takes the keys of the vault")
	}
}

func (c *Checker) standingBefore(revision uint64) func(approval.Hash) *approval.Standing {
	return func(hash approval.Hash) *approval.Standing { return c.standing(hash[:], revision) }
}

func (c *Checker) unapproved(p proven, found []approval.Unapproved) {
	for _, u := range found {
		c.out.Flaws = append(c.out.Flaws, fmt.Sprintf("%s: %s", p, u.Error()))
	}
}
