package node

import (
	"context"
	"errors"
	"time"

	"kiroku/commands/sequencer"
)

// whileActive does something every interval while this node is the active core.
func (n *Node) whileActive(ctx context.Context, interval time.Duration, what string, do func(context.Context) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(interval):
		}
		if !n.Active() {
			continue
		}
		err := do(ctx)
		if err != nil && ctx.Err() == nil && !errors.Is(err, sequencer.ErrNotWriter) {
			n.c.Log.Error(what+" failed; it is tried again", "error", err.Error())
		}
	}
}

const lapseBatch = 1000

func (n *Node) lapse(ctx context.Context) error {
	for {
		lapsed, err := n.Core.LapseInquiries(ctx, lapseBatch)
		if err != nil || lapsed < lapseBatch {
			return err
		}
	}
}

func (n *Node) anchor(ctx context.Context) error {
	_, err := n.anchorNow(ctx)
	return err
}

// anchorNow anchors all heads and keeps the anchor outside the store.
func (n *Node) anchorNow(ctx context.Context) (written bool, err error) {
	a, written, err := n.Core.Anchor(ctx)
	n.kept.Lock()
	defer n.kept.Unlock()
	if written {
		n.unkept = &a
	}
	if n.unkept != nil { // this one, or an earlier one that could not be written down
		if failed := n.keepAnchor(*n.unkept); failed != nil {
			return written, errors.Join(err, failed)
		}
		n.unkept = nil
	}
	return written, err
}

// Anchor writes an anchor now, if there is anything new.
func (n *Node) Anchor(ctx context.Context) error { return n.anchor(ctx) }
