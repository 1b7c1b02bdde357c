package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"kiroku/adapters/admin"
	"kiroku/commands"
)

// keysRotateCmd is kiroku keys rotate.
type keysRotateCmd struct {
	Vault keysRotateVaultCmd `cmd:"" help:"Give the vault a new root key, and carry out approved deletions."`
}

// keysRotateVaultCmd is kiroku keys rotate vault.
type keysRotateVaultCmd struct{ orderFlags }

// Help teaches.
func (keysRotateVaultCmd) Help() string {
	return `Moves the keys of the issuance register (連携用符号発行管理ファイル) under a new root key of the HSM and destroys the old one, while the core goes on working. Every physical deletion (物理削除) that two officials have approved is carried out with it: these people's keys do not go along, and nothing of them can be read again, in no copy. Without any, the vault is just rotated.

A rotation that was interrupted is finished first, and by the core itself. The old root key is destroyed when the new generation is complete; should the token refuse, the core tries again, says so in its log and at its readiness, and certifies nothing until it is done.

Copies of the ledger from before a rotation open nothing of the issuance register afterwards, and copies of the token from before it do not hold the new root key: as soon as it is done, make a backup of the ledger, and one of the token by its maker's means, in place of the old one.

Example:

    kiroku keys rotate vault`
}

// rotationStep is one line of what the admin endpoint says of a rotation.
type rotationStep struct {
	Generation int    `json:"generation,omitempty"`
	Step       string `json:"step,omitempty"`
	Done       uint64 `json:"done,omitempty"`
	Of         uint64 `json:"of,omitempty"`
	End        bool   `json:"end,omitempty"`
	Deletions  int    `json:"deletions"`        // carried out; of the end
	Before     int    `json:"before,omitempty"` // of these, of people whom an earlier rotation had deleted
	Error      string `json:"error,omitempty"`
}

// Run asks the core and shows how it goes on.
func (cmd keysRotateVaultCmd) Run(c *call) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	o, err := cmd.order()
	if err != nil {
		return err
	}
	progress := c.progress("rotating the vault")
	defer progress.end()
	var last rotationStep
	shown := map[string]uint64{}
	err = client.FollowOrder(c.ctx, http.MethodPost, "/vault/rotations", o, func(d *json.Decoder) error {
		var step rotationStep
		if err := d.Decode(&step); err != nil {
			return fmt.Errorf("reading the core's answer: %w", err)
		}
		if last = step; !step.End {
			progress.add(int(step.Done - shown[step.Step]))
			shown[step.Step] = step.Done
		}
		return nil
	})
	progress.end()
	switch {
	case err != nil:
		return err
	case last.Error != "":
		return fmt.Errorf("rotating the vault: %s; what was begun is finished by the core, or by the same command with --id %s", last.Error, cmd.ID)
	case !last.End:
		return fmt.Errorf("rotating the vault: the core stopped before it was done; the core that is active next goes on, or the same command with --id %s", cmd.ID)
	}
	done := fmt.Sprintf("%d deletions were carried out", last.Deletions)
	if last.Before > 0 {
		done += fmt.Sprintf(", %d of them of people whom an earlier rotation had deleted", last.Before)
	}
	return c.print(map[string]any{"generation": last.Generation, "deletions": last.Deletions, "before": last.Before},
		fmt.Sprintf("The vault is at generation %d, the root key before it is destroyed, %s.\nCopies of the ledger from before no longer open: make a backup now.", last.Generation, done))
}

// registerRotation lets the endpoint answer kiroku keys rotate vault.
func registerRotation(endpoint *admin.Server, core *Core) {
	endpoint.Handle("POST /vault/rotations", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var given order
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&given); err != nil {
			admin.Fail(w, http.StatusBadRequest, errors.New("the body is no such command"))
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
		done, err := core.Node.RotateVault(r.Context(), given.meta(commands.RoleOperator), func(s commands.RotationStep) {
			say(rotationStep{Generation: s.Generation, Step: s.Step, Done: s.Done, Of: s.Of})
		})
		if err != nil && !begun {
			admin.Fail(w, statusOf(err), err)
			return
		}
		end := rotationStep{End: true, Generation: done.Generation, Deletions: done.Deletions, Before: done.Before}
		if err != nil {
			end.Error = err.Error()
		}
		say(end)
	}))
}
