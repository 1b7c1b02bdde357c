package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"kiroku/adapters/admin"
	"kiroku/commands"
)

// askedOrder proposes something that needs no other word.
type askedOrder struct {
	order
	asked
}

// errNoBackup: nobody can say that the ledger would be there again.
var errNoBackup = errors.New("the ledger records no backup that was finished: make one first, or say that there need be none (--without-backup)")

// registerRotation lets the endpoint answer kiroku keys rotate.
func registerRotation(endpoint *admin.Server, core *Core) {
	handleOrders(endpoint, "POST /vault/proposals", func(ctx context.Context, _ *http.Request, o askedOrder) (any, error) {
		return proposed(core.Node.Core.ProposeRotation(ctx, commands.ProposeRotation{Meta: o.meta(commands.RoleOperator), Asked: o.command()}))
	})
	endpoint.Handle("GET /vault", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state, err := core.vaultState(r.Context())
		if err != nil {
			admin.Fail(w, statusOf(err), err)
			return
		}
		admin.Answer(w, http.StatusOK, state)
	}))
	endpoint.Handle("POST /vault/rotations", http.HandlerFunc(core.rotateVault))
}

func (c *Core) vaultState(ctx context.Context) (s vaultState, err error) {
	core := c.Node.Core
	backup, at, found, err := core.LastBackup(ctx)
	if err != nil {
		return s, err
	}
	s.Generation, s.Rotating = core.Vault()
	s.Deletions, s.Rotations = len(core.ApprovedDeletions()), len(core.ApprovedRotations())
	if found {
		s.Backup = &backupState{at.UTC(), backup.Anchor}
	}
	return s, nil
}

// rotateVault answers with a line for each step, and one at the end.
func (c *Core) rotateVault(w http.ResponseWriter, r *http.Request) {
	var given rotateOrder
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&given); err != nil {
		admin.Fail(w, http.StatusBadRequest, errors.New("the body is no such command"))
		return
	}
	if err := c.mayRotate(r.Context(), given); err != nil {
		admin.Fail(w, rotationStatus(err), err)
		return
	}
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w).Flush
	begun := false
	say := func(step rotationStep) {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			begun = true
		}
		_ = errors.Join(out.Encode(step), flush()) // a caller that is gone ends the context
	}
	done, err := c.Node.RotateVault(r.Context(), given.meta(commands.RoleOperator), func(s commands.RotationStep) {
		say(rotationStep{Generation: s.Generation, Step: s.Step, Done: s.Done, Of: s.Of})
	})
	if err != nil && !begun {
		admin.Fail(w, rotationStatus(err), err)
		return
	}
	end := rotationStep{End: true, Generation: done.Generation, Deletions: done.Deletions, Before: done.Before}
	if err != nil {
		end.Error = err.Error()
	}
	say(end)
}

// mayRotate refuses to begin a rotation on a ledger without a backup, unless that is meant. One that was begun is finished.
func (c *Core) mayRotate(ctx context.Context, given rotateOrder) error {
	if given.WithoutBackup {
		return nil
	}
	s, err := c.vaultState(ctx)
	if err == nil && s.Backup == nil && !s.Rotating && s.Deletions+s.Rotations > 0 {
		err = errNoBackup
	}
	return err
}

func rotationStatus(err error) int {
	for _, refused := range []error{errNoBackup, commands.ErrNotApproved, commands.ErrRotationNotApproved, commands.ErrRotationUnapproved} {
		if errors.Is(err, refused) {
			return http.StatusConflict
		}
	}
	return statusOf(err)
}
