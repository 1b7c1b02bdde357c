package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/hsm"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	days "kiroku/domain/retention"
	"kiroku/projections/registry"
	"kiroku/projections/retention"
)

// approvalInterval is between two looks at what officials approved: only what was interrupted is left to them.
const approvalInterval = 10 * time.Second

// registryHas returns when both read models of the registry have everything below a revision.
func (n *Node) registryHas(ctx context.Context, next uint64) error {
	for _, name := range []string{registry.Name, retention.Name} {
		if err := n.Runner.WaitFor(ctx, name, event.StreamRegistry, next); err != nil {
			return err
		}
	}
	return nil
}

// dayKey reports whether the token holds the key of a day.
func (n *Node) dayKey(ctx context.Context, day calendar.Day) (bool, error) {
	answer, err := n.c.HSM.HMAC(ctx, keyring.DayLabel(day), []byte("is it there"))
	if errors.Is(err, hsm.ErrNoKey) {
		return false, nil
	}
	answer.Destroy()
	return err == nil, err
}

// dayOpened reports whether the ledger has opened a day, by all that is durable now.
func (n *Node) dayOpened(ctx context.Context, day calendar.Day) (bool, error) {
	state, err := ledgerDays{n}.Complete(ctx)
	if err != nil {
		return false, err
	}
	d, _ := state.Day(day)
	return len(d.Streams) > 0, nil
}

// retentionView speaks the commands' terms.
type retentionView struct{ *retention.Retention }

func (v retentionView) Proposal(h approval.Hash) (approval.Standing, bool) {
	p, found := v.Snapshot().Proposal(h)
	return p.Standing, found
}

func (v retentionView) Proposals() []approval.Standing {
	all := v.Snapshot().Proposals()
	out := make([]approval.Standing, len(all))
	for i, p := range all {
		out[i] = p.Standing
	}
	return out
}

func (v retentionView) Hold(id uuid.UUID) (days.Hold, bool) {
	all := v.Snapshot().Holds()
	i := slices.IndexFunc(all, func(h days.Hold) bool { return h.ID == id })
	if i < 0 {
		return days.Hold{}, false
	}
	return all[i], true
}

func (v retentionView) Holds() []days.Hold { return v.Snapshot().Holds() }

func (v retentionView) Authorities() approval.Terms { return v.Snapshot().Authorities() }

func (v retentionView) Copies() days.Copies { return v.Snapshot().Copies() }

func (v retentionView) Days(from, to calendar.Day) []commands.DayEnd {
	var out []commands.DayEnd
	s := v.Snapshot()
	copies := s.Copies()
	for _, d := range s.Days() {
		if !d.Day.Before(from) && !d.Day.After(to) {
			end := commands.DayEnd{Day: d.Day, Decided: d.Decided > 0, Destroyed: !d.Living(), Certified: d.Certified > 0, Unrecoverable: d.Unrecoverable > 0,
				Filled: len(d.Streams) > 0, Lost: d.Lost(), Premature: d.Destroyed.Fact.Premature, Acknowledged: d.Acknowledged > 0}
			if end.Destroyed {
				end.Copies = copies.Of(d.Destroyed.Revision)
			}
			out = append(out, end)
		}
	}
	return out
}
