package commands

import (
	"context"
	"fmt"

	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/scope"
	"kiroku/domain/text"
)

// ChangeAgencyStatus suspends an agency (利用停止) or reinstates it.
type ChangeAgencyStatus struct {
	Meta
	Code      agency.Code
	Suspended bool
	Reason    string // 1 to scope.MaxReason characters
}

// ChangeAgencyStatus takes effect for every later decision. Errors: ErrInvalid, ErrUnknownAgency, ErrConflict,
// ErrTooOld, and those of the sequencer.
func (c *Core) ChangeAgencyStatus(ctx context.Context, cmd ChangeAgencyStatus) error {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return err
	}
	reason, err := text.Line("reason", cmd.Reason, scope.MaxReason)
	if err != nil {
		return fmt.Errorf("change of an agency's status: %w: %w", ErrInvalid, err)
	}
	flag := []byte{0}
	if cmd.Suspended {
		flag[0] = 1
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("change-agency-status", []byte(cmd.Code.String()), flag, []byte(reason)))
	e := event.AgencyStatusChanged{Command: c.openCommand(x), Code: cmd.Code.String(), Suspended: cmd.Suspended, Reason: reason}
	return c.registerFact(ctx, x, event.TypeAgencyStatusChanged, []any{e}, func(uint64) error {
		if !c.isRegistered(cmd.Code) {
			return fmt.Errorf("agency %s: %w", cmd.Code, ErrUnknownAgency)
		}
		return nil
	})
}
