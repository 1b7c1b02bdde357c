package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/backup"
	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/commands/leadership"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

// backupLoad issues symbols and submits inquiries until it is stopped.
type backupLoad struct {
	c       *nodetest.Core
	stop    chan struct{}
	running sync.WaitGroup
	done    atomic.Int64
}

func loadFor(c *nodetest.Core, workers int) *backupLoad {
	l := &backupLoad{c: c, stop: make(chan struct{})}
	for n := range workers {
		l.running.Go(func() {
			for person := 1000 * (n + 1); ; person++ {
				select {
				case <-l.stop:
					return
				default:
				}
				if err := l.round(person); err != nil {
					c.W.TB.Errorf("under load: %v", err)
					return
				}
				l.done.Add(1)
			}
		})
	}
	return l
}

// round issues a person's symbols to both agencies, and one inquires of the other.
func (l *backupLoad) round(person int) error {
	ctx := l.c.W.TB.Context()
	at, err := l.c.Core.IssueSymbol(ctx, l.c.IssueCommand("a", person))
	if err != nil {
		return err
	}
	if _, err := l.c.Core.IssueSymbol(ctx, l.c.IssueCommand("b", person)); err != nil {
		return err
	}
	for range 3 {
		if _, err := l.c.Core.SubmitInquiry(ctx, l.c.Inquiry("a", "b", at.Symbol)); err != nil {
			return err
		}
	}
	return nil
}

// proceeds waits until there is more than there was.
func (l *backupLoad) proceeds(rounds int64) {
	for from := l.done.Load(); l.done.Load() < from+rounds && !l.c.W.TB.Failed(); {
		time.Sleep(time.Millisecond)
	}
}

func (l *backupLoad) end() {
	close(l.stop)
	l.running.Wait()
}

// slowly reads a ledger only as fast as others go on writing it.
type slowly struct {
	backup.Source
	l *backupLoad
}

func (s slowly) Iterate(ctx context.Context, stream string, from uint64, handle func([]ledger.Event) error) error {
	return s.Source.Iterate(ctx, stream, from, func(batch []ledger.Event) error {
		s.l.proceeds(1)
		return handle(batch)
	})
}

