package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/symbol"
)

// ChangeResidentCode reports that a person's resident code (住民票コード) changed. Only
// Juki-net reports it. The core destroys both codes.
type ChangeResidentCode struct {
	Meta
	Old, New symbol.ResidentCode
}

// ErrCodeTaken: the new code belongs, or belonged, to another person. The refusal is recorded, and both
// the reporting office and the officials must look into it.
var ErrCodeTaken = errors.New("conflict: the new resident code is another person's; the change was refused and recorded")

const reasonCodeTaken = "code-of-another-person"

// ChangeResidentCode lets the new code resolve to the person; the old one no longer does and is remembered as
// superseded. Symbols that agencies hold stay valid. Errors: ErrInvalid, ErrUnknownPerson, ErrSuperseded (the old
// code), ErrCodeTaken, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) ChangeResidentCode(ctx context.Context, cmd ChangeResidentCode) error {
	defer cmd.Old.Destroy()
	defer cmd.New.Destroy()
	if err := c.checkAs(cmd.Meta, RoleJukiNet); err != nil {
		return err
	}
	if bytes.Equal(cmd.Old.Expose(), cmd.New.Expose()) {
		return fmt.Errorf("old and new resident code are the same: %w", ErrInvalid)
	}
	old, err := c.symbols.management(ctx, cmd.Old)
	if err != nil {
		return err
	}
	next, err := c.symbols.management(ctx, cmd.New)
	if err != nil {
		return err
	}
	x := newCall(cmd.Meta, c.digestOfChange(old, next))
	release, err := c.claim(x, &c.issuance.line)
	if err != nil {
		return err
	}
	defer release()
	for range attempts {
		err = c.tryChange(ctx, x, old, next)
		if !errors.Is(err, errStale) {
			return outcomeOfChange(err)
		}
	}
	return unavailable("change the resident code", err)
}

// digestOfChange goes by the management information, which the HSM has keyed: a resident code itself is guessable
// by whoever has the digest and its key.
func (c *Core) digestOfChange(old, next symbol.ManagementInfo) [16]byte {
	o, n := old.Expose(), next.Expose()
	defer clear(o[:])
	defer clear(n[:])
	return c.d.Keyring.Digest("change-resident-code", o[:], n[:])
}

func outcomeOfChange(err error) error {
	var again *repeated
	if !errors.As(err, &again) {
		return err
	}
	if again.ref.Type == event.TypeResidentCodeChangeRefused {
		return ErrCodeTaken
	}
	return nil
}

// codes is what a change found in the register; it must still be so when the change is decided.
type codes struct {
	oldIndex, newIndex register.Key
	old, new           register.Resolution
	oldKnown, newKnown bool
}

func (c *Core) lookUp(old, next register.Key) (codes, error) {
	f := codes{oldIndex: old, newIndex: next}
	var err error
	if f.old, f.oldKnown, err = c.issuance.resolve(old); err != nil {
		return f, fmt.Errorf("resolve the old resident code: %w", err)
	}
	if f.new, f.newKnown, err = c.issuance.resolve(next); err != nil {
		return f, fmt.Errorf("resolve the new resident code: %w", err)
	}
	return f, nil
}

// taken reports whether the new code is, or was, another person's. Going back to an own former code is allowed.
func (f codes) taken() bool { return f.newKnown && f.new.Subject != f.old.Subject }

func (c *Core) tryChange(ctx context.Context, x call, old, next symbol.ManagementInfo) error {
	found, err := c.lookUp(c.managementIndex(old), c.managementIndex(next))
	if err != nil {
		return err
	}
	var draft ledger.Draft
	if found.oldKnown && !found.old.Superseded {
		p, err := c.person(ctx, found.old.Subject)
		if err != nil {
			return err
		}
		defer p.destroy()
		if draft, err = c.changeDraft(x, p, old, next, found); err != nil {
			return err
		}
	}
	_, err = c.issuance.submit(ctx, x, func(rev uint64) ([]ledger.Draft, error) {
		now, err := c.lookUp(found.oldIndex, found.newIndex)
		switch {
		case err != nil:
			return nil, err
		case now != found:
			return nil, errStale
		case !found.oldKnown:
			return nil, ErrUnknownPerson
		case found.old.Superseded:
			return nil, ErrSuperseded
		}
		if !found.taken() {
			c.issuance.resolutions.Put(rev, found.oldIndex, register.Resolution{Subject: found.old.Subject, Superseded: true})
			c.issuance.resolutions.Put(rev, found.newIndex, register.Resolution{Subject: found.old.Subject})
		}
		return []ledger.Draft{draft}, nil
	})
	if err == nil && found.taken() {
		return ErrCodeTaken
	}
	return err
}

func (c *Core) changeDraft(x call, p *person, old, next symbol.ManagementInfo, found codes) (ledger.Draft, error) {
	at := c.now()
	if found.taken() {
		return c.sealFor(p, x.aad(c.issuance.stream, event.TypeResidentCodeChangeRefused, 0, at), event.ResidentCodeChangeRefused{
			Command: x.command(), Subject: p.key.ID.Protected(), Other: found.new.Subject.Protected(), Reason: reasonCodeTaken, At: at.UnixMicro(),
		})
	}
	o, n := old.Expose(), next.Expose()
	return c.sealFor(p, x.aad(c.issuance.stream, event.TypeResidentCodeChanged, 0, at), event.ResidentCodeChanged{
		Command: x.command(), Subject: p.key.ID.Protected(), OldManagement: o[:], Management: n[:], IndexVersion: indexVersion, At: at.UnixMicro(),
	})
}
