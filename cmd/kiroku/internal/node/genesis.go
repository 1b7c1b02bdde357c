package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"kiroku/adapters/datadir"
	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// genesis returns the ledger's first event, whose leaf hash names the ledger, and begins a ledger where there is none.
func (n *Node) genesis(ctx context.Context) (ledger.Checked, error) {
	first, err := n.store.ReadForward(ctx, event.StreamRegistry, 0, 1)
	if err != nil {
		return ledger.Checked{}, fmt.Errorf("look for the ledger: %w", err)
	}
	if len(first) == 0 {
		if err := n.neverUsed(); err != nil {
			return ledger.Checked{}, err
		}
		if err := n.begin(ctx); err != nil {
			return ledger.Checked{}, fmt.Errorf("begin a ledger: %w", err)
		}
		if first, err = n.store.ReadForward(ctx, event.StreamRegistry, 0, 1); err != nil || len(first) == 0 {
			return ledger.Checked{}, errors.Join(err, errors.New("begin a ledger: its first event is not there"))
		}
	}
	checked, err := ledger.CheckEvent(first[0], n.trust.SigningKeys())
	if err != nil {
		return ledger.Checked{}, fmt.Errorf("the ledger in this store was not signed by this token: %w: %w", ErrOtherToken, err)
	}
	return checked, nil
}

// neverUsed refuses to begin a ledger in an empty store where another was known: the store was lost, or is the wrong one,
// and a new ledger would only hide that.
func (n *Node) neverUsed() error {
	for _, folder := range []string{n.c.Anchors, n.c.Views} {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("look for traces of a ledger: %w", err)
		}
		if len(entries) > 0 {
			return fmt.Errorf("the event store is empty, and %s tells of a ledger; give the right store, or restore it, or a new data directory for a new ledger: %w", folder, ErrStoreBehind)
		}
	}
	return nil
}

// begin writes the first epoch of the registry. Two cores may try at once: one of them does it.
func (n *Node) begin(ctx context.Context) error {
	s := sequencer.New(sequencer.Options{Stream: event.StreamRegistry, Store: n.store, Signer: signer{n.c.HSM, n.trust.own.ID},
		Keys: n.trust.SigningKeys, Index: sequencer.Indexes{}, Writer: n.writer, Now: n.c.Now, Logger: n.c.Log})
	return errors.Join(s.Takeover(ctx), s.Close(ctx))
}

// ledgerOpened returns the facts fixed at the first start, nil if that has not been completed.
func (n *Node) ledgerOpened(ctx context.Context) (*event.LedgerOpened, error) {
	events, err := n.store.ReadForward(ctx, event.StreamRegistry, 0, 64)
	if err != nil {
		return nil, fmt.Errorf("read the start of the registry: %w", err)
	}
	for _, e := range events {
		if e.Type == event.TypeLedgerOpened {
			o, err := event.Decode[event.LedgerOpened](e.Data)
			if err != nil {
				return nil, fmt.Errorf("registry event %d: %w", e.Revision, err)
			}
			return &o, nil
		}
	}
	return nil, nil
}

// ErrStoreBehind: the store lacks what an anchor known outside it says was there.
var ErrStoreBehind = errors.New("the event store lacks events that were there: it is an older copy, or its end was cut off; restore it, and run `kiroku verify`")

func (n *Node) anchorFile() string { return AnchorFile(n.c.Anchors, n.Ledger) }

// AnchorFile is where, in a folder of anchors, the newest anchor of a ledger is kept, by the ledger's id.
func AnchorFile(folder, ledgerID string) string { return filepath.Join(folder, ledgerID[:16]+".json") }

// keepAnchor writes the newest anchor beside the store, in the form of a heads file.
func (n *Node) keepAnchor(a ledger.Anchor) error {
	text, err := ledger.Heads{Ledger: n.Ledger, Heads: a.Heads, Time: a.Time}.Encode()
	if err != nil {
		return fmt.Errorf("keep the anchor: %w", err)
	}
	if err := os.MkdirAll(n.c.Anchors, 0o700); err != nil {
		return fmt.Errorf("keep the anchor: %w", err)
	}
	return datadir.WritePublic(n.anchorFile(), text)
}

// checkKnownAnchor refuses to start on a store that lacks what the newest known anchor names. A stream that begins later
// than the anchor knows it goes on after it.
func (n *Node) checkKnownAnchor(ctx context.Context) error {
	text, err := os.ReadFile(n.anchorFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the known anchor: %w", err)
	}
	known, err := ledger.ParseHeads(text)
	if err != nil {
		return fmt.Errorf("known anchor %s: %w", n.anchorFile(), err)
	}
	for _, h := range known.Heads {
		at, err := n.store.ReadForward(ctx, h.Stream, h.Count-1, 1)
		if err != nil {
			return fmt.Errorf("compare the store with the known anchor: %w", err)
		}
		if len(at) == 0 {
			return fmt.Errorf("stream %s had %d events on %s: %w", h.Stream, h.Count, known.Time.Format("2006-01-02 15:04"), ErrStoreBehind)
		}
		c, err := ledger.CheckEvent(at[0], n.trust.SigningKeys())
		if err != nil {
			return fmt.Errorf("compare the store with the known anchor: %w", err)
		}
		leaf := c.Leaf
		if c.Header.Revision >= h.Count { // truncated meanwhile; whether that is rightful, the projections ask the registry
			if leaf = c.Header.Prev; c.Header.Revision > h.Count {
				continue
			}
		}
		if leaf != h.Leaf {
			return fmt.Errorf("%s@%d is another event than on %s: %w", h.Stream, h.Count-1, known.Time.Format("2006-01-02 15:04"), ErrStoreBehind)
		}
	}
	return nil
}
