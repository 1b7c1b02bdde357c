package main_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/jukinet"
	"kiroku/commands"
)

// rotateVault are the arguments of a rotation that nobody is asked about, on a ledger without backups.
func rotateVault(more ...string) []string {
	return append([]string{"keys", "rotate", "vault", "--yes", "--without-backup"}, more...)
}

// propose proposes the deletion of people of the demonstration and returns the proposals.
func (b *bureau) proposeDeletions(people ...int) (proposals []string) {
	b.t.Helper()
	var answer struct{ Requests []struct{ Proposal string } }
	out := b.run("deletion", "propose", b.message(jukinet.SealDeletions, people...), "--reason", "clerical error", "--json").must(b.t).out
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		b.t.Fatal(err)
	}
	for _, r := range answer.Requests {
		proposals = append(proposals, r.Proposal)
	}
	return proposals
}

func (b *bureau) approveDeletion(proposal string, officials ...string) {
	b.t.Helper()
	for _, o := range officials {
		b.run(append([]string{"deletion", "approve", proposal, "--yes"}, b.as("officials", o)...)...).must(b.t)
	}
}

// roots are the root keys of the vault in the token.
func (b *bureau) roots() (labels []string) {
	b.t.Helper()
	for _, k := range b.json("keys", "list")["keys"].([]any) {
		if label := k.(map[string]any)["label"].(string); strings.HasPrefix(label, "vault/") {
			labels = append(labels, label)
		}
	}
	return labels
}

func officeWithPeople(t *testing.T) *bureau {
	folder := t.TempDir()
	kiroku(t, "demo", "--people", "40", "--inquiries", "60", "--data", filepath.Join(folder, "data"), "--set", "statistics.connection=off").must(t)
	return openBureauIn(t, folder)
}

// rotatesAlone rotates the vault without a deletion: refused unless two officials approved it.
func (b *bureau) rotatesAlone() {
	t := b.t
	t.Helper()
	b.refuses(map[string]refusal{"without approval": {rotateVault(), "two officials did not approve"}})
	proposal, _ := b.json("keys", "rotate", "propose", "--reason", "copy of the token lost")["proposal"].(string)
	b.refuses(map[string]refusal{
		"without approvals":     {rotateVault(), "two officials did not approve"},
		"approved as otherwise": {append([]string{"deletion", "approve", proposal, "--yes"}, b.as("officials", "official-1")...), "vault-rotation"},
	})
	for _, o := range []string{"official-1", "official-2"} {
		b.run(append([]string{"keys", "rotate", "approve", proposal, "--yes"}, b.as("officials", o)...)...).must(t)
	}
	if list := b.run("keys", "rotate", "list").must(t).out; !strings.Contains(list, proposal) || !strings.Contains(list, "approved") || !strings.Contains(list, "copy of the token lost") {
		t.Error(list)
	}
	done := b.run(rotateVault()...).must(t)
	if !strings.Contains(done.out, "generation 3") || !strings.Contains(done.out, "0 deletions") || !strings.Contains(done.out, "backup") {
		t.Error(done.out)
	}
	if list := b.run("keys", "rotate", "list").must(t).out; !strings.Contains(list, "carried out") {
		t.Error(list)
	}
	b.refuses(map[string]refusal{"again": {rotateVault(), "two officials did not approve"}})
}

// TestARotationSaysWhatItCosts before it begins, and asks; without a backup it wants to hear that there need be none.
func TestARotationSaysWhatItCosts(t *testing.T) {
	b := officeWithPeople(t)
	b.approveDeletion(b.proposeDeletions(4)[0], "official-1", "official-2")
	b.refuses(map[string]refusal{
		"nobody can be asked": {[]string{"keys", "rotate", "vault", "--without-backup"}, "give --yes"},
		"no backup":           {[]string{"keys", "rotate", "vault", "--yes"}, "no backup that was finished"},
	})
	if got := b.roots(); len(got) != 1 || got[0] != "vault/1" {
		t.Fatalf("root keys %v", got)
	}
	identity := filepath.Join(b.folder, "identity.txt")
	recipient, _ := b.json("backup", "identity", "--out", identity)["recipient"].(string)
	b.run("backup", "create", filepath.Join(b.folder, "backup"), "--recipient", recipient).must(t)
	done := b.run("keys", "rotate", "vault", "--yes").must(t)
	for _, said := range []string{"generation 1", "1 physical deletions", "newest backup that the ledger records was finished on", "however new"} {
		if !strings.Contains(done.err, said) {
			t.Errorf("%q is not said:\n%s", said, done.err)
		}
	}
	at := 0
	for _, step := range []string{commands.StepBucketKeys, commands.StepPeople, commands.StepCompare, commands.StepComplete, commands.StepOpens, commands.StepDestroy, commands.StepCertify} {
		line := "generation 2: " + step + "\n"
		if next := strings.Index(done.err[at:], line); next < 0 {
			t.Errorf("the step is not shown, or not in its place: %q\n%s", line, done.err)
		} else {
			at += next
		}
	}
}

