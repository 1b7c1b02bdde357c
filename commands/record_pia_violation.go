package commands

import (
	"context"
	"fmt"

	"kiroku/domain/event"
	"kiroku/domain/scope"
)

// RecordPIAViolation says that the assessment (特定個人情報保護評価) of an agency's file is missing or
// unpublished (Act 21(2), 28): no exchange may touch the file on those days.
type RecordPIAViolation struct {
	Meta
	Violation scope.Violation
}

// RecordPIAViolation records. Errors: scope.ErrInvalid, ErrUnknownAgency, ErrConflict, ErrTooOld, and those of the
// sequencer.
func (c *Core) RecordPIAViolation(ctx context.Context, cmd RecordPIAViolation) error {
	if err := c.checkAs(cmd.Meta, RoleOperator); err != nil {
		return err
	}
	v, err := scope.NewViolation(cmd.Violation)
	if err != nil {
		return err
	}
	e := event.PIAViolation{Agency: v.Agency.String(), File: v.File, From: v.From.String(), Reason: v.Reason}
	if !v.To.IsZero() {
		e.To = v.To.String()
	}
	x := newCall(cmd.Meta, c.d.Keyring.Digest("record-pia-violation", []byte(e.Agency), []byte(e.File), []byte(e.From), []byte(e.To), []byte(e.Reason)))
	e.Command = c.openCommand(x)
	return c.registerFact(ctx, x, event.TypePIAViolation, []any{e}, func(uint64) error {
		if !c.isRegistered(v.Agency) {
			return fmt.Errorf("agency %s: %w", v.Agency, ErrUnknownAgency)
		}
		return nil
	})
}
