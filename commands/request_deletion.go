package commands

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/symbol"
)

// RequestDeletion reports a physical deletion (物理削除要求電文) that Juki-net asks for: a person's entries came into the
// register by a clerical error. The core destroys Code. Nothing is deleted before two officials approve it.
type RequestDeletion struct {
	Meta
	Code   symbol.ResidentCode
	Number symbol.AcquisitionNumber // of Juki-net's message
	Asked
}

// errBeingDeleted: between the beginning of a rotation and its end.
var errBeingDeleted = fmt.Errorf("the person's entries are being deleted (物理削除); later the code is that of nobody: %w", sequencer.ErrUnavailable)

// RequestDeletion writes the request into the register, under the person's own key, and proposes it to the officials.
// Errors: ErrInvalid, ErrNotAllowed, ErrUnknownPerson, ErrSuperseded, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) RequestDeletion(ctx context.Context, cmd RequestDeletion) (Proposed, error) {
	defer cmd.Code.Destroy()
	if err := c.check(cmd.Meta); err != nil {
		return Proposed{}, err
	}
	if err := mustBe(cmd.Actor, RoleJukiNet, RoleOperator); err != nil {
		return Proposed{}, err
	}
	if err := cmd.Asked.check(); err != nil {
		return Proposed{}, err
	}
	if _, err := symbol.ParseAcquisitionNumber(string(cmd.Number)); err != nil {
		return Proposed{}, fmt.Errorf("number of the message: %w: %w", ErrInvalid, err)
	}
	management, err := c.symbols.management(ctx, cmd.Code)
	if err != nil {
		return Proposed{}, err
	}
	m := management.Expose()
	defer clear(m[:])
	x := newCall(cmd.Meta, c.d.Keyring.Digest("request-deletion", cmd.Asked.parts(m[:], []byte(cmd.Number))...))
	release, err := c.claim(x, &c.issuance.line)
	if err != nil {
		return Proposed{}, err
	}
	revision, err := c.requested(ctx, x, cmd, management)
	release()
	if err != nil {
		return Proposed{}, err
	}
	leaf, err := c.leafAt(ctx, revision)
	if err != nil {
		return Proposed{}, err
	}
	return c.proposeDeletion(ctx, x, deletion{leaf: leaf, revision: revision}, cmd.Asked)
}

// requested returns where the request stands.
func (c *Core) requested(ctx context.Context, x call, cmd RequestDeletion, m symbol.ManagementInfo) (uint64, error) {
	index := c.managementIndex(m)
	err := c.issuance.confirm(ctx, x)
	for n := 0; err == nil || errors.Is(err, errStale); n++ {
		if n == attempts {
			return 0, unavailable("request the deletion", errStale)
		}
		var revision uint64
		if revision, err = c.tryRequest(ctx, x, cmd, index); err == nil {
			return revision, nil
		}
	}
	var again *repeated
	if errors.As(err, &again) {
		return again.ref.Revision, nil
	}
	return 0, err
}

func (c *Core) tryRequest(ctx context.Context, x call, cmd RequestDeletion, index [16]byte) (uint64, error) {
	found, known, err := c.issuance.resolve(index)
	switch {
	case err != nil:
		return 0, fmt.Errorf("resolve the resident code: %w", err)
	case !known:
		return 0, c.issuance.refuse(ctx, ErrUnknownPerson)
	case found.Superseded:
		return 0, c.issuance.refuse(ctx, ErrSuperseded)
	}
	p, err := c.person(ctx, found.Subject)
	if err != nil {
		return 0, err
	}
	defer p.destroy()
	at := c.now()
	salt := make([]byte, 32)
	_, _ = rand.Read(salt)
	draft, err := c.sealFor(p, x.aad(c.issuance.stream, event.TypeDeletionRequested, 0, at), event.DeletionRequested{
		Command: x.command(), Subject: p.key.ID.Protected(), Number: string(cmd.Number), Salt: salt, Reason: cmd.Reason, At: at.UnixMicro(),
	})
	if err != nil {
		return 0, err
	}
	return c.issuance.submit(ctx, x, func(uint64) ([]ledger.Draft, error) {
		if now, ok, err := c.issuance.resolve(index); err != nil || !ok || now != found {
			return nil, errors.Join(err, errStale)
		}
		return []ledger.Draft{draft}, nil
	})
}

// leafAt reads the leaf hash of an event of the register back.
func (c *Core) leafAt(ctx context.Context, revision uint64) (ledger.Hash, error) {
	events, err := c.d.Store.ReadForward(ctx, event.StreamIssuance, revision, 1)
	if err != nil || len(events) != 1 {
		return ledger.Hash{}, unavailable("read the request back", errors.Join(err, fmt.Errorf("%d events at %s@%d", len(events), event.StreamIssuance, revision)))
	}
	checked, err := ledger.CheckEvent(events[0], c.d.Keys())
	if err == nil && (checked.Header.Stream != event.StreamIssuance || checked.Header.Revision != revision) {
		err = fmt.Errorf("another event stands at %s@%d: run `kiroku verify`", event.StreamIssuance, revision)
	}
	return checked.Leaf, err
}
