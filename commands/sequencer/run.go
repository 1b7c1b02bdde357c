package sequencer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// batch is a run of submissions whose drafts go into one append.
type batch struct {
	first  uint64    // revision of the first draft
	before time.Time // latest time of a draft before the first
	subs   []*submission
	errs   []error // of subs without drafts: answered with the batch
	drafts []ledger.Draft
	bytes  int
}

func (b *batch) answer(err error) {
	for i, s := range b.subs {
		if err == nil {
			s.answer <- b.errs[i]
			continue
		}
		s.answer <- err
	}
}

// writer is the state of the goroutine of run.
type writer struct {
	s        *Sequencer
	head     ledger.Head // of the last batch handed to the store; what follows must continue it
	next     uint64      // revision that the next draft will get
	attempts int         // to begin an epoch
	latest   time.Time   // time of the last draft decided, or of the head
	building *batch
	inflight *batch
	result   chan appended
	began    time.Time        // of the append under way
	answered int              // submissions by the last append
	crowd    int              // submissions that are likely to be back soon, with those already waiting
	patience <-chan time.Time // ends the wait for them; nil: no wait
}

type appended struct {
	head ledger.Head
	err  error
}

func (s *Sequencer) run(ctx context.Context) {
	defer close(s.done)
	defer s.active.Store(false)
	defer s.stop()
	w := &writer{s: s, result: make(chan appended, 1), building: &batch{}}
	drain := s.draining.Done()
	for {
		inbox := s.inbox
		if w.full() {
			inbox = nil // back-pressure: the queue fills, Submit refuses
		}
		if drain == nil && w.idle() && len(s.inbox) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			w.giveUp()
			s.rejectQueued(ErrClosed)
			return
		case <-drain:
			drain = nil
		case r := <-s.takeover:
			r.answer <- w.takeOverUnlessClosing(r.ctx)
		case <-s.down:
			w.standDown()
		case res := <-w.result:
			w.finish(res)
			w.await()
		case <-w.patience:
			w.patience = nil
		case sub := <-inbox:
			w.decide(sub)
			w.decideQueued(inbox)
		}
		w.launch(ctx)
	}
}

func (w *writer) idle() bool { return w.inflight == nil && len(w.building.subs) == 0 }

func (w *writer) full() bool {
	return len(w.building.drafts) >= w.s.o.Batch || w.building.bytes >= MaxAppendBytes*3/4 ||
		len(w.building.subs) >= 4*w.s.o.Batch
}

// decideQueued takes what is already waiting, so that a batch grows without a pause.
func (w *writer) decideQueued(inbox chan *submission) {
	for !w.full() {
		select {
		case sub := <-inbox:
			w.decide(sub)
		default:
			return
		}
	}
}

func (w *writer) decide(sub *submission) {
	if !w.s.active.Load() {
		sub.answer <- fmt.Errorf("stream %s: %w", w.s.o.Stream, ErrNotWriter)
		return
	}
	drafts, err := sub.decide(w.next)
	if err == nil && len(drafts) > 0 {
		err = w.admit(drafts)
	}
	if err != nil || len(drafts) == 0 {
		drafts = nil
		w.s.o.Index.Rollback(w.next) // what the decision entered before it failed
	}
	b := w.building
	if len(b.drafts) == 0 {
		b.first, b.before = w.next, w.latest
	}
	sub.first = w.next
	b.subs = append(b.subs, sub)
	b.errs = append(b.errs, err)
	b.drafts = append(b.drafts, drafts...)
	for _, d := range drafts {
		b.bytes += draftBytes(d)
		if d.Time.After(w.latest) {
			w.latest = d.Time
		}
	}
	w.next += uint64(len(drafts))
}

func draftBytes(d ledger.Draft) int {
	return len(d.Data) + 2*len(d.Type) + len(d.KeyID) + metadataReserve
}

// admit checks what no decision can know: the size of the append and the order of time; and that no draft
// is one that would spoil the batch for all others in it.
func (w *writer) admit(drafts []ledger.Draft) error {
	size := 0
	for _, d := range drafts {
		size += draftBytes(d)
		if d.Stream != w.s.o.Stream || d.Type == event.TypeEpochStarted {
			return fmt.Errorf("%s draft for stream %q: %w", d.Type, d.Stream, ledger.ErrBatch)
		}
		if d.Time.Before(w.latest.Add(-ClockTolerance)) {
			return fmt.Errorf("now %s, last event %s: %w", d.Time.Format(time.RFC3339), w.latest.Format(time.RFC3339), ErrClockBack)
		}
	}
	if w.building.bytes+size > MaxAppendBytes {
		if len(w.building.drafts) == 0 {
			return fmt.Errorf("%d bytes: %w", size, ErrTooLarge)
		}
		return fmt.Errorf("%d bytes beside %d waiting: %w", size, w.building.bytes, ErrOverloaded)
	}
	return nil
}

