package node

import (
	"context"
	"errors"
	"strings"
	"time"

	"kiroku/commands/sequencer"
)

const (
	firstTaking = 100 * time.Millisecond // between two looks whether this node leads
	alarmAgain  = time.Hour              // between two alarms of the same
)

// takeConfigured states in the registry what this node is configured with, as soon as it leads, and goes on saying in the
// log what of the configuration does not count.
func (n *Node) takeConfigured(ctx context.Context) {
	var told string
	var again time.Time
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
		now := strings.Join(n.Core.Unheeded(), "; ")
		if now != "" && (now != told || time.Now().After(again)) {
			n.c.Log.Error("the configuration differs from the registry and does not count", "why", now)
			again = time.Now().Add(alarmAgain)
		}
		told = now
	}
}
