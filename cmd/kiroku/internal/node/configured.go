package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"kiroku/commands/sequencer"
)

const (
	firstTaking = 100 * time.Millisecond // between two looks whether this node leads
	alarmAgain  = time.Hour              // between two alarms of the same
)

// takeConfigured states in the registry what this node is configured with, as soon as it leads, and goes on saying in the
// log what of the configuration does not count, and what is amiss with what two officials decide.
func (n *Node) takeConfigured(ctx context.Context) {
	told := map[string]alarmed{}
	for wait := firstTaking; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = approvalInterval
		if !n.Active() {
			wait = firstTaking
			continue
		}
		if err := n.Core.TakeConfigured(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, sequencer.ErrNotWriter) {
			n.c.Log.Error("what is configured cannot be put in force; it is tried again", "error", err.Error())
		}
		for what, why := range n.amiss() {
			if why != "" && (why != told[what].why || time.Now().After(told[what].again)) {
				n.c.Log.Error(what, "why", why)
				told[what] = alarmed{why, time.Now().Add(alarmAgain)}
			}
			if why == "" {
				delete(told, what)
			}
		}
	}
}

// alarmed is what was told last of something, and when it is told again.
type alarmed struct {
	why   string
	again time.Time
}

// amiss says what officials and operators must see to: by what is amiss, why; nothing where it is not.
func (n *Node) amiss() map[string]string {
	ending := ""
	if end, soon := n.Core.OfficialsUntil(); soon {
		ending = "the last of them ends at " + end.Format(time.RFC3339) + ", and nobody can approve anything afterwards, not even other authorities: kiroku authorities propose"
	}
	refused := ""
	if all := n.RefusedFacts(); len(all) > 0 {
		refused = fmt.Sprintf("%d facts, the last of them %s", len(all), strings.Join(all[max(0, len(all)-mostRefused):], ", "))
	}
	return map[string]string{
		"the configuration differs from the registry and does not count":             strings.Join(n.Core.Unheeded(), "; "),
		"the authorities of officials end":                                           ending,
		"the registry states what two officials did not approve; it changes nothing": refused,
	}
}

// mostRefused bounds how many refused facts a line of the log names.
const mostRefused = 16

// RefusedFacts names the facts in the registry that need two officials' approval and stand there without, in their order.
// They change nothing. It is an alarm: only a core, or whoever has its signing key, writes the registry.
func (n *Node) RefusedFacts() (named []string) {
	for _, r := range n.Retention.Snapshot().Refused() {
		named = append(named, fmt.Sprintf("registry@%d (%s)", r.Revision, r.Type))
	}
	return named
}
