package node_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/symbol"
	"kiroku/projections/dedup"
	"kiroku/projections/projectiontest"
)

func oneBucket(c *node.Config) { c.VaultBuckets = 1 }

func patient(c *node.Config) { c.RotationInterval = time.Hour } // the test itself resumes what is interrupted

// requestDeletion has Juki-net ask for a person's deletion and two officials approve it.
func requestDeletion(c *nodetest.Core, person int) commands.Deletion {
	c.W.TB.Helper()
	p, err := c.Core.RequestDeletion(c.W.TB.Context(), deletionOf(c, person))
	if err != nil {
		c.W.TB.Fatal(err)
	}
	c.Approve(p)
	return commands.Deletion{Proposal: p.Hash, Revision: p.Made.Revision, Leaf: ledger.Hash(p.Made.Deletion)}
}

func deletionOf(c *nodetest.Core, person int) commands.RequestDeletion {
	return commands.RequestDeletion{Meta: c.W.Meta("juki"), Code: nodetest.Code(c.W.TB, person), Number: "D-1",
		Asked: commands.Asked{Reason: "a clerical error", Within: 24 * time.Hour}}
}

// rotate rotates the vault; without deletions, as two officials approve.
func rotate(c *nodetest.Core, deletions ...commands.Deletion) commands.RotatedVault {
	c.W.TB.Helper()
	cmd := commands.RotateVault{Meta: c.W.Meta(""), Deletions: deletions}
	if len(deletions) == 0 {
		p := proposeRotation(c)
		c.Approve(p)
		cmd.Rotations = []approval.Hash{p.Hash}
	}
	out, err := c.Core.RotateVault(c.W.TB.Context(), cmd, nil)
	if err != nil {
		c.W.TB.Fatalf("rotate: %v\n%s", err, c.W.Logs)
	}
	return out
}

func proposeRotation(c *nodetest.Core) commands.Proposed {
	c.W.TB.Helper()
	p, err := c.Core.ProposeRotation(c.W.TB.Context(), commands.ProposeRotation{Meta: c.W.Meta(""), Asked: commands.Asked{Reason: "a new root key", Within: 24 * time.Hour}})
	if err != nil {
		c.W.TB.Fatal(err)
	}
	return p
}

