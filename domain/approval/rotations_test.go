package approval_test

import (
	"strings"
	"testing"
	"time"

	"kiroku/domain/approval"
	"kiroku/domain/approval/approvaltest"
	"kiroku/domain/event"
)

// docket is a registry's proposals.
type docket struct {
	t         *testing.T
	authority *approvaltest.Authority
	by        map[approval.Hash]*approval.Standing
	made      byte
}

func newDocket(t *testing.T) *docket {
	return &docket{t, approvaltest.NewAuthority(t), map[approval.Hash]*approval.Standing{}, 0}
}

func (d *docket) find(h approval.Hash) *approval.Standing { return d.by[h] }

// proposed makes a proposal that so many officials approved, at a time.
func (d *docket) proposed(kind string, approvals int, at time.Time) []byte {
	d.t.Helper()
	d.made++
	p := event.ProposalMade{Kind: kind, Deletion: make([]byte, 32), Revision: uint64(d.made), Reason: "r", At: made.UnixMicro(), Until: made.Add(24 * time.Hour).UnixMicro()}
	payload, err := event.Encode(p)
	if err != nil {
		d.t.Fatal(err)
	}
	officials := d.authority.Officials(d.t)
	s := &approval.Standing{Hash: approval.HashOf(payload), Made: p, Terms: since(d.t, officials, made)}
	for i := range approvals {
		o := d.authority.Official(d.t, "Official "+string(rune('A'+i)))
		s.Approvals = append(s.Approvals, record(d.t, officials, s.Hash, o.Approve(d.t, s.Hash), at))
	}
	d.by[s.Hash] = s
	return s.Hash[:]
}

// TestRotationsAreHeldAgainstApprovals: a deletion, or a rotation, that two officials did not approve is named.
func TestRotationsAreHeldAgainstApprovals(t *testing.T) {
	later := then.Add(time.Hour)
	for name, c := range map[string]struct {
		says  string // "": nothing is found
		facts func(d *docket, o *event.VaultOpened)
	}{
		"a deletion": {"", func(d *docket, o *event.VaultOpened) {
			o.Proposals, o.Deleted, o.Rotated = [][]byte{d.proposed(event.ProposalDeletion, 2, then)}, [][]byte{{1}}, []int{3}
		}},
		"a rotation alone": {"", func(d *docket, o *event.VaultOpened) {
			o.Rotations = [][]byte{d.proposed(event.ProposalRotation, 2, then)}
		}},
		"two deletions of one person": {"", func(d *docket, o *event.VaultOpened) {
			o.Proposals = [][]byte{d.proposed(event.ProposalDeletion, 2, then), d.proposed(event.ProposalDeletion, 2, then)}
			o.Deleted, o.Rotated = [][]byte{{1}}, []int{3}
		}},
		"of somebody deleted before": {"", func(d *docket, o *event.VaultOpened) {
			o.Proposals = [][]byte{d.proposed(event.ProposalDeletion, 2, then)}
		}},
		"nothing approved": {"no two officials", func(*docket, *event.VaultOpened) {}},
		"somebody without a proposal": {"it deletes 1 people, and 0", func(d *docket, o *event.VaultOpened) {
			o.Rotations, o.Deleted, o.Rotated = [][]byte{d.proposed(event.ProposalRotation, 2, then)}, [][]byte{{1}}, []int{3}
		}},
		"one more": {"it deletes 2 people, and 1", func(d *docket, o *event.VaultOpened) {
			o.Proposals, o.Deleted = [][]byte{d.proposed(event.ProposalDeletion, 2, then)}, [][]byte{{1}, {2}}
		}},
		"a bucket more": {"2 buckets lose their keys for 1", func(d *docket, o *event.VaultOpened) {
			o.Proposals, o.Deleted, o.Rotated = [][]byte{d.proposed(event.ProposalDeletion, 2, then)}, [][]byte{{1}}, []int{3, 4}
		}},
		"approved by one": {"did not approve it", func(d *docket, o *event.VaultOpened) {
			o.Proposals, o.Deleted = [][]byte{d.proposed(event.ProposalDeletion, 1, then)}, [][]byte{{1}}
		}},
		"approved afterwards": {"afterwards", func(d *docket, o *event.VaultOpened) {
			o.Proposals, o.Deleted = [][]byte{d.proposed(event.ProposalDeletion, 2, later.Add(time.Minute))}, [][]byte{{1}}
		}},
		"an approved rotation as a deletion": {"something else", func(d *docket, o *event.VaultOpened) {
			o.Proposals, o.Deleted = [][]byte{d.proposed(event.ProposalRotation, 2, then)}, [][]byte{{1}}
		}},
		"nobody's proposal": {"nobody made", func(_ *docket, o *event.VaultOpened) {
			o.Proposals, o.Deleted = [][]byte{make([]byte, 32)}, [][]byte{{1}}
		}},
		"half a hash": {"nobody made", func(_ *docket, o *event.VaultOpened) {
			o.Proposals, o.Deleted = [][]byte{make([]byte, 16)}, [][]byte{{1}}
		}},
		"a proposal twice": {"generation 2 carries it out", func(d *docket, o *event.VaultOpened) {
			p := d.proposed(event.ProposalDeletion, 2, then)
			o.Proposals, o.Deleted = [][]byte{p, p}, [][]byte{{1}, {2}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDocket(t)
			var r approval.Rotations
			if found := r.Opened(event.VaultOpened{Generation: 1}, made, d.find); len(found) > 0 {
				t.Fatal(found)
			}
			o := event.VaultOpened{Generation: 2}
			c.facts(d, &o)
			before := r.Clone()
			found := r.Opened(o, later, d.find)
			says(t, found, c.says)
			says(t, before.Opened(o, later, d.find), c.says) // what was found is found again by who has not seen it
			v := event.VaultRotated{Generation: 2, Proposals: o.Proposals, Rotations: o.Rotations, At: later.UnixMicro()}
			if c.says == "" {
				says(t, r.Rotated(v, d.find), "")
				says(t, (&approval.Rotations{}).Rotated(v, d.find), "") // without the vault
				again := o
				again.Generation = 3
				says(t, r.Opened(again, later, d.find), "generation 2 carries it out")
			}
			v.Proposals = append(v.Proposals, d.proposed(event.ProposalDeletion, 1, then))
			says(t, r.Rotated(v, d.find), "other proposals than the vault")
			says(t, (&approval.Rotations{}).Rotated(v, d.find), "did not approve")
		})
	}
	var r approval.Rotations
	says(t, r.Opened(event.VaultOpened{Generation: 1, Deleted: [][]byte{{1}}}, made, newDocket(t).find), "the first generation deletes")
}

func says(t *testing.T, found []approval.Unapproved, what string) {
	t.Helper()
	var all strings.Builder
	for _, f := range found {
		all.WriteString(f.Error() + "\n")
	}
	if (what == "") != (len(found) == 0) || !strings.Contains(all.String(), what) {
		t.Errorf("found %q, want %q", all.String(), what)
	}
}
