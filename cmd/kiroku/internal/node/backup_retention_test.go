package node_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kiroku/adapters/backup"
	"kiroku/adapters/eventstore"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	ends "kiroku/commands/retention"
	"kiroku/commands/sequencer"
	"kiroku/domain/calendar"
	"kiroku/domain/inquiry"
)

// ended is a ledger with a day that has ended, and backups of it from before and after that.
type ended struct {
	*keeping
	day           calendar.Day
	before, after *backup.Backup
	ids           [2]backup.Identity
	rows          map[string]string // of the ledger in the second backup
}

func newEnded(t *testing.T, change ...func(*node.Config)) *ended {
	e := &ended{keeping: newKeeping(t, brief, change...)}
	e.day = e.today()
	for range 12 {
		e.exchange(inquiry.Provided)
	}
	e.anchor()
	e.Turn(day)
	e.exchange(inquiry.Provided)
	e.anchor()
	e.toDue(brief, e.day)
	e.before, e.ids[0] = backedUp(t, e.core, nil)
	if r := e.pass(); !slices.Equal(r.Certified, []calendar.Day{e.day}) || len(r.Truncated) == 0 {
		t.Fatalf("%+v", r)
	}
	e.after, e.ids[1] = backedUp(t, e.core, nil)
	e.rows = views(t, e.core)
	e.core.Stop()
	return e
}

// on opens a core on another store.
func (e *ended) on(store *eventstore.Store, views string) *nodetest.Core {
	return e.Open(views, append(slices.Clone(e.change), func(c *node.Config) {
		c.Store, c.Anchors, c.LeaseTimeout = store, filepath.Join(e.t.TempDir(), "anchors"), time.Hour
	})...)
}

// shown is how many entries the person is shown, once the read models have all that is in the ledger.
func (e *ended) shown() int {
	e.t.Helper()
	if err := e.core.CaughtUp(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	d, err := e.core.Core.DiscloseRecords(e.t.Context(), commands.DiscloseRecords{Meta: e.MetaAs(commands.RoleDisclosure, "a"), Symbol: e.person,
		Receipt: "R-1", Audience: commands.AudiencePerson, From: e.day.Start(), To: e.Now()})
	if err != nil {
		e.t.Fatal(err)
	}
	return len(d.Person)
}

// TestABackupOfALedgerInWhichADayEnded holds what is left: truncated streams keep their revisions, the read models are the
// same, and nothing stands against going on.
func TestABackupOfALedgerInWhichADayEnded(t *testing.T) {
	e := newEnded(t)
	store := emptyStore(t)
	if err := e.after.Restore(t.Context(), e.ids[1], store, nil); err != nil {
		t.Fatal(err)
	}
	truncated := 0
	for _, r := range e.after.Plan.Streams {
		if from, err := store.TruncateBefore(t.Context(), r.Stream); err != nil || from != r.First {
			t.Errorf("%s begins at %d, want %d: %v", r.Stream, from, r.First, err)
		}
		if r.First > 0 {
			truncated++
		}
	}
	if truncated == 0 {
		t.Error("no stream was truncated")
	}
	claim(t, store)
	standby := e.on(store, "standby")
	got := views(t, standby)
	for name, want := range e.rows {
		if got[name] != want {
			t.Errorf("the rows of %s differ:\n%s\nwant:\n%s", name, got[name], want)
		}
	}
	standby.Stop()

	second := emptyStore(t)
	if err := e.after.Restore(t.Context(), e.ids[1], second, nil); err != nil {
		t.Fatal(err)
	}
	e.core = e.on(second, "leads")
	e.core.WaitLead()
	if r := e.pass(); len(r.Destroyed) > 0 {
		t.Errorf("%+v", r)
	}
	e.core.Verify()
	if n := e.shown(); n != 1 {
		t.Errorf("the person is shown %d entries, want that of the living day", n)
	}
}

// TestABackupFromBeforeADayEnded holds what nobody can open any more: the key is gone, and the ledger does not know of it.
// The core says so, ends nothing, certifies nothing by itself, and goes on with all other days.
func TestABackupFromBeforeADayEnded(t *testing.T) {
	e := newEnded(t)
	store := emptyStore(t)
	if err := e.before.Restore(t.Context(), e.ids[0], store, nil); err != nil {
		t.Fatal(err)
	}
	e.core = e.on(store, "leads")
	e.core.WaitLead()
	for range 2 {
		r, err := e.core.RetentionProcess.Run(t.Context(), nil)
		if !errors.Is(err, ends.ErrKeyLost) || len(r.Destroyed)+len(r.Certified) > 0 {
			t.Errorf("%v, %+v", err, r)
		}
	}
	if s := e.stands(e.day); s.Stage != ends.KeyMissing || s.Key {
		t.Errorf("%+v", s)
	}
	if n := e.shown(); n != 1 {
		t.Errorf("the person is shown %d entries, want that of the living day", n)
	}
	e.exchange(inquiry.Provided)
	if n := e.shown(); n != 2 {
		t.Errorf("the person is shown %d entries after another exchange", n)
	}
	e.core.Verify()
}

// TestBackupsAroundAPhysicalDeletion: the one from after it has everybody but the deleted; the one from before it opens
// nobody at all, for its root key is gone.
func TestBackupsAroundAPhysicalDeletion(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("source", oneBucket)
	c.Register("a", "b")
	gone, stays := c.Issue("a", 1), c.Issue("a", 2)
	c.Issue("b", 1)
	c.Issue("b", 2)
	before, idBefore := backedUp(t, c, nil)
	rotate(c, requestDeletion(c, 1))
	after, idAfter := backedUp(t, c, nil)
	c.Stop()
	on := func(b *backup.Backup, id backup.Identity, views string) *nodetest.Core {
		store := emptyStore(t)
		if err := b.Restore(t.Context(), id, store, nil); err != nil {
			t.Fatal(err)
		}
		return w.Open(views, oneBucket, func(c *node.Config) { c.Store, c.Anchors = store, filepath.Join(t.TempDir(), "anchors") })
	}
	c = on(after, idAfter, "after")
	c.WaitLead()
	if a, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", gone)); err != nil || a.Refusal != inquiry.UnknownPerson {
		t.Errorf("the deleted: %v %v", a.Refusal, err)
	}
	if a, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", stays)); err != nil || a.Refusal != 0 {
		t.Errorf("another: %v %v", a.Refusal, err)
	}
	c.Verify()
	c.Stop()

	c = on(before, idBefore, "before")
	for deadline := time.Now().Add(time.Minute); !strings.Contains(w.Logs.String(), "the token lacks vault/1"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody says why the core does not begin:\n%s", w.Logs)
		}
	}
	if c.Active() {
		t.Error("the core works without a vault")
	}
	if _, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", stays)); !errors.Is(err, sequencer.ErrNotWriter) {
		t.Errorf("an inquiry: %v", err)
	}
}
