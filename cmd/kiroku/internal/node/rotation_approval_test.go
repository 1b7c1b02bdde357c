package node_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
)

// TestARotationThatDeletesNobodyNeedsTwoOfficials: it makes every earlier backup of the register worthless, and no command
// does that by itself.
func TestARotationThatDeletesNobodyNeedsTwoOfficials(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", oneBucket)
	c.Register("a")
	c.Issue("a", 1)
	p := proposeRotation(c)
	for name, cmd := range map[string]commands.RotateVault{
		"nothing":                {},
		"what is approved":       {Approved: true},
		"a proposal of nobody's": {Rotations: []approval.Hash{{1}}},
		"one not approved":       {Rotations: []approval.Hash{p.Hash}},
	} {
		cmd.Meta = w.Meta("")
		if _, err := c.Core.RotateVault(t.Context(), cmd, nil); !errors.Is(err, commands.ErrRotationNotApproved) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !hasRoot(c, 1) || nodetest.Count(c.Verify(), event.TypeVaultOpened) != 1 {
		t.Fatal("a rotation began")
	}
	c.Approve(p)
	cmd := commands.RotateVault{Meta: w.Meta(""), Approved: true}
	for range 2 { // the command again: the same outcome
		if out, err := c.Core.RotateVault(t.Context(), cmd, nil); err != nil || out.Generation != 2 || out.Deletions != 0 {
			t.Errorf("%+v, %v", out, err)
		}
	}
	if hasRoot(c, 1) || len(c.Core.ApprovedRotations()) != 0 {
		t.Error("the old root key is there, or the proposal still waits")
	}
	for _, proposals := range [][]approval.Hash{nil, {p.Hash}} {
		again := commands.RotateVault{Meta: w.Meta(""), Rotations: proposals}
		if _, err := c.Core.RotateVault(t.Context(), again, nil); !errors.Is(err, commands.ErrRotationNotApproved) {
			t.Errorf("another rotation by the same approvals: %v", err)
		}
	}
	var certified []event.VaultRotated
	for _, e := range eventsOf(c, event.StreamRegistry) {
		if e.Type == event.TypeVaultRotated {
			v, err := event.Decode[event.VaultRotated](e.Data)
			if err != nil {
				t.Fatal(err)
			}
			certified = append(certified, v)
		}
	}
	if len(certified) != 1 || len(certified[0].Rotations) != 1 || approval.Hash(certified[0].Rotations[0]) != p.Hash {
		t.Errorf("certificates %+v", certified)
	}
}

// TestTheSameCommandWithOtherDeletions is another command.
func TestTheSameCommandWithOtherDeletions(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", oneBucket)
	c.Register("a")
	for person := range 3 {
		c.Issue("a", person)
	}
	cmd := commands.RotateVault{Meta: w.Meta(""), Deletions: []commands.Deletion{requestDeletion(c, 0)}}
	for range 2 {
		if out, err := c.Core.RotateVault(t.Context(), cmd, nil); err != nil || out.Deletions != 1 {
			t.Errorf("%+v, %v", out, err)
		}
	}
	other := requestDeletion(c, 1)
	for name, deletions := range map[string][]commands.Deletion{"another": {other}, "one more": append(slices.Clone(cmd.Deletions), other), "none": nil} {
		changed := cmd
		changed.Deletions = deletions
		if _, err := c.Core.RotateVault(t.Context(), changed, nil); !errors.Is(err, commands.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all := c.Core.ApprovedDeletions(); len(all) != 1 || all[0] != other {
		t.Errorf("%d wait", len(all))
	}
}

// slip writes a generation into the vault that no command made, as somebody with the signing key can.
func slip(c *nodetest.Core, deleted []register.SubjectID, change func(*event.VaultOpened)) {
	c.W.TB.Helper()
	ctx := c.W.TB.Context()
	if err := node.VaultKeysOf(c.HSM).EnsureKey(ctx, keyring.RootLabel(2)); err != nil {
		c.W.TB.Fatal(err)
	}
	o, err := c.Keyring.NextVault(ctx, deleted, nil)
	if err != nil {
		c.W.TB.Fatal(err)
	}
	change(&o)
	plain, err := event.Encode(o)
	if err != nil {
		c.W.TB.Fatal(err)
	}
	d, err := ledger.Plain(ledger.AAD{Stream: event.StreamVault, ID: uuid.New(), Type: event.TypeVaultOpened, Time: c.W.Now().UTC().Truncate(time.Microsecond)}, plain)
	if err != nil {
		c.W.TB.Fatal(err)
	}
	if _, err := c.Core.Sequencers()[event.StreamVault].Submit(ctx, func(uint64) ([]ledger.Draft, error) { return []ledger.Draft{d}, nil }); err != nil {
		c.W.TB.Fatal(err)
	}
}

// TestAGenerationThatNobodyApprovedIsNotTakenIn, by no core: it is an alarm, no root key goes, and everybody stays who they
// are.
func TestAGenerationThatNobodyApprovedIsNotTakenIn(t *testing.T) {
	for name, c := range map[string]struct {
		says string
		slip func(c *nodetest.Core, one, two register.SubjectID, approved commands.Deletion)
	}{
		"without a proposal": {"no two officials approved", func(c *nodetest.Core, one, _ register.SubjectID, _ commands.Deletion) {
			slip(c, []register.SubjectID{one}, func(*event.VaultOpened) {})
		}},
		"one more than approved": {"it deletes 2 people, and 1", func(c *nodetest.Core, one, two register.SubjectID, approved commands.Deletion) {
			slip(c, []register.SubjectID{one, two}, func(o *event.VaultOpened) { o.Proposals = [][]byte{approved.Proposal[:]} })
		}},
		"somebody else": {"deletes others", func(c *nodetest.Core, _, two register.SubjectID, approved commands.Deletion) {
			slip(c, []register.SubjectID{two}, func(o *event.VaultOpened) { o.Proposals = [][]byte{approved.Proposal[:]} })
		}},
		"a proposal that one official approved": {"did not approve it", func(c *nodetest.Core, _, two register.SubjectID, approved commands.Deletion) {
			p := proposeRotation(c)
			slip(c, nil, func(o *event.VaultOpened) { o.Rotations = [][]byte{p.Hash[:]} })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := nodetest.New(t)
			active := w.Lead("a", oneBucket, patient)
			active.Register("a")
			for person := range 3 {
				active.Issue("a", person)
			}
			approved := requestDeletion(active, 1)
			one := personAt(active, approved.Revision)
			var two register.SubjectID
			for id := range entriesOf(active) {
				if id != one {
					two = id
				}
			}
			standby := w.Open("b", patient)
			if err := standby.CaughtUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.slip(active, one, two, approved)
			for _, core := range []*nodetest.Core{active, standby} {
				for core.RotationFailed() == nil {
					time.Sleep(5 * time.Millisecond)
				}
				if err := core.RotationFailed(); !errors.Is(err, commands.ErrRotationUnapproved) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("alarm: %v", err)
				}
				if _, rotating := core.Keyring.Rotating(); rotating || core.Keyring.Generation() != 1 {
					t.Error("the generation was taken in")
				}
				opensButFor(t, core.Keyring, eventsOf(active, event.StreamIssuance), nil)
			}
			_, err := active.Core.RotateVault(t.Context(), commands.RotateVault{Meta: w.Meta(""), Deletions: []commands.Deletion{approved}}, nil)
			if !errors.Is(err, commands.ErrRotationUnapproved) || !hasRoot(active, 1) {
				t.Errorf("a rotation beside it: %v, the root key is there: %v", err, hasRoot(active, 1))
			}
			if !strings.Contains(w.Logs.String(), "without approval") {
				t.Error("the log does not say it")
			}
		})
	}
}

// forgetful is a registry's view without approvals.
type forgetful struct{ commands.Retention }

func (f forgetful) Proposal(h approval.Hash) (approval.Standing, bool) {
	s, ok := f.Retention.Proposal(h)
	s.Approvals = nil
	return s, ok
}

// TestARotationOfThePastThatNobodyApprovedIsAnAlarm: its root key is gone, so the core goes on with what is left, and tells.
func TestARotationOfThePastThatNobodyApprovedIsAnAlarm(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", oneBucket)
	c.Register("a")
	for person := range 3 {
		c.Issue("a", person)
	}
	d := requestDeletion(c, 1)
	gone := entriesOf(c)[personAt(c, d.Revision)]
	rotate(c, d)
	for name, change := range map[string]func(*commands.Deps){
		"as it was":         func(*commands.Deps) {},
		"without approvals": func(d *commands.Deps) { d.Retention = forgetful{d.Retention} },
	} {
		later := w.Open(name, patient, func(c *node.Config) { c.CommandPorts = change })
		for later.Keyring.Generation() != 2 || !later.Keyring.VaultReady() {
			time.Sleep(5 * time.Millisecond)
		}
		opensButFor(t, later.Keyring, eventsOf(c, event.StreamIssuance), gone)
		alarm := later.Core.VaultAlarm()
		if wanted := name != "as it was"; errors.Is(alarm, commands.ErrRotationUnapproved) != wanted || wanted != (alarm != nil) {
			t.Errorf("%s: %v", name, alarm)
		}
	}
}

// TestTheLastBackupIsKnown, by when it was finished.
func TestTheLastBackupIsKnown(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", oneBucket)
	c.Register("a")
	if _, _, found, err := c.Core.LastBackup(t.Context()); found || err != nil {
		t.Errorf("before there is any: %v, %v", found, err)
	}
	record := func(operation string, anchor uint64) {
		b := event.Backup{ID: uuid.New(), Recipients: []string{strings.Repeat("a", 64)}, Anchor: anchor, Leaf: make([]byte, 32)}
		if operation == event.OperationBackupFinished {
			b.Manifest = make([]byte, 32)
		}
		if err := c.Core.RecordBackup(t.Context(), commands.RecordBackup{Meta: w.MetaAs(commands.RoleBackup, ""), Operation: operation, Backup: b}); err != nil {
			t.Fatal(err)
		}
	}
	record(event.OperationBackupBegun, 3)
	if _, _, found, err := c.Core.LastBackup(t.Context()); found || err != nil {
		t.Errorf("before it is finished: %v, %v", found, err)
	}
	record(event.OperationBackupFinished, 3)
	record(event.OperationBackupFinished, 5)
	record(event.OperationBackupBegun, 7)
	for range 1100 { // more than is read at once
		c.Core.PublishScopeRules(t.Context(), commands.PublishScopeRules{Meta: w.Meta("")}) //nolint:errcheck // only that it is recorded matters
	}
	b, at, found, err := c.Core.LastBackup(t.Context())
	if err != nil || !found || b.Anchor != 5 || w.Now().Sub(at).Abs() > 10*time.Minute {
		t.Errorf("backup of anchor %d at %s, %v, %v", b.Anchor, at, found, err)
	}
	w.Turn(commands.BackupRemembered + 24*time.Hour)
	proposeRotation(c)
	if _, _, found, err := c.Core.LastBackup(t.Context()); err != nil || found {
		t.Errorf("long after: found %v, %v", found, err)
	}
}