// launch sends the batch that was built, if none is under way. Where there is nothing to append, the answers still
// need to be the writer's: a process that was paused does not know yet that another core has decided since.
func (w *writer) launch(ctx context.Context) {
	if w.inflight != nil || len(w.building.subs) == 0 {
		return
	}
	if w.patience != nil && len(w.building.subs) < w.crowd && !w.full() {
		return
	}
	w.patience = nil
	b := w.building
	w.building = &batch{}
	w.inflight, w.began = b, time.Now()
	head := w.head
	go func() {
		if len(b.drafts) == 0 {
			w.result <- appended{head, w.s.endsAt(ctx, head)}
			return
		}
		h, err := w.s.write(ctx, head, b.drafts)
		w.result <- appended{h, err}
	}()
}

// Bounds of the wait in await.
const (
	crowdFrom   = 8                     // answers at once, below which nobody is waited for
	maxPatience = time.Millisecond      // of a wait
	minPatience = 50 * time.Microsecond // a shorter wait is not worth it
)

// await has the next batch wait a little for the callers that have just been answered: most have another command at
// once. Without it they would find the batch of those who came before gone, and two half crowds would take turns for
// ever, each append as dear as one for all. The wait is a part of what an append takes.
func (w *writer) await() {
	w.patience = nil
	answered := w.answered
	w.answered = 0
	if patience := min(time.Since(w.began)/4, maxPatience); answered >= crowdFrom && patience >= minPatience {
		w.crowd, w.patience = answered+len(w.building.subs), time.After(patience)
	}
}

// finish deals with the outcome of the append that was under way.
func (w *writer) finish(res appended) {
	b := w.inflight
	w.inflight, w.answered = nil, len(b.subs)
	if res.err == nil {
		w.head = res.head
		w.s.durable.Store(&res.head)
		w.s.o.Index.Durable(res.head.Count)
		b.answer(nil)
		return
	}
	// Everything decided since rests on facts that are not there.
	w.s.o.Index.Rollback(b.first)
	w.next, w.latest = b.first, b.before
	err := fmt.Errorf("stream %s: %w", w.s.o.Stream, res.err)
	b.answer(err)
	w.building.answer(err)
	w.building = &batch{}
	if errors.Is(res.err, ErrNotWriter) {
		w.standBy()
	}
}

// giveUp ends everything because the process cannot wait any longer. It waits only for the append under way to
// be given up too, so that nothing uses the store or the HSM when it returns.
func (w *writer) giveUp() {
	w.dropBuilding(fmt.Errorf("stream %s: %w", w.s.o.Stream, ErrClosed))
	if w.inflight != nil {
		w.finish(<-w.result)
	}
}

// dropBuilding answers what was decided and not yet sent.
func (w *writer) dropBuilding(err error) {
	if b := w.building; len(b.drafts) > 0 {
		w.s.o.Index.Rollback(b.first)
		w.next, w.latest = b.first, b.before
	}
	w.building.answer(err)
	w.building = &batch{}
}

// standDown gives up what was decided and not yet sent; an append under way ends as it ends.
func (w *writer) standDown() {
	if !w.s.active.Load() {
		return
	}
	w.s.active.Store(false)
	w.dropBuilding(fmt.Errorf("stream %s: %w", w.s.o.Stream, ErrNotWriter))
	w.s.rejectQueued(ErrNotWriter)
}

func (w *writer) standBy() {
	if !w.s.active.Swap(false) {
		return // stood down before: nobody needs to be told
	}
	w.s.rejectQueued(ErrNotWriter)
	w.s.o.Logger.Warn("another writer owns the stream; standing by", "stream", w.s.o.Stream)
	if w.s.o.Lost != nil {
		go w.s.o.Lost(w.s.o.Stream)
	}
}

func (s *Sequencer) rejectQueued(err error) {
	for {
		select {
		case sub := <-s.inbox:
			sub.answer <- fmt.Errorf("stream %s: %w", s.o.Stream, err)
		default:
			return
		}
	}
}
