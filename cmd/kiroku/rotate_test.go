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
)

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

// TestApprovedDeletionsAreCarriedOutByARotation, those that one official approved are not, and a rotation without any is one
// all the same.
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
		out := b.json("keys", "rotate", "vault", "--id", id)
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
	if out := b.run("keys", "rotate", "vault").must(t).out; !strings.Contains(out, "generation 3") || !strings.Contains(out, "0 deletions") || !strings.Contains(out, "backup") {
		t.Error(out)
	}
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
		go func() { ended <- kiroku(t, "keys", "rotate", "vault", "--data", b.data) }()
		time.Sleep(time.Duration(rand.IntN(900)) * time.Millisecond)
		_ = b.process.Process.Kill()
		<-b.process.exited
		<-ended
		b.process = start(t, b.data, b.process.Args[1:len(b.process.Args)-2]...)
		eventually(t, "ready", func() bool { ok, _ := ready(t, b.data); return ok })
		b.run("keys", "rotate", "vault").must(t)
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
