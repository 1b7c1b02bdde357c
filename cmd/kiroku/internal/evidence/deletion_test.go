package evidence_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"kiroku/adapters/hsm/hsmtest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// TestACopyOpensNothingOfADeletedPerson takes away every file and a backup before each of two rotations. With all that,
// the vault as it is in the end, and the token, nothing opens of the two who were deleted, and everything of the others:
// of each generation in which it was sealed.
func TestACopyOpensNothingOfADeletedPerson(t *testing.T) {
	const people = 6
	w := nodetest.New(t)
	buckets := func(c *node.Config) { c.VaultBuckets = 2 } // so that the deleted share theirs with others
	c := w.Lead("views", buckets)
	c.Register("a", "b")
	agencies := []string{"a", "b"}
	var archives []archive
	closed := map[string]bool{} // entries of the deleted, by place
	th := thief{t, hsmtest.Reopen(t, w.Token)}
	for generation := range agencies {
		for person := range people {
			if person >= generation { // the first is deleted with the second generation
				c.Issue(agencies[generation], person)
			}
		}
		files, saved := taken(t, w, c)
		c = w.Lead("views", buckets)
		for _, a := range []archive{files, saved} { // the control: before, all but what was deleted earlier opens
			th.opensButFor(a, a.events, closed)
		}
		deletion, of := requested(t, c, generation)
		for _, e := range of {
			closed[place(e)] = true
		}
		if _, err := c.Core.RotateVault(t.Context(), commands.RotateVault{Meta: w.Meta(""), Deletions: []commands.Deletion{deletion}}, nil); err != nil {
			t.Fatalf("rotate: %v\n%s", err, w.Logs)
		}
		archives = append(archives, files, saved)
	}
	c.Issue("b", people) // of the third generation
	must(t, c.CaughtUp(t.Context()))
	now := everything(t, c.Store)
	th.opensButFor(archive{name: "the ledger as it is", events: now}, now, closed)
	if len(closed) != 5 {
		t.Errorf("%d entries of the deleted, want their issuances and their requests: %v", len(closed), slices.Sorted(maps.Keys(closed)))
	}
	for _, a := range archives {
		th.opensButFor(a, now, closed) // with the vault as it is
		if k := th.keyring(a.events, split(a.events)[event.StreamVault]); k.VaultReady() {
			t.Errorf("%s: its own vault opens", a.name)
		}
		th.noRootAnswers(a)
	}
}

// requested has Juki-net ask for a person's deletion; it returns all entries of that person.
func requested(t *testing.T, c *nodetest.Core, person int) (commands.Deletion, []ledger.Event) {
	t.Helper()
	p, err := c.Core.RequestDeletion(t.Context(), commands.RequestDeletion{Meta: c.W.Meta("juki"), Code: nodetest.Code(t, person), Number: "D-1",
		Asked: commands.Asked{Reason: "a clerical error", Within: 24 * time.Hour}})
	must(t, err)
	must(t, c.CaughtUp(t.Context()))
	issuance := split(everything(t, c.Store))[event.StreamIssuance]
	at := slices.IndexFunc(issuance, func(e ledger.Event) bool { return e.Revision == p.Made.Revision })
	if at < 0 {
		t.Fatalf("no entry at %d", p.Made.Revision)
	}
	who, err := c.Keyring.SubjectOf(keyID(issuance[at]))
	must(t, err)
	defer who.Destroy()
	var of []ledger.Event
	for _, e := range issuance {
		if !header(t, e).Sealed() {
			continue
		}
		s, err := c.Keyring.SubjectOf(keyID(e))
		if errors.Is(err, keyring.ErrShredded) {
			continue
		}
		must(t, err)
		if s.ID == who.ID {
			of = append(of, e)
		}
		s.Destroy()
	}
	return commands.Deletion{Proposal: p.Hash, Revision: p.Made.Revision, Leaf: ledger.Hash(p.Made.Deletion)}, of
}

// opensButFor checks that the archive's entries in the register open with the vault of a ledger, but for those closed.
func (th thief) opensButFor(a archive, vault []ledger.Event, closed map[string]bool) {
	th.t.Helper()
	k := th.keyring(a.events, split(vault)[event.StreamVault])
	opened := 0
	for _, e := range split(a.events)[event.StreamIssuance] {
		h := header(th.t, e)
		if !h.Sealed() {
			continue
		}
		switch _, err := k.Open(th.t.Context(), h, e.Data); {
		case closed[place(e)] && !errors.Is(err, keyring.ErrShredded):
			th.t.Errorf("%s: %s, of somebody who was deleted: %v", a.name, place(e), err)
		case !closed[place(e)] && err != nil:
			th.t.Errorf("%s: %s: %v", a.name, place(e), err)
		case err == nil:
			opened++
		}
	}
	if opened < 4 {
		th.t.Errorf("%s: %d entries open", a.name, opened)
	}
}

// noRootAnswers tries every key of the token in the place of the archive's root keys.
func (th thief) noRootAnswers(a archive) {
	th.t.Helper()
	infos, err := th.hsm.Keys(th.t.Context())
	must(th.t, err)
	tried := 0
	for _, e := range split(a.events)[event.StreamVault] {
		if e.Type != event.TypeVaultOpened {
			continue
		}
		o := decode[event.VaultOpened](th.t, e.Data)
		for _, info := range infos {
			key, err := th.hsm.HMAC(context.WithoutCancel(th.t.Context()), info.Label, append([]byte("kiroku/vault/1"), o.Random...))
			if err != nil {
				continue // it is for something else
			}
			tried++
			if c := ledger.Commitment(key.Expose()); bytes.Equal(c[:], o.Commitment) {
				th.t.Errorf("%s: %s answers for generation %d", a.name, info.Label, o.Generation)
			}
			key.Destroy()
		}
	}
	if tried < 3 {
		th.t.Errorf("%s: %d keys were tried", a.name, tried)
	}
}