// eventsOf reads a stream as it is stored.
func eventsOf(c *nodetest.Core, stream string) []ledger.Event {
	c.W.TB.Helper()
	var all []ledger.Event
	for e, err := range c.Events(c.W.TB.Context(), stream) {
		if err != nil {
			c.W.TB.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// opened says which of the register's events open to a keyring: by revision nil, or why not.
func opened(tb testing.TB, k *keyring.Keyring, events []ledger.Event) map[uint64]error {
	tb.Helper()
	out := map[uint64]error{}
	for _, e := range events {
		h, _, _, err := ledger.DecodeMetadata(e.Metadata)
		if err != nil {
			tb.Fatal(err)
		}
		if h.Sealed() {
			_, out[e.Revision] = k.Open(tb.Context(), h, e.Data)
		}
	}
	return out
}

// rebuildsEqually makes the register's view again and compares the rows.
func rebuildsEqually(c *nodetest.Core) {
	c.W.TB.Helper()
	if err := c.CaughtUp(c.W.TB.Context()); err != nil {
		c.W.TB.Fatal(err)
	}
	live, err := projectiontest.Dump(c.Dedup.Rows())
	if err != nil {
		c.W.TB.Fatal(err)
	}
	if err := c.Runner.Rebuild(c.W.TB.Context(), dedup.Name, nil); err != nil {
		c.W.TB.Fatal(err)
	}
	rebuilt, err := projectiontest.Dump(c.Dedup.Rows())
	if err != nil || live != rebuilt {
		c.W.TB.Fatalf("the rebuilt view differs (%v):\n%s\nlive:\n%s", err, rebuilt, live)
	}
}

// TestAPhysicalDeletion: the deleted person is nobody any more, at any agency, and comes into the register anew; everybody
// else's symbols stay what they are.
func TestAPhysicalDeletion(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", oneBucket)
	c.Register("a", "b")
	gone := map[string]symbol.Agency{"a": c.Issue("a", 1), "b": c.Issue("b", 1)}
	stays := map[string]symbol.Agency{"a": c.Issue("a", 2), "b": c.Issue("b", 2)}
	inquired, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", gone["a"]))
	if err != nil || inquired.Refusal != 0 {
		t.Fatal(inquired.Refusal, err)
	}
	lapses := c.Inquiry("a", "b", gone["a"])
	lapses.Request.Validity = time.Hour
	open, err := c.Core.SubmitInquiry(t.Context(), lapses)
	if err != nil || open.Refusal != 0 {
		t.Fatal(open.Refusal, err)
	}

	request := deletionOf(c, 1)
	first, err := c.Core.RequestDeletion(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	request.Code = nodetest.Code(t, 1)
	again, err := c.Core.RequestDeletion(t.Context(), request)
	if err != nil || again.Hash != first.Hash {
		t.Fatalf("the request again: another proposal, or %v", err)
	}
	if _, err := c.Core.RequestDeletion(t.Context(), deletionOf(c, 7)); !errors.Is(err, commands.ErrUnknownPerson) {
		t.Errorf("the deletion of nobody: %v", err)
	}
	c.Approve(first)
	out := rotate(c, commands.Deletion{Proposal: first.Hash, Revision: first.Made.Revision, Leaf: ledger.Hash(first.Made.Deletion)})
	if out.Generation != 2 || out.Deletions != 1 || out.Moved != 1 {
		t.Errorf("rotated: %+v", out)
	}

	for agency, other := range map[string]string{"a": "b", "b": "a"} {
		if a, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry(agency, other, gone[agency])); err != nil || a.Refusal != inquiry.UnknownPerson {
			t.Errorf("the deleted person's symbol at %s: %q %v", agency, a.Refusal.Code(), err)
		}
		if a, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry(agency, other, stays[agency])); err != nil || a.Refusal != 0 {
			t.Errorf("another person's symbol at %s: %q %v", agency, a.Refusal.Code(), err)
		}
	}
	if a, err := c.Core.IssueSymbol(t.Context(), c.IssueCommand("a", 2)); err != nil || !a.AlreadyAcquired {
		t.Errorf("a symbol that was issued before: already acquired %v, %v", a.AlreadyAcquired, err)
	}
	endsWell(c, inquired.ProcessingNumber, open.ProcessingNumber)

	if _, err := c.Core.DiscloseRecords(t.Context(), disclosureOf(c, "a", gone["a"])); !errors.Is(err, commands.ErrUnknownPerson) {
		t.Errorf("disclosure by the old symbol: %v", err)
	}
	anew := c.Issue("a", 1)
	if anew == gone["a"] {
		t.Error("the same symbol as before")
	}
	if d, err := c.Core.DiscloseRecords(t.Context(), disclosureOf(c, "a", anew)); err != nil || len(d.Person) != 0 {
		t.Errorf("%d records are disclosed to who comes anew, %v", len(d.Person), err)
	}
	certified(c, first.Hash[:], 2)
	rebuildsEqually(c)
	c.Verify()
}

// endsWell answers one inquiry about somebody who was deleted meanwhile and lets another lapse.
func endsWell(c *nodetest.Core, answered, open inquiry.ProcessingNumber) {
	t := c.W.TB
	t.Helper()
	gateway := c.W.Meta("b").Actor
	taken, err := c.Core.TakeNotifications(t.Context(), gateway, 10)
	if err != nil {
		t.Errorf("notifications after a deletion: %v", err)
	}
	for _, n := range taken {
		if n.ProcessingNumber == answered || n.ProcessingNumber == open {
			t.Error("a notification about the deleted person is given out")
		}
	}
	err = c.Core.ReportProvision(t.Context(), commands.ReportProvision{Meta: c.W.Meta("b"), ProcessingNumber: answered,
		Answer: inquiry.AnswerFields{Kind: inquiry.CannotProvide}})
	if err != nil {
		t.Errorf("a report about the deleted person: %v", err)
	}
	c.W.Turn(2 * time.Hour)
	for {
		if err := c.CaughtUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := c.Core.LapseInquiries(t.Context(), 100)
		if s, ok, _ := c.Mediation.Standing([16]byte(open)); err != nil || !ok || s.State == inquiry.Lapsed.String() {
			if err != nil || !ok {
				t.Errorf("the other inquiry does not lapse: %v", err)
			}
			return
		}
	}
}

func disclosureOf(c *nodetest.Core, agency string, s symbol.Agency) commands.DiscloseRecords {
	return commands.DiscloseRecords{Meta: c.W.MetaAs(commands.RoleDisclosure, agency), Symbol: s, Receipt: "R-1", Audience: commands.AudiencePerson}
}

// certified finds the one certificate of a rotation.
func certified(c *nodetest.Core, proposal []byte, generation int) {
	t := c.W.TB
	t.Helper()
	n := 0
	for _, e := range eventsOf(c, event.StreamRegistry) {
		if e.Type != event.TypeVaultRotated {
			continue
		}
		r, err := event.Decode[event.VaultRotated](e.Data)
		if err != nil {
			t.Fatal(err)
		}
		if r.Generation == generation {
			n++
			if r.Destroyed != keyring.RootLabel(generation-1) || len(r.Commitment) != 16 || r.Token.Label == "" || len(r.Days) == 0 ||
				len(r.Proposals) != 1 || !bytes.Equal(r.Proposals[0], proposal) {
				t.Errorf("certificate %+v", r)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d certificates of generation %d", n, generation)
	}
	if keys, err := c.HSM.Keys(t.Context()); err != nil {
		t.Error(err)
	} else {
		for _, k := range keys {
			if k.Label == keyring.RootLabel(generation-1) {
				t.Errorf("the token still holds %s", k.Label)
			}
		}
	}
}

// TestASecondProposalForADeletedPerson: Juki-net asks twice, and the second request is approved when the person is gone. The
// next rotation certifies it as done, says so, and no rotation after it comes back to it.
func TestASecondProposalForADeletedPerson(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a", oneBucket)
	c.Register("a")
	c.Issue("a", 1)
	c.Issue("a", 2)
	one := requestDeletion(c, 1)
	again, err := c.Core.RequestDeletion(t.Context(), deletionOf(c, 1))
	if err != nil {
		t.Fatal(err)
	}
	if n, since := c.Core.PendingDeletions(); n != 1 || w.Now().Sub(since) > time.Minute || since.After(w.Now()) {
		t.Errorf("%d wait since %s", n, since)
	}
	if out := rotate(c, one); out.Deletions != 1 || out.Before != 0 {
		t.Errorf("the first: %+v", out)
	}
	c.Approve(again)
	if n, _ := c.Core.PendingDeletions(); n != 1 {
		t.Errorf("%d wait", n)
	}
	out, err := c.RotateVault(t.Context(), w.Meta(""), nil)
	if err != nil || out.Deletions != 1 || out.Before != 1 {
		t.Errorf("the second: %+v, %v", out, err)
	}
	if p, _ := c.Retention.Snapshot().Proposal(again.Hash); p.Done == 0 {
		t.Error("the second proposal is not done")
	}
	if n, _ := c.Core.PendingDeletions(); n != 0 || len(c.Core.ApprovedDeletions()) != 0 {
		t.Errorf("%d still wait", n)
	}
	rebuildsEqually(c)
}
