package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kiroku/adapters/hsm"
	"kiroku/domain/ledger"
	"kiroku/projections/registry"
)

// signer signs batches with the HSM.
type signer struct {
	hsm *hsm.HSM
	id  string
}

func (s signer) KeyID() string { return s.id }

func (s signer) Sign(ctx context.Context, digest [32]byte) ([64]byte, error) {
	return s.hsm.Sign(ctx, hsm.LabelSign, digest)
}

// ownKey is the public half of the signing key of this node's HSM: the root of its trust. Its validity is open to the past,
// because the HSM does not tell when it was made; the ledger publishes it from the ledger's beginning on.
func ownKey(ctx context.Context, h *hsm.HSM) (ledger.PublicKey, error) {
	part, err := h.ExportPublic(ctx, hsm.LabelSign)
	if err != nil {
		return ledger.PublicKey{}, err
	}
	key, err := h.PublicKey(ctx, hsm.LabelSign)
	if err != nil {
		return ledger.PublicKey{}, err
	}
	return ledger.PublicKey{ID: part.ID, Key: key, ValidFrom: time.Unix(0, 0).UTC()}, nil
}

// trust is the own key and what the registry adds to it.
type trust struct {
	own      ledger.PublicKey
	root     ledger.KeySet      // the own key alone
	registry *registry.Registry // nil before the projections are open
}

// SigningKeys returns every key that may have signed an event.
func (t *trust) SigningKeys() ledger.KeySet {
	if t.registry != nil {
		return t.registry.SigningKeys()
	}
	return t.root
}

// Truncated returns the leaf before revision first of a stream, if the ledger says that it may begin there.
func (t *trust) Truncated(stream string, first uint64) (ledger.Hash, bool) {
	if t.registry == nil {
		return ledger.Hash{}, false
	}
	return t.registry.Truncated(stream, first)
}

// Learned implements projections.Learner.
func (t *trust) Learned() (next uint64, err error) {
	if t.registry == nil {
		return 0, nil
	}
	return t.registry.Learned()
}

// ErrOtherToken: the token is not the one that made this ledger's keys.
var ErrOtherToken = errors.New("the token is not the one this ledger was made with: give the right token, or restore it")

func (n *Node) sameToken(ctx context.Context, expected []byte) error {
	got, err := n.c.HSM.SentinelValue(ctx)
	if err != nil {
		return err
	}
	if string(got) != string(expected) {
		return fmt.Errorf("compare the token's sentinel with the ledger's: %w", ErrOtherToken)
	}
	return nil
}
