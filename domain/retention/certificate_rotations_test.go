package retention_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// deletion proposes a physical deletion, which so many officials approve.
func (o *orders) deletion(at time.Time, approvals int) approval.Hash {
	p := event.ProposalMade{Kind: event.ProposalDeletion, Deletion: make([]byte, 32), Revision: 5, Reason: "r", At: at.UnixMicro(), Until: at.Add(24 * time.Hour).UnixMicro()}
	o.add(registry(event.TypeProposalMade, at, p))
	h := approval.HashOf(must(event.Encode(p)))
	o.approved(at, h, approvals)
	return h
}

func (o *orders) approved(at time.Time, h approval.Hash, approvals int) {
	if approvals > 0 {
		o.approve(at, h, o.one, "official-1")
	}
	if approvals > 1 {
		o.approve(at, h, o.two, "official-2")
	}
}

// rotate opens the second generation of the vault without so many people, and says that it is in force.
func (o *orders) rotate(at time.Time, people int, proposals ...[]byte) {
	if people > 0 {
		o.add(deed{event.StreamVault, event.TypeVaultOpened, at, event.VaultOpened{Generation: 2, Root: "vault/2", Proposals: proposals,
			Deleted: slices.Repeat([][]byte{make([]byte, 44)}, people), Rotated: []int{3}}})
	}
	o.add(registry(event.TypeVaultRotated, at, event.VaultRotated{Generation: 2, Destroyed: "vault/1", Proposals: proposals, At: at.UnixMicro()}))
}

// A rotation that deletes people whom two officials did not give up does not stand, for anyone who has the registry.
func TestRotationsAreChecked(t *testing.T) {
	for _, row := range []struct {
		name string
		then func(o *orders, at time.Time)
		says string // empty: all is well
		open string // what is not checked
	}{
		{"approved by two", func(o *orders, at time.Time) {
			h := o.deletion(at, 2)
			o.rotate(at, 1, h[:])
		}, "", "takes the keys of the vault"},
		{"its beginning is not there", func(o *orders, at time.Time) {
			h := o.deletion(at, 2)
			o.rotate(at, 0, h[:])
		}, "", "the event that opened it is not there"},
		{"approved by one", func(o *orders, at time.Time) {
			h := o.deletion(at, 1)
			o.rotate(at, 1, h[:])
		}, "two officials did not approve it", ""},
		{"approved afterwards", func(o *orders, at time.Time) {
			h := o.deletion(at, 1)
			o.rotate(at, 1, h[:])
			o.approve(at.Add(time.Second), h, o.two, "official-2")
		}, "two officials did not approve it", ""},
		{"approved by nobody", func(o *orders, at time.Time) { o.rotate(at, 1) }, "no two officials approved", ""},
		{"two people by one deletion", func(o *orders, at time.Time) {
			h := o.deletion(at, 2)
			o.rotate(at, 2, h[:])
		}, "it deletes 2 people, and 1 deletions are approved", ""},
		{"for something else", func(o *orders, at time.Time) {
			h := o.propose(at, holdID)
			o.approved(at, h, 2)
			o.rotate(at, 1, h[:])
		}, "it is for something else", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := held(t, 0, row.then)
			events := slices.DeleteFunc(slices.Clone(o.all), func(e ledger.Event) bool {
				return e.Stream != event.StreamRegistry && e.Type != ledger.TypeDayOpened && e.Type != event.TypeVaultOpened
			})
			c := checked(events)
			got := flaws(c)[calendar.Day{}]
			if c.OK() != (row.says == "") || !strings.Contains(got, row.says) || c.Rotations != 1 {
				t.Errorf("%d rotations: %s", c.Rotations, got)
			}
			if all := strings.Join(c.NotChecked, "\n"); !strings.Contains(all, row.open) {
				t.Errorf("not checked:\n%s", all)
			}
		})
	}
}
