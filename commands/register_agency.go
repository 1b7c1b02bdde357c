package commands

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"kiroku/commands/sequencer"
	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// RegisterAgency lets an organisation take part (情報照会者等). The core draws its agency parameter (機関別パラメータ).
type RegisterAgency struct {
	Meta
	Code    agency.Code
	Name    agency.Name
	Classes []agency.Class // e.g. 市町村長: the classes of the scope rules
}

// ErrRegistered: an agency with this code exists.
var ErrRegistered = errors.New("an agency with this code is registered already")

// RegisterAgency registers. Errors: ErrInvalid, ErrRegistered, ErrConflict, ErrTooOld, and those of the sequencer.
func (c *Core) RegisterAgency(ctx context.Context, cmd RegisterAgency) error {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return err
	}
	var p agency.Parameter
	_, _ = rand.Read(p[:])
	a, err := agency.New(agency.Fields{Code: cmd.Code, Name: cmd.Name, Classes: cmd.Classes, Parameter: p, Status: agency.Active})
	if err != nil {
		return err
	}
	e := event.AgencyRegistered{Code: a.Code().String(), Name: a.Name().String(), Parameter: p[:]}
	parts := [][]byte{[]byte(e.Code), []byte(e.Name)}
	for _, class := range a.Classes() {
		e.Classes = append(e.Classes, class.String())
		parts = append(parts, []byte(class.String()))
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("register-agency", parts...))
	e.Command = c.openCommand(x)
	return c.registerFact(ctx, x, event.TypeAgencyRegistered, []any{e}, func(next uint64) error {
		if c.isRegistered(a.Code()) {
			return fmt.Errorf("agency %s: %w", a.Code(), ErrRegistered)
		}
		c.agencies.Put(next, a.Code().String(), true)
		return nil
	})
}

// isRegistered runs in decisions on the registry.
func (c *Core) isRegistered(code agency.Code) bool {
	if _, ok := c.agencies.Get(code.String()); ok {
		return true
	}
	_, ok := c.d.Registry.Agency(code)
	return ok
}

// takeRegistry waits for the turn to write a fact of the registry.
func (c *Core) takeRegistry(ctx context.Context) error {
	select {
	case c.registryTurn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another fact of the registry: %w: %w", sequencer.ErrUnavailable, context.Cause(ctx))
	}
}

func (c *Core) leaveRegistry() { <-c.registryTurn }

// registerFact appends facts of one type to the registry in one append, if allowed still says so. Registry commands are
// few: each waits until the registry's view has it, so that the next decision sees it.
func (c *Core) registerFact(ctx context.Context, x call, eventType string, payloads []any, allowed func(next uint64) error) error {
	release, err := c.claim(x, c.registry)
	if err != nil {
		return err
	}
	defer release()
	if err := c.takeRegistry(ctx); err != nil {
		return err
	}
	defer c.leaveRegistry()
	if err := c.registry.confirm(ctx, x); err != nil {
		return unlessRepeated(err)
	}
	if err := c.recordOperation(ctx, x, eventType); err != nil {
		return err
	}
	at := c.now()
	var drafts []ledger.Draft
	for i, p := range payloads {
		plain, err := event.Encode(p)
		if err != nil {
			return err
		}
		d, err := ledger.Plain(x.aad(event.StreamRegistry, eventType, i, at), plain)
		if err != nil {
			return err
		}
		drafts = append(drafts, d)
	}
	first, err := c.registry.submit(ctx, x, func(next uint64) ([]ledger.Draft, error) {
		if err := allowed(next); err != nil {
			return nil, err
		}
		return drafts, nil
	})
	if err != nil {
		return unlessRepeated(err)
	}
	if err := c.d.RegistryHas(ctx, first+uint64(len(drafts))); err != nil {
		return fmt.Errorf("recorded, and the registry's view has not caught up yet: %w", err)
	}
	return nil
}
