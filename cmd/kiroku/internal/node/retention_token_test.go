package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	ends "kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// copied is a copy of the token's files.
func (k *keeping) copied() string {
	k.t.Helper()
	to := filepath.Join(k.t.TempDir(), "token")
	if err := os.CopyFS(to, os.DirFS(k.Token.Dir())); err != nil {
		k.t.Fatal(err)
	}
	return to
}

// putBack restarts the core, on views of a folder, with the token as it was copied.
func (k *keeping) putBack(from, views string) {
	k.t.Helper()
	k.core.Stop()
	own := k.Token.Dir()
	if err := os.RemoveAll(own); err != nil {
		k.t.Fatal(err)
	}
	if err := os.CopyFS(own, os.DirFS(from)); err != nil {
		k.t.Fatal(err)
	}
	k.core = k.Lead(views, k.change...)
	if err := k.core.CaughtUp(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

// sealedOn are the sealed events of a day that the store has.
func (k *keeping) sealedOn(d calendar.Day) (sealed []ledger.Event) {
	k.t.Helper()
	for _, stream := range append(event.RecordStreams(k.core.Shards), event.StreamAudit) {
		for _, e := range eventsOf(k.core, stream) {
			if h := headerOf(k.t, e); h.Sealed() && calendar.DayOf(h.Time) == d {
				sealed = append(sealed, e)
			}
		}
	}
	return sealed
}

// opens is how many events a core opens; the others must be unreadable for ever.
func opens(t *testing.T, c *nodetest.Core, sealed []ledger.Event) (n int) {
	t.Helper()
	for _, e := range sealed {
		switch plain, err := c.Keyring.Open(t.Context(), headerOf(t, e), e.Data); {
		case err == nil:
			clear(plain)
			n++
		case !errors.Is(err, keyring.ErrShredded):
			t.Error(err)
		}
	}
	return n
}

// shownSince is how many entries the person is shown.
func (k *keeping) shownSince(d calendar.Day) int {
	k.t.Helper()
	shown, err := k.core.Core.DiscloseRecords(k.t.Context(), commands.DiscloseRecords{Meta: k.MetaAs(commands.RoleDisclosure, "a"), Symbol: k.person,
		Receipt: "R-1", Audience: commands.AudiencePerson, From: d.Start(), To: k.Now()})
	if err != nil {
		k.t.Fatal(err)
	}
	return len(shown.Person)
}

// stayedEnded checks that a day is ended, once, and that nothing of it can be read, whatever the token holds.
func (k *keeping) stayedEnded(d calendar.Day, sealed []ledger.Event) {
	k.t.Helper()
	if n := opens(k.t, k.core, sealed); n > 0 || len(sealed) == 0 {
		k.t.Errorf("%d of %d events of the day that ended open", n, len(sealed))
	}
	if len(k.destructions()[d.String()]) != 1 || len(k.certificates()[d.String()]) != 1 {
		k.t.Errorf("%d destructions, %d certificates", len(k.destructions()[d.String()]), len(k.certificates()[d.String()]))
	}
}

// TestATokenFromBeforeADaysEnd is put in the place of the right one, key and all: the day stays ended, nothing of it opens,
// not for views that are made anew either, its key is destroyed again, and that is told. Of a copy that is older still, the
// keys of living days are missed.
func TestATokenFromBeforeADaysEnd(t *testing.T) {
	k := newKeeping(t, brief)
	held := k.today()
	ended := held.AddDays(1)
	k.live(3)
	k.hold(held, k.today().AddYears(2)) // so that the store keeps what was sealed afterwards
	old := k.copied()
	k.toDue(brief, ended)
	k.exchange(inquiry.Provided)
	today := k.today()
	sealed := k.sealedOn(ended)
	if n := opens(t, k.core, sealed); n == 0 || n != len(sealed) {
		t.Fatalf("the control: %d of %d events open", n, len(sealed))
	}
	before := k.shownSince(held)
	copied := k.copied()
	k.finishes(ended)
	right := k.copied()
	k.stayedEnded(ended, sealed)
	shown := k.shownSince(held)
	if shown != before-1 {
		t.Errorf("%d entries are shown, and %d before the day ended", shown, before)
	}

	for _, views := range []string{"a", "anew"} {
		k.putBack(copied, views)
		if s := k.stands(ended); !k.hasKey(ended) || !s.Key || s.Stage != ends.Certified {
			t.Fatalf("with %s views: %+v", views, s)
		}
		k.stayedEnded(ended, sealed)
		if n := k.shownSince(held); n != shown {
			t.Errorf("with %s views and the old token %d entries are shown, want %d", views, n, shown)
		}
		if r, err := k.try(); !errors.Is(err, ends.ErrKeyReturned) || errors.Is(err, ends.ErrKeyLost) || !slices.Equal(r.Returned, []calendar.Day{ended}) || k.hasKey(ended) {
			t.Errorf("%+v, %v", r, err)
		}
		k.alarmed(ends.ErrKeyReturned)
		k.finishes(ended)
	}

	k.putBack(old, "a")
	k.refusesToday()
	if r, err := k.try(); !errors.Is(err, ends.ErrKeyReturned) || !errors.Is(err, ends.ErrKeyLost) || !slices.Equal(r.Returned, []calendar.Day{ended}) || k.hasKey(today) {
		t.Errorf("with an older copy: %+v, %v", r, err)
	}
	if s := k.stands(today); s.Stage != ends.KeyMissing {
		t.Errorf("%+v", s)
	}
	k.stayedEnded(ended, sealed)

	k.putBack(right, "a")
	k.finishes(ended)
	k.exchange(inquiry.Provided)
	k.core.Verify()
}

// TestATokenFromBeforeALoss is found after two officials stated the loss, and it was acknowledged: nothing of the day is
// shown again, there is no second certificate, and the key is kept, and told of, until the day could be destroyed.
func TestATokenFromBeforeALoss(t *testing.T) {
	o, know := officials(t)
	k := newKeeping(t, brief, know)
	first := k.today()
	k.live(3)
	k.exchange(inquiry.Provided)
	sealed := k.sealedOn(first)
	copied := k.copied()
	k.approve(k.proposedLost(first), o[:]...)
	if r, _ := k.try(); !slices.Equal(r.Certified, []calendar.Day{first}) {
		t.Fatalf("%+v", r)
	}
	if err := k.core.Core.AcknowledgeLoss(t.Context(), commands.AcknowledgeLoss{Meta: k.Meta(""), Day: first, Reason: "reported"}); err != nil {
		t.Fatal(err)
	}
	k.pass()
	shown := k.shownSince(first)
	for _, views := range []string{"a", "anew"} {
		k.putBack(copied, views)
		k.stays(first)
		k.stayedEnded(first, sealed)
		if n := k.shownSince(first); n != shown {
			t.Errorf("with the key found again %d entries are shown, want %d", n, shown)
		}
	}
	for k.goTo(brief.AnnounceFrom(first)); k.today().Before(brief.Due(first)); k.Turn(day) {
		k.stays(first)
		k.anchor()
	}
	if r, err := k.try(); !errors.Is(err, ends.ErrKeyReturned) || errors.Is(err, ends.ErrKept) || !slices.Equal(r.Returned, []calendar.Day{first}) || k.hasKey(first) {
		t.Errorf("due: %+v, %v", r, err)
	}
	k.pass()
	k.stayedEnded(first, sealed)
	k.core.Verify()
}