// emptyStore is another store, in which somebody else is known to write: a core on it stands by for as long as the test
// lasts, and changes nothing.
func emptyStore(t *testing.T) *eventstore.Store {
	t.Helper()
	files := embeddedtest.New(t)
	store, err := eventstore.Open(eventstore.Config{ConnectionString: files.ConnectionString(files.Open(t))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func claim(t *testing.T, store *eventstore.Store) {
	t.Helper()
	beat, err := json.Marshal(leadership.Beat{Writer: uuid.New()})
	if err != nil {
		t.Fatal(err)
	}
	const lease = "writer-lease"
	err = store.Append(t.Context(), lease, 0, []ledger.Event{{Stream: lease, ID: uuid.New(), Type: "writer-beat", Data: beat}})
	if err != nil {
		t.Fatal(err)
	}
}

// views are the rows of every read model of a core.
func views(t *testing.T, c *nodetest.Core) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.CaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for name, p := range map[string]interface{ Rows() *projections.Rows }{
		"registry": c.Registry, "dedup": c.Dedup, "mediation": c.Mediation, "disclosure": c.Disclosure, "retention": c.Retention,
	} {
		text, err := projectiontest.Dump(p.Rows())
		if err != nil {
			t.Fatal(err)
		}
		all[name] = text
	}
	return all
}

// TestABackupUnderLoadIsTheLedgerOfItsAnchor: made while symbols are issued and inquiries submitted, restored elsewhere, it
// has the same heads, verifies, and a core on it has the read models that the source had at these heads, row for row.
func TestABackupUnderLoadIsTheLedgerOfItsAnchor(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("source", func(c *node.Config) { c.AnchorInterval = 20 * time.Millisecond })
	c.Register("a", "b")
	first := c.Issue("a", 1)
	c.Issue("b", 1)
	if _, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry("a", "b", first)); err != nil {
		t.Fatal(err)
	}
	l := loadFor(c, 4)
	l.proceeds(20)
	b, id := backedUp(t, c, l)
	l.end()
	if t.Failed() {
		return
	}
	heads, err := b.Plan.Heads()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range c.Core.Heads() {
		for _, r := range b.Plan.Streams {
			if r.Stream == h.Stream && (event.IsRecordStream(h.Stream) || h.Stream == event.StreamIssuance) && h.Count <= r.Next {
				t.Errorf("%s did not grow while the backup was made", h.Stream)
			}
		}
	}

	restored, copied := emptyStore(t), emptyStore(t)
	if err := b.Restore(t.Context(), id, restored, nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.Plan.Streams {
		copyStream(t, c, copied, r)
	}
	result, err := ledger.Verify(c.SigningKeys(), ledger.Options{Heads: []ledger.Heads{heads}}, stored(t, restored, c.Shards))
	if err != nil || !result.OK() || result.Events != b.End.Events || len(result.Streams) != len(heads.Heads) {
		t.Fatalf("%v %v, %d events", err, result.Findings, result.Events)
	}
	for i, h := range result.Streams {
		if h.Anchored() != heads.Heads[i] {
			t.Errorf("%v, want %v", h.Anchored(), heads.Heads[i])
		}
	}

	claim(t, restored)
	claim(t, copied)
	on := func(store *eventstore.Store, views string) *nodetest.Core {
		return w.Open(views, func(c *node.Config) {
			c.Store, c.Anchors, c.LeaseTimeout = store, filepath.Join(t.TempDir(), "anchors"), time.Hour
		})
	}
	elsewhere := on(restored, "restored")
	want, got := views(t, on(copied, "copied")), views(t, elsewhere)
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("the rows of %s differ:\n%s\nwant:\n%s", name, got[name], want[name])
		}
	}
	elsewhere.Stop()

	// The restored ledger is gone on with.
	leads := w.Open("leads", func(c *node.Config) { c.Store, c.Anchors = restored, filepath.Join(t.TempDir(), "anchors") })
	leads.WaitLead()
	again, err := leads.Core.IssueSymbol(t.Context(), leads.IssueCommand("a", 1))
	if err != nil || !again.AlreadyAcquired {
		t.Errorf("the person of before: %v, %v", again.AlreadyAcquired, err)
	}
	if s := leads.Issue("b", 999_999); s == first {
		t.Error("the symbol of somebody else")
	}
}

// backedUp makes a backup of a core, which is under load if one is given.
func backedUp(t *testing.T, c *nodetest.Core, l *backupLoad) (*backup.Backup, backup.Identity) {
	t.Helper()
	text, recipient, err := backup.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := backup.ReadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := backup.ParseRecipients(recipient)
	if err != nil {
		t.Fatal(err)
	}
	firsts, err := backup.Firsts(t.Context(), c.Store, event.Streams(c.Shards))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Anchor(t.Context()); err != nil {
		t.Fatal(err)
	}
	anchor, _ := c.Registry.LastAnchor()
	plan, err := backup.NewPlan(t.Context(), c.Store, event.Streams(c.Shards), firsts, anchor.Revision, r, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "backup")
	writer, err := backup.Begin(folder, plan, r)
	if err != nil {
		t.Fatal(err)
	}
	writer.SegmentBytes = 16 << 10
	var source backup.Source = c.Store
	if l != nil {
		source = slowly{c.Store, l}
	}
	if _, err := writer.Run(t.Context(), source, nil); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := backup.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	return b, id
}

// copyStream copies a range as it is, by no means of a backup.
func copyStream(t *testing.T, c *nodetest.Core, to *eventstore.Store, r backup.Range) {
	t.Helper()
	for next := r.First; next < r.Next; {
		events, err := c.Store.ReadForward(t.Context(), r.Stream, next, int(min(r.Next-next, 200)))
		if err == nil {
			for len(events) > 1 && size(events) > eventstore.MaxAppendSize {
				events = events[:len(events)/2]
			}
			err = to.Append(t.Context(), r.Stream, next, events)
		}
		if err != nil {
			t.Fatal(err)
		}
		next += uint64(len(events))
	}
}

