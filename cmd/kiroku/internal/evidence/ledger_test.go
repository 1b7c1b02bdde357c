package evidence_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/ledger"
	"kiroku/domain/scope"
	"kiroku/domain/symbol"
)

// chapter is the ledger and the store's files as they were at some moment.
type chapter struct {
	events []ledger.Event
	heads  ledger.Heads
	store  string // a copy of the store's folder
}

// history is a ledger of a few days with everything in it that the core ever writes.
type history struct {
	*nodetest.World
	keys     ledger.KeySet
	signer   string
	sign     ledger.Signer
	config   node.Config // of a core that would go on with it
	chapters []chapter   // the last is the whole
	events   []ledger.Event
	heads    ledger.Heads
	streams  map[string][]ledger.Event
}

const (
	historyShards = 2
	largestBatch  = 16
)

// newHistory has the core write it.
func newHistory(t *testing.T) *history {
	t.Helper()
	w := nodetest.New(t)
	h := &history{World: w}
	lead := func() *nodetest.Core {
		return w.Lead("a", func(c *node.Config) {
			c.VaultBuckets, c.Shards, c.Batch = 2, historyShards, largestBatch
			c.LapseInterval, c.LeaseTimeout = 10*time.Millisecond, 5*time.Second
			h.config = *c
		})
	}
	c := lead()
	h.firstDay(t, c)
	h.close(t, c)
	c = lead()
	h.secondDay(t, c)
	h.close(t, c)
	w.Turn(time.Minute)
	c = lead()
	h.anchored(t, c)
	h.close(t, c)
	last := h.chapters[len(h.chapters)-1]
	h.events, h.heads, h.keys = last.events, last.heads, c.SigningKeys()
	h.streams = split(h.events)
	token := hsmtest.Reopen(t, w.Token)
	own, err := token.ExportPublic(t.Context(), hsm.LabelSign)
	if err != nil {
		t.Fatal(err)
	}
	h.signer = own.ID
	h.sign = func(digest [32]byte) ([64]byte, error) {
		return token.Sign(context.Background(), hsm.LabelSign, digest)
	}
	h.complete(t)
	return h
}

// close ends a core in order and keeps the ledger and the store as they are then.
func (h *history) close(t *testing.T, c *nodetest.Core) {
	t.Helper()
	keys := c.SigningKeys()
	if err := c.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := c.Verify() // through the client, which is still open
	c.Stop()
	if err := h.Server.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(folder, os.DirFS(h.Files.Config.Dir)); err != nil {
		t.Fatal(err)
	}
	h.chapters = append(h.chapters, chapter{events, headsOf(t, keys, events), folder})
	h.Server = h.Files.Open(t)
	h.Proxy.Target(h.Server.Addr())
}

func headsOf(t *testing.T, keys ledger.KeySet, events []ledger.Event) ledger.Heads {
	t.Helper()
	r, err := ledger.Verify(keys, ledger.Options{}, nodetest.Seq(events))
	if err != nil || !r.OK() {
		t.Fatalf("%v %v", err, r.Findings)
	}
	heads := ledger.Heads{Ledger: r.Ledger, Time: time.Now().UTC().Truncate(time.Microsecond)}
	for _, s := range r.Streams {
		heads.Heads = append(heads.Heads, s.Anchored())
	}
	ledger.SortHeads(heads.Heads)
	return heads
}

func split(events []ledger.Event) map[string][]ledger.Event {
	streams := map[string][]ledger.Event{}
	for _, e := range events {
		streams[e.Stream] = append(streams[e.Stream], e)
	}
	return streams
}