// TestApprovedDeletionsAreCarriedOutByARotation, those that one official approved are not.
func TestApprovedDeletionsAreCarriedOutByARotation(t *testing.T) {
	b := officeWithPeople(t)
	proposals := b.proposeDeletions(0, 3, 5)
	b.approveDeletion(proposals[0], "official-1", "official-2")
	b.approveDeletion(proposals[1], "official-1", "official-2")
	b.approveDeletion(proposals[2], "official-1")
	if list := b.run("deletion", "list").must(t).out; !strings.Contains(list, "2 approved and not carried out") || !strings.Contains(list, "kiroku keys rotate vault") {
		t.Errorf("the list does not say what waits:\n%s", list)
	}
	if text := metricsOf(t, b.data); !strings.Contains(text, "kiroku_deletions_waiting 2") || strings.Contains(text, "kiroku_deletions_waiting_seconds 0\n") {
		t.Error("the metrics do not tell what waits")
	}
	id := uuid.Must(uuid.NewV7()).String()
	for range 2 { // the same command again: the same outcome
		out := b.json(rotateVault("--id", id)...)
		if out["generation"] != 2.0 {
			t.Errorf("%v", out)
		}
	}
	if s := b.state("deletion", "proposal", proposals[0]) + ", " + b.state("deletion", "proposal", proposals[1]) + ", " + b.state("deletion", "proposal", proposals[2]); s != "carried out, carried out, open" {
		t.Error(s)
	}
	if list := b.run("deletion", "list").must(t).out; strings.Contains(list, "not carried out") {
		t.Errorf("the list says that something waits:\n%s", list)
	}
	if got := b.roots(); len(got) != 1 || got[0] != "vault/2" {
		t.Errorf("root keys %v", got)
	}
	again := b.run("deletion", "propose", b.message(jukinet.SealDeletions, 0), "--reason", "clerical error")
	if again.code == 0 || !strings.Contains(again.out+again.err, "unknown person") {
		t.Errorf("the deletion of somebody deleted: %s%s", again.out, again.err)
	}
	b.rotatesAlone()
	b.run("projections", "rebuild", "dedup").must(t)
	b.run("verify").must(t)
	dump := b.run("dump").must(t).out
	for _, eventType := range []string{"vault-completed", "vault-rotated"} {
		if !strings.Contains(dump, eventType) {
			t.Errorf("the dump has no %s", eventType)
		}
	}
}

// TestARotationThatIsKilledIsFinished by the core that is started next, wherever it was.
func TestARotationThatIsKilledIsFinished(t *testing.T) {
	b := officeWithPeople(t)
	proposals := b.proposeDeletions(1, 2, 3)
	for i, proposal := range proposals {
		b.approveDeletion(proposal, "official-1", "official-2")
		ended := make(chan result, 1)
		go func() { ended <- kiroku(t, rotateVault("--data", b.data)...) }()
		time.Sleep(time.Duration(rand.IntN(900)) * time.Millisecond)
		_ = b.process.Process.Kill()
		<-b.process.exited
		<-ended
		b.process = start(t, b.data, b.process.Args[1:len(b.process.Args)-2]...)
		eventually(t, "ready", func() bool { ok, _ := ready(t, b.data); return ok })
		if b.state("deletion", "proposal", proposal) != "carried out" { // or the core has finished it by itself, or nothing had begun
			b.run(rotateVault()...).must(t)
		}
		if s := b.state("deletion", "proposal", proposal); s != "carried out" {
			t.Fatalf("round %d: %s", i, s)
		}
		if got := b.roots(); len(got) != 1 {
			t.Errorf("root keys %v", got)
		}
	}
	b.run("verify").must(t)
	rotated := strings.Count(b.run("dump", "--stream", "registry").must(t).out, `"vault-rotated"`)
	if got := b.roots(); rotated < len(proposals) || got[0] != fmt.Sprint("vault/", rotated+1) {
		t.Errorf("%d certificates, root keys %v", rotated, got)
	}
}
