package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"kiroku/adapters/admin"
	"kiroku/domain/event"
)

// keysRotateCmd is kiroku keys rotate.
type keysRotateCmd struct {
	Vault   keysRotateVaultCmd   `cmd:"" help:"Give the vault a new root key, and carry out approved deletions."`
	Propose keysRotateProposeCmd `cmd:"" help:"Propose to rotate the vault though nobody is to be deleted."`
	Approve keysRotateApproveCmd `cmd:"" help:"Approve that, as an official."`
	List    keysRotateListCmd    `cmd:"" help:"List such proposals."`
}

// keysRotateVaultCmd is kiroku keys rotate vault.
type keysRotateVaultCmd struct {
	orderFlags
	Yes           bool `help:"Rotate without asking; needed where no terminal is."`
	WithoutBackup bool `help:"Also where the ledger records no finished backup."`
}

// Help teaches.
func (keysRotateVaultCmd) Help() string {
	return `Moves the keys of the issuance register (連携用符号発行管理ファイル) under a new root key of the HSM and destroys the old one, while the core goes on working. Every physical deletion (物理削除) that two officials have approved is carried out with it: these people's keys do not go along, and nothing of them can be read again, in no copy. Where no deletion waits, two officials must have approved the rotation itself, see kiroku keys rotate propose.

Before the old root key is destroyed the core has read the whole register and compared whom it names with the register's view and the vault, and opened everybody's key under the new one. If anything differs, nothing is destroyed.

A rotation that was interrupted is finished first, and by the core itself. Should the token refuse to destroy the old root key, the core tries again, says so in its log and at its readiness, and certifies nothing until it is done.

Copies of the ledger from before a rotation open nothing of the issuance register afterwards, and copies of the token from before it do not hold the new root key. The command says how old the newest backup is, and wants --without-backup where there is none. As soon as it is done, make a backup of the ledger, and one of the token by its maker's means, in place of the old one.

Examples:

    kiroku keys rotate vault
    kiroku keys rotate vault --yes --without-backup`
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

// vaultState is what is known ahead of a rotation.
type vaultState struct {
	Generation int          `json:"generation"`
	Rotating   bool         `json:"rotating"`  // one was interrupted
	Deletions  int          `json:"deletions"` // approved, and not carried out
	Rotations  int          `json:"rotations"` // likewise
	Backup     *backupState `json:"backup"`    // the newest
}

type backupState struct {
	At     time.Time `json:"at"`     // finished
	Anchor uint64    `json:"anchor"` // up to which it goes, a revision of the registry
}

// rotateOrder is the command as the endpoint takes it.
type rotateOrder struct {
	order
	WithoutBackup bool `json:"without_backup"`
}

// Run asks the core and shows how it goes on.
func (cmd keysRotateVaultCmd) Run(c *call) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	if err := cmd.ask(c, client); err != nil {
		return err
	}
	o, err := cmd.order()
	if err != nil {
		return err
	}
	last, err := cmd.follow(c, client, rotateOrder{o, cmd.WithoutBackup})
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

// follow has the core rotate and shows each step as it comes.
func (cmd keysRotateVaultCmd) follow(c *call, client *admin.Client, o rotateOrder) (last rotationStep, err error) {
	progress := c.progress("rotating the vault")
	defer progress.end()
	shown := rotationStep{}
	err = client.FollowOrder(c.ctx, http.MethodPost, "/vault/rotations", o, func(d *json.Decoder) error {
		var step rotationStep
		if err := d.Decode(&step); err != nil {
			return fmt.Errorf("reading the core's answer: %w", err)
		}
		if last = step; step.End {
			return nil
		}
		if step.Step != shown.Step {
			progress.say(fmt.Sprintf("generation %d: %s", step.Generation, step.Step))
			shown = rotationStep{Step: step.Step}
		}
		progress.add(int(step.Done - shown.Done))
		shown.Done = step.Done
		return nil
	})
	return last, err
}

// ask says what will be done and what it costs, and has the operator agree.
func (cmd keysRotateVaultCmd) ask(c *call, client *admin.Client) error {
	var state vaultState
	if err := client.Call(c.ctx, http.MethodGet, "/vault", nil, &state); err != nil {
		return err
	}
	if !state.Rotating && state.Deletions+state.Rotations == 0 {
		return nil // the core refuses it, or says again what came of the same command
	}
	fmt.Fprint(c.err, state.text(time.Now()))
	if state.Backup == nil && !state.Rotating && !cmd.WithoutBackup {
		return errors.New("rotating the vault: nothing was done: make a backup first (kiroku backup create), or give --without-backup")
	}
	if cmd.Yes {
		return nil
	}
	if !isTerminal(os.Stdin) {
		return errors.New("rotating the vault: nobody can be asked; nothing was done: give --yes")
	}
	fmt.Fprint(c.err, "Type rotate to do it: ")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(answer) != "rotate" {
		return errors.New("rotating the vault: nothing was done")
	}
	return nil
}

func (s vaultState) text(now time.Time) string {
	var text strings.Builder
	if s.Rotating {
		fmt.Fprintf(&text, "A rotation of the vault was interrupted and will be finished first.\n")
	}
	fmt.Fprintf(&text, "The vault is at generation %d. Its root key will be destroyed; %d physical deletions are carried out and cannot be undone.\n", s.Generation, s.Deletions)
	if s.Backup == nil {
		text.WriteString("The ledger records no backup that was finished.\n")
	} else {
		fmt.Fprintf(&text, "The newest backup that the ledger records was finished on %s, %s ago.\n", s.Backup.At.Format(time.RFC3339), now.Sub(s.Backup.At).Round(time.Minute))
	}
	text.WriteString("No backup from before the rotation, however new, opens the issuance register afterwards: make one as soon as it is done.\n")
	return text.String()
}

// keysRotateProposeCmd is kiroku keys rotate propose.
type keysRotateProposeCmd struct{ proposeFlags }

// Help teaches.
func (keysRotateProposeCmd) Help() string {
	return `Proposes to rotate the vault though nobody is to be deleted. It destroys a root key that no rule ends, and no earlier backup opens the issuance register afterwards, so two different officials must approve it. A rotation that carries out deletions needs no other approval than theirs.

Example:

    kiroku keys rotate propose --reason "copy of the token lost, protocol 2026-119"`
}

// Run proposes.
func (cmd keysRotateProposeCmd) Run(c *call) error {
	o, a, err := cmd.asking()
	if err != nil {
		return err
	}
	return cmd.propose(c, "/vault/proposals", "keys rotate", askedOrder{o, a})
}

// keysRotateApproveCmd is kiroku keys rotate approve.
type keysRotateApproveCmd struct{ approveFlags }

// Help teaches.
func (keysRotateApproveCmd) Help() string {
	return `Approves a rotation of the vault by itself. It is done by the next kiroku keys rotate vault.

` + approveHelp + `

Example:

    kiroku keys rotate approve 5a0f…e1 --certificate official-1.pem --key official-1.key`
}

// Run approves.
func (cmd keysRotateApproveCmd) Run(c *call) error { return cmd.approve(c, event.ProposalRotation) }

// keysRotateListCmd is kiroku keys rotate list.
type keysRotateListCmd struct{}

// Help teaches.
func (keysRotateListCmd) Help() string {
	return `Lists the proposals to rotate the vault by itself, with their states.

Example:

    kiroku keys rotate list`
}

// Run lists.
func (keysRotateListCmd) Run(c *call) error {
	client, err := c.admin()
	if err != nil {
		return err
	}
	list, err := c.proposals(client, event.ProposalRotation)
	if err != nil {
		return err
	}
	text, err := proposalTable(list.Proposals, "MATTER", func(proposalLine) string { return "a new root key" })
	if err != nil {
		return err
	}
	return c.print(map[string]any{"proposals": list.Proposals}, text)
}
