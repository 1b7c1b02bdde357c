package backup_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/backup"
	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/ledger/ledgertest"
)

// store is an event store and a client of it.
type store struct {
	*eventstore.Store
	server *embedded.Server
}

func openStore(t testing.TB, change ...func(*embedded.Config)) store {
	t.Helper()
	files := embeddedtest.New(t)
	for _, f := range change {
		f(&files.Config)
	}
	server := files.Open(t)
	client, err := eventstore.Open(eventstore.Config{ConnectionString: files.ConnectionString(server)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return store{client, server}
}

// world is a ledger in a store, signed by a key that tests know.
type world struct {
	store
	tb     testing.TB
	signer ledgertest.Key
	keys   ledger.KeySet
	heads  map[string]ledger.Head
	now    time.Time
	bytes  int64 // of all events, as the store counts them
}

var streams = event.Streams(2)

func newWorld(t testing.TB) *world {
	t.Helper()
	signer, err := ledgertest.NewKey("backup")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := signer.KeySet()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{store: openStore(t), tb: t, signer: signer, keys: keys, heads: map[string]ledger.Head{},
		now: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)}
	for _, stream := range streams {
		w.append(stream, ledger.TypeEpochStarted, []byte{0xa0})
	}
	return w
}

// append writes facts as one batch of signed plaintext.
func (w *world) append(stream, eventType string, payloads ...[]byte) {
	w.tb.Helper()
	head := w.heads[stream]
	head.Stream = stream
	w.now = w.now.Add(time.Millisecond)
	drafts := make([]ledger.Draft, len(payloads))
	for i, p := range payloads {
		id := uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%s/%d", stream, head.Count+uint64(i)))
		var err error
		drafts[i], err = ledger.Plain(ledger.AAD{Stream: stream, ID: id, Type: eventType, Time: w.now}, p)
		if err != nil {
			w.tb.Fatal(err)
		}
	}
	events, next, err := ledger.BuildBatch(head, 1, drafts, w.signer.ID, w.signer.Sign)
	if err == nil {
		err = w.Append(w.tb.Context(), stream, head.Count, events)
	}
	if err != nil {
		w.tb.Fatal(err)
	}
	w.heads[stream] = next
	for _, e := range events {
		w.bytes += int64(eventstore.EventSize(e))
	}
}

// work appends batches to the streams that are not the registry.
func (w *world) work(batches int) {
	w.tb.Helper()
	for i := range batches {
		stream := streams[1+i%(len(streams)-1)]
		payloads := make([][]byte, 1+i%7)
		for j := range payloads {
			payloads[j] = fmt.Appendf(nil, "%s %d %d %0200d", stream, i, j, i)
		}
		w.append(stream, "fact", payloads...)
	}
}

// anchor writes an anchor and returns where it stands.
func (w *world) anchor() uint64 {
	w.tb.Helper()
	a := ledger.Anchor{Time: w.now}
	for _, h := range w.heads {
		a.Heads = append(a.Heads, h.Anchored())
	}
	ledger.SortHeads(a.Heads)
	payload, err := a.Encode()
	if err != nil {
		w.tb.Fatal(err)
	}
	at := w.heads[event.StreamRegistry].Count
	w.append(event.StreamRegistry, ledger.TypeAnchor, payload)
	return at
}

// truncate lets a stream begin later, as the ledger authorises it, and frees
// what came before.
func (w *world) truncate(stream string, first uint64) {
	w.tb.Helper()
	before, err := w.ReadForward(w.tb.Context(), stream, first-1, 1)
	if err != nil {
		w.tb.Fatal(err)
	}
	_, header, _, err := ledger.DecodeMetadata(before[0].Metadata)
	if err != nil {
		w.tb.Fatal(err)
	}
	payload, err := ledger.Truncation{Stream: stream, First: first, Prev: ledger.LeafHash(header)}.Encode()
	if err != nil {
		w.tb.Fatal(err)
	}
	w.append(event.StreamRegistry, ledger.TypeStreamTruncated, payload)
	if err := w.SetTruncateBefore(w.tb.Context(), stream, first); err != nil {
		w.tb.Fatal(err)
	}
	if _, err := w.server.Scavenge(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
}

// everything reads a store, stream by stream.
func everything(t testing.TB, s *eventstore.Store) map[string][]ledger.Event {
	t.Helper()
	all := map[string][]ledger.Event{}
	for _, stream := range streams {
		err := s.Iterate(t.Context(), stream, 0, func(batch []ledger.Event) error {
			all[stream] = append(all[stream], batch...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// party is somebody backups are made for.
type party struct {
	recipient string
	identity  backup.Identity
}

func newParty(t testing.TB) party {
	t.Helper()
	text, recipient, err := backup.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	identity, err := backup.ReadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	return party{recipient, identity}
}

func recipients(t testing.TB, parties ...party) backup.Recipients {
	t.Helper()
	var texts []string
	for _, p := range parties {
		texts = append(texts, p.recipient)
	}
	r, err := backup.ParseRecipients(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// smallSegment lets a small ledger have many segments.
const smallSegment = 4 << 10

// plan plans a backup up to an anchor of now.
func (w *world) plan(r backup.Recipients) backup.Plan {
	w.tb.Helper()
	firsts, err := backup.Firsts(w.tb.Context(), w.Store, streams)
	if err != nil {
		w.tb.Fatal(err)
	}
	plan, err := backup.NewPlan(w.tb.Context(), w.Store, streams, firsts, w.anchor(), r, w.now)
	if err != nil {
		w.tb.Fatal(err)
	}
	return plan
}

// backup makes one in a new folder.
func (w *world) backup(r backup.Recipients) (folder string, made backup.Manifest) {
	w.tb.Helper()
	folder = filepath.Join(w.tb.TempDir(), "backup")
	writer, err := backup.Begin(folder, w.plan(r), r)
	if err != nil {
		w.tb.Fatal(err)
	}
	writer.SegmentBytes = smallSegment
	made, err = writer.Run(w.tb.Context(), w.Store, nil)
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		w.tb.Fatal(err)
	}
	return folder, made
}

func open(t testing.TB, folder string) *backup.Backup {
	t.Helper()
	b, err := backup.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// proves fails unless the backup is whole and its ledger verifies up to its heads.
func (w *world) proves(b *backup.Backup, id backup.Identity) {
	w.tb.Helper()
	wrong, err := b.Check(w.tb.Context(), id, nil)
	if err != nil || len(wrong) > 0 {
		w.tb.Fatal(err, wrong)
	}
	heads, err := b.Plan.Heads()
	if err != nil {
		w.tb.Fatal(err)
	}
	result, err := ledger.Verify(w.keys, ledger.Options{Heads: []ledger.Heads{heads}}, b.Events(w.tb.Context(), id))
	if err != nil || !result.OK() || result.Events != b.End.Events {
		w.tb.Fatalf("%v %v, %d events", err, result.Findings, result.Events)
	}
}

// equals fails unless a store holds exactly what another held when the backup
// was planned.
func equals(t testing.TB, m backup.Manifest, source, restored map[string][]ledger.Event) {
	t.Helper()
	for _, r := range m.Plan.Streams {
		var want []ledger.Event
		for _, e := range source[r.Stream] {
			if e.Revision >= r.First && e.Revision < r.Next {
				want = append(want, e)
			}
		}
		got := restored[r.Stream]
		if len(got) != len(want) || uint64(len(got)) != r.Next-r.First {
			t.Fatalf("%s: %d events, want %d (%d to %d)", r.Stream, len(got), len(want), r.First, r.Next)
		}
		for i := range got {
			if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
				t.Fatalf("%s: event %d is another", r.Stream, want[i].Revision)
			}
		}
	}
}

func restore(ctx context.Context, t testing.TB, b *backup.Backup, id backup.Identity, to backup.Target) {
	t.Helper()
	if err := b.Empty(ctx, to); err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(ctx, id, to, nil); err != nil {
		t.Fatal(err)
	}
}