// firstDay has agencies, persons, and inquiries of every outcome.
func (h *history) firstDay(t *testing.T, c *nodetest.Core) {
	ctx := t.Context()
	c.Register("a", "b", "c")
	h.bulk(t, c, 1, 1)
	for first := 2; ; first += 24 {
		h.pile(t, c, first, 24)
		if len(h.largest(c)) == largestBatch {
			break
		}
		if first > 100 {
			t.Fatal("decisions do not pile up into a full batch")
		}
	}
	s, again := c.Issue("b", 1), c.IssueCommand("b", 1)
	if r, err := c.Core.IssueSymbol(ctx, again); err != nil || !r.AlreadyAcquired {
		t.Fatal(err)
	}
	change := func(from, to int) error {
		return c.Core.ChangeResidentCode(ctx, commands.ChangeResidentCode{Meta: h.Meta("juki"), Old: nodetest.Code(t, from), New: nodetest.Code(t, to)})
	}
	if err := change(2, 1002); err != nil {
		t.Fatal(err)
	}
	if err := change(3, 1002); !errors.Is(err, commands.ErrCodeTaken) {
		t.Fatal(err)
	}
	a := c.Issue("c", 1)
	open := h.inquire(t, c, "c", "b", a)
	h.inquire(t, c, "b", "c", s)
	h.answer(t, c, open)
	h.anchored(t, c)
	if err := c.Core.ChangeAgencyStatus(ctx, commands.ChangeAgencyStatus{Meta: h.Meta(""), Code: nodetest.AgencyCode(t, "a"), Suspended: true, Reason: "検査"}); err != nil {
		t.Fatal(err)
	}
	violation := scope.Violation{Agency: nodetest.AgencyCode(t, "a"), File: nodetest.Information, From: calendar.DayOf(h.Now()), Reason: "未公表"}
	if err := c.Core.RecordPIAViolation(ctx, commands.RecordPIAViolation{Meta: h.Meta(""), Violation: violation}); err != nil {
		t.Fatal(err)
	}
	h.Proxy.Delay(50 * time.Millisecond) // so that some of them share a batch
	var wg sync.WaitGroup
	for range 14 {
		wg.Go(func() { h.inquire(t, c, "b", "c", s) })
	}
	wg.Wait()
	h.Proxy.Delay(0)
	h.anchored(t, c)
}

// secondDay lets lapse what nobody answered, on another day, and discloses.
func (h *history) secondDay(t *testing.T, c *nodetest.Core) {
	h.Turn(24 * time.Hour)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if n := nodetest.Count(c.Verify(), event.TypeInquiryLapsed); n == 15 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("unanswered inquiries do not lapse\n%s", h.Logs)
		}
	}
	h.anchored(t, c)
	s := c.Issue("b", 1030)
	h.inquire(t, c, "b", "nobody", s) // refused: no such provider
	if _, err := c.Core.DiscloseRecords(t.Context(), commands.DiscloseRecords{Meta: h.MetaAs(commands.RoleDisclosure, "b"), Symbol: s, Receipt: "R-1", Audience: commands.AudiencePerson}); err != nil {
		t.Fatal(err)
	}
}

// pile has people issued symbols while the store does not answer, so that decisions pile up into batches.
func (h *history) pile(t *testing.T, c *nodetest.Core, first, people int) {
	t.Helper()
	if err := c.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Proxy.HoldResponses()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.bulk(t, c, first, people)
	}()
	issuing := c.Core.Sequencers()[event.StreamIssuance]
	for end := time.Now().Add(time.Second); issuing.Queued() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	h.Proxy.Release()
	<-done
}

// largest is the largest batch of issuances so far.
func (h *history) largest(c *nodetest.Core) (largest []ledger.Event) {
	h.keys, h.streams = c.SigningKeys(), split(c.Verify())
	for _, b := range h.batches() {
		if b.head.Stream == event.StreamIssuance && len(b.events) > len(largest) {
			largest = b.events
		}
	}
	return largest
}

func (h *history) bulk(t *testing.T, c *nodetest.Core, first, people int) {
	t.Helper()
	var requests iter.Seq2[commands.SymbolRequest, error] = func(yield func(commands.SymbolRequest, error) bool) {
		for n := range people {
			if !yield(commands.SymbolRequest{AcquisitionNumber: "A-1", Code: nodetest.Code(t, first+n)}, nil) {
				return
			}
		}
	}
	err := c.Core.IssueSymbols(t.Context(), commands.IssueSymbols{Meta: h.Meta("a"), Agency: nodetest.AgencyCode(t, "a"), Requests: requests},
		func(i commands.ItemIssued) {
			if i.Err != nil {
				t.Error(i.Err)
			}
		})
	if err != nil {
		t.Error(err)
	}
}

func (h *history) inquire(t *testing.T, c *nodetest.Core, from, to string, s symbol.Agency) inquiry.ProcessingNumber {
	t.Helper()
	r, err := c.Core.SubmitInquiry(t.Context(), c.Inquiry(from, to, s))
	if err != nil {
		t.Error(err)
	}
	return r.ProcessingNumber
}

func (h *history) answer(t *testing.T, c *nodetest.Core, n inquiry.ProcessingNumber) {
	t.Helper()
	err := c.Core.ReportProvision(t.Context(), commands.ReportProvision{Meta: h.Meta("b"), ProcessingNumber: n,
		Answer: inquiry.AnswerFields{Kind: inquiry.Provided, ProvidedAt: h.Now(), Items: []string{"世帯"}}})
	if err != nil {
		t.Fatal(err)
	}
}