func size(events []ledger.Event) (n int) {
	for _, e := range events {
		n += eventstore.EventSize(e)
	}
	return n
}

func stored(t *testing.T, from *eventstore.Store, shards int) func(func(ledger.Event, error) bool) {
	var all []ledger.Event
	for _, s := range event.Streams(shards) {
		err := from.Iterate(t.Context(), s, 0, func(batch []ledger.Event) error {
			all = append(all, batch...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return nodetest.Seq(all)
}

// TestOnlyTheBackupRoleRecordsBackups: who did what stands in the audit stream, sealed.
func TestOnlyTheBackupRoleRecordsBackups(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a")
	of := event.Backup{ID: uuid.New(), Recipients: []string{backup.Fingerprint("age1nobody")}, Leaf: make([]byte, 32)}
	for _, role := range []string{commands.RoleOperator, commands.RoleGateway, commands.RoleJukiNet, commands.RoleDisclosure, commands.RoleCommission, "system"} {
		err := c.Core.RecordBackup(t.Context(), commands.RecordBackup{Meta: w.MetaAs(role, "a"), Operation: event.OperationBackupBegun, Backup: of})
		if !errors.Is(err, commands.ErrNotAllowed) {
			t.Errorf("%s: %v", role, err)
		}
	}
	before := nodetest.Count(c.Verify(), event.TypeOperationRecorded)
	order := commands.RecordBackup{Meta: w.MetaAs(commands.RoleBackup, ""), Operation: event.OperationBackupBegun, Backup: of}
	for range 2 { // the same again is no second event
		if err := c.Core.RecordBackup(t.Context(), order); err != nil {
			t.Fatal(err)
		}
	}
	other := order
	other.Backup.Anchor = 7
	if err := c.Core.RecordBackup(t.Context(), other); !errors.Is(err, commands.ErrConflict) {
		t.Errorf("another content: %v", err)
	}
	for what, spoil := range map[string]func(*commands.RecordBackup){
		"no such operation":          func(o *commands.RecordBackup) { o.Operation = "backup-lost" },
		"no recipient":               func(o *commands.RecordBackup) { o.Backup.Recipients = nil },
		"a recipient in full":        func(o *commands.RecordBackup) { o.Backup.Recipients = []string{"age1nobody"} },
		"no anchor":                  func(o *commands.RecordBackup) { o.Backup.Leaf = nil },
		"finished without a digest":  func(o *commands.RecordBackup) { o.Operation = event.OperationBackupFinished },
		"a digest before the ending": func(o *commands.RecordBackup) { o.Backup.Manifest = make([]byte, 32) },
	} {
		spoilt := order
		spoilt.Meta = w.MetaAs(commands.RoleBackup, "")
		spoil(&spoilt)
		if err := c.Core.RecordBackup(t.Context(), spoilt); !errors.Is(err, commands.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	events := c.Verify()
	if n := nodetest.Count(events, event.TypeOperationRecorded) - before; n != 1 {
		t.Fatalf("%d operations recorded", n)
	}
	last := events[0]
	for _, e := range events {
		if e.Stream == event.StreamAudit && e.Type == event.TypeOperationRecorded {
			last = e
		}
	}
	_, header, _, err := ledger.DecodeMetadata(last.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ledger.DecodeHeader(header)
	if err != nil || !h.Sealed() {
		t.Fatal(err, h.Sealed())
	}
	plain, err := c.Keyring.Open(t.Context(), h, last.Data)
	if err != nil {
		t.Fatal(err)
	}
	got, err := event.Decode[event.OperationRecorded](plain)
	if err != nil || got.Operation != event.OperationBackupBegun || got.Command.Actor.Role != commands.RoleBackup || got.Backup == nil || got.Backup.ID != of.ID || got.Backup.Recipients[0] != of.Recipients[0] {
		t.Errorf("%+v, %v", got, err)
	}
}