func (h *history) anchored(t *testing.T, c *nodetest.Core) {
	t.Helper()
	if err := c.Anchor(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// allTypes is every type of event that the core writes.
var allTypes = []string{
	event.TypeEpochStarted, event.TypeDayOpened, event.TypeLedgerOpened, event.TypeSigningKeyPublished, event.TypeAgencyRegistered,
	event.TypeAgencyStatusChanged, event.TypeScopeRulesPublished, event.TypePIAViolation, event.TypeAnchor, event.TypeVaultOpened,
	event.TypeBucketKeysStored, event.TypeSymbolIssued, event.TypeSymbolAlreadyAcquired, event.TypeResidentCodeChanged,
	event.TypeResidentCodeChangeRefused, event.TypeInquiryNotified, event.TypeInquiryRefused, event.TypeProvisionReported,
	event.TypeInquiryLapsed, event.TypeRecordsDisclosed, event.TypeOperationRecorded,
}

// complete shows that the history has everything in it that it is there for.
func (h *history) complete(t *testing.T) {
	t.Helper()
	for _, kind := range allTypes {
		if nodetest.Count(h.events, kind) == 0 {
			t.Errorf("no %s in the history", kind)
		}
	}
	sizes := map[uint64]int{}
	for _, b := range h.batches() {
		sizes[b.size()]++
	}
	if len(h.events) < 60 || sizes[1] == 0 || sizes[largestBatch] == 0 || len(sizes) < 3 {
		t.Errorf("%d events in batches of %v", len(h.events), sizes)
	}
	days := map[string]bool{}
	for _, e := range h.events {
		if e.Type == event.TypeDayOpened {
			if o, err := ledger.DecodeDayOpened(e.Data); err == nil {
				days[o.Day] = true
			}
		}
	}
	if len(days) != 2 || nodetest.Count(h.events, event.TypeAnchor) < 3 {
		t.Errorf("%d days and %d anchors", len(days), nodetest.Count(h.events, event.TypeAnchor))
	}
	t.Logf("%d events, batches of %v", len(h.events), sizes)
}

// batch is a run of events under one signature, with the head that it follows.
type batch struct {
	head   ledger.Head
	events []ledger.Event
	epoch  uint64
}

func (b batch) size() uint64 { return uint64(len(b.events)) }
func (b batch) end() uint64  { return b.head.Count + b.size() }

// batches returns all batches, stream by stream in the order of their names.
func (h *history) batches() (all []batch) {
	for _, stream := range slices.Sorted(maps.Keys(h.streams)) {
		head := ledger.Head{Stream: stream}
		for events := h.streams[stream]; len(events) > 0; {
			first, err := ledger.CheckEvent(events[0], h.keys)
			if err != nil {
				h.TB.Fatal(err)
			}
			n := first.Receipt.Size
			all = append(all, batch{head, events[:n], first.Header.Epoch})
			last, err := ledger.CheckEvent(events[n-1], h.keys)
			if err != nil {
				h.TB.Fatal(err)
			}
			head, events = last.Head(), events[n:]
		}
	}
	return all
}

// drafts are the events of a batch before they had a place.
func drafts(events []ledger.Event) (all []ledger.Draft) {
	for _, e := range events {
		h, _, _, _ := ledger.DecodeMetadata(e.Metadata)
		all = append(all, ledger.Draft{Stream: e.Stream, Type: e.Type, ID: e.ID, Time: h.Time, KeyID: h.KeyID, Nonce: h.Nonce,
			Data: bytes.Clone(e.Data), Digest: sha256.Sum256(e.Data)})
	}
	return all
}

// forged is what somebody who can have the HSM sign makes of drafts.
func (h *history) forged(head ledger.Head, epoch uint64, d []ledger.Draft) ([]ledger.Event, ledger.Head) {
	events, next, err := ledger.BuildBatch(head, epoch, d, h.signer, h.sign)
	if err != nil {
		h.TB.Fatal(err)
	}
	return events, next
}

// with is the ledger with one stream exchanged for another.
func (h *history) with(stream string, events []ledger.Event) []ledger.Event {
	var all []ledger.Event
	for _, name := range event.Streams(historyShards) {
		if name == stream {
			all = append(all, events...)
		} else {
			all = append(all, h.streams[name]...)
		}
	}
	return all
}
