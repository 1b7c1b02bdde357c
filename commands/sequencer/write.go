package sequencer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/domain/event"
	"kiroku/domain/ledger"
)

// write seals drafts behind a head and appends them until the outcome is known.
func (s *Sequencer) write(ctx context.Context, head ledger.Head, drafts []ledger.Draft) (ledger.Head, error) {
	epoch := head.Epoch
	if drafts[0].Type == event.TypeEpochStarted {
		epoch++
	}
	events, next, err := ledger.BuildBatch(head, epoch, drafts, s.o.Signer.KeyID(), func(digest [32]byte) ([64]byte, error) {
		return s.o.Signer.Sign(ctx, digest)
	})
	if err != nil {
		return head, fmt.Errorf("sign the batch: %w: %w", ErrUnavailable, err)
	}
	if err := s.appendUntilKnown(ctx, head.Count, events); err != nil {
		return head, err
	}
	s.Counters.Appends.Add(1)
	s.Counters.Events.Add(uint64(len(events)))
	for _, e := range events {
		s.Counters.Bytes.Add(uint64(len(e.Data) + len(e.Metadata)))
	}
	return next, nil
}

// warnEvery is how often the log says that an append is still being repeated, and why.
const warnEvery = 10 * time.Second

// appendUntilKnown sends the same bytes at the same revision until the store says that they stand there or never will.
// The store compares ids only, so after any repetition its yes counts only if the bytes read back are these.
// It never concludes from a read that an append did not land: it may land later.
func (s *Sequencer) appendUntilKnown(ctx context.Context, next uint64, events []ledger.Event) error {
	defer s.stalled.Store(0)
	pause := s.o.Retry
	var warned time.Time
	refusedThen := false // when warned
	for attempt := 0; ; attempt++ {
		err := s.o.Store.Append(ctx, s.o.Stream, next, events)
		switch {
		case err == nil && attempt == 0:
			return nil
		case err == nil:
			if err = s.readBack(ctx, next, events); err == nil || errors.Is(err, ErrNotWriter) {
				return err
			}
		case errors.Is(err, ErrWrongRevision):
			return fmt.Errorf("append at revision %d: %w: %w", next, ErrNotWriter, err)
		case attempt == 0 && (errors.Is(err, ErrRefused) || errors.Is(err, ErrUnavailable)):
			return fmt.Errorf("append at revision %d: %w", next, err)
		}
		// A refusal after an attempt of open outcome says nothing of that attempt: it may have landed, or may yet.
		if refused := errors.Is(err, ErrRefused); refused != refusedThen || time.Since(warned) >= warnEvery {
			warned, refusedThen = time.Now(), refused
			s.o.Logger.Warn("append of open outcome; sending the same bytes again until it is known",
				"stream", s.o.Stream, "revision", next, "events", len(events), "error", err)
		}
		if attempt == 0 {
			s.stalled.Store(time.Now().UnixNano())
		}
		s.Counters.Retries.Add(1)
		select {
		case <-ctx.Done():
			return fmt.Errorf("append at revision %d: %w: %w", next, ErrOutcomeOpen, context.Cause(ctx))
		case <-time.After(pause):
		}
		pause = min(2*pause, 32*s.o.Retry)
	}
}

// readBack reports nil if exactly these bytes stand at the revision.
func (s *Sequencer) readBack(ctx context.Context, next uint64, events []ledger.Event) error {
	s.Counters.ReadBacks.Add(1)
	stored, err := s.o.Store.ReadForward(ctx, s.o.Stream, next, len(events))
	if err != nil {
		return fmt.Errorf("read back revision %d: %w", next, err)
	}
	if len(stored) != len(events) {
		return fmt.Errorf("read back revision %d: %d of %d events there", next, len(stored), len(events))
	}
	for i, e := range events {
		g := stored[i]
		if g.Revision != e.Revision || g.ID != e.ID || g.Type != e.Type ||
			!bytes.Equal(g.Data, e.Data) || !bytes.Equal(g.Metadata, e.Metadata) {
			return fmt.Errorf("other bytes stand at revision %d under the same event id: %w", e.Revision, ErrNotWriter)
		}
	}
	return nil
}

// endsAt reports nil if the stream ends at the head: then nobody but this process has decided anything up to now.
func (s *Sequencer) endsAt(ctx context.Context, head ledger.Head) error {
	last, ok, err := s.o.Store.ReadLast(ctx, s.o.Stream)
	switch {
	case err != nil:
		return fmt.Errorf("read the last event: %w: %w", ErrUnavailable, err)
	case !ok || last.Revision+1 != head.Count:
		return fmt.Errorf("the stream does not end at revision %d: %w", head.Count, ErrNotWriter)
	}
	return nil
}

// tailLength is how many events of a stream are verified before a takeover: at least two batches of the default size.
const tailLength = 512

// takeOverUnlessClosing gives the attempt up when the sequencer is closed: its goroutine must not wait for ever for
// a store that is gone.
func (w *writer) takeOverUnlessClosing(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.s.draining, cancel)()
	err := w.takeOver(ctx)
	if err != nil && w.s.draining.Err() != nil {
		return fmt.Errorf("take over stream %s: %w", w.s.o.Stream, ErrClosed)
	}
	return err
}

// takeOver runs on the goroutine of run.
func (w *writer) takeOver(ctx context.Context) error {
	s := w.s
	if s.active.Load() {
		return nil
	}
	if w.inflight != nil {
		return fmt.Errorf("stream %s: an append is still under way; try again", s.o.Stream)
	}
	for range 16 { // another writer may still be appending: bounded, or two cores would fight for ever
		head, err := s.verifiedHead(ctx)
		if err != nil {
			return fmt.Errorf("take over stream %s: %w", s.o.Stream, err)
		}
		draft, err := w.epochDraft(head)
		if err != nil {
			return fmt.Errorf("take over stream %s: %w", s.o.Stream, err)
		}
		next, err := s.write(ctx, head, []ledger.Draft{draft})
		if errors.Is(err, ErrNotWriter) {
			continue
		}
		if err != nil {
			return fmt.Errorf("take over stream %s: %w", s.o.Stream, err)
		}
		return w.activate(ctx, next)
	}
	return fmt.Errorf("take over stream %s: another writer keeps appending: %w", s.o.Stream, ErrNotWriter)
}

func (w *writer) activate(ctx context.Context, head ledger.Head) error {
	s := w.s
	s.o.Index.Rollback(0)
	if s.o.CaughtUp != nil {
		if err := s.o.CaughtUp(ctx, head.Count); err != nil {
			return fmt.Errorf("take over stream %s: wait for the index: %w", s.o.Stream, err)
		}
	}
	w.head, w.next, w.latest, w.building = head, head.Count, head.Time, &batch{}
	s.durable.Store(&head)
	s.o.Index.Durable(head.Count)
	s.active.Store(true)
	s.Counters.Takeovers.Add(1)
	s.o.Logger.Info("writing the stream", "stream", s.o.Stream, "epoch", head.Epoch, "revision", head.Count)
	return nil
}

// verifiedHead verifies the tail of the stream and returns its head.
func (s *Sequencer) verifiedHead(ctx context.Context) (ledger.Head, error) {
	last, ok, err := s.o.Store.ReadLast(ctx, s.o.Stream)
	if err != nil {
		return ledger.Head{}, fmt.Errorf("read the last event: %w", err)
	}
	if !ok {
		return ledger.Head{Stream: s.o.Stream}, nil
	}
	from := uint64(0)
	if last.Revision >= tailLength {
		from = last.Revision - tailLength + 1
	}
	// Not beyond the last event: a batch appended since might be read in part.
	tail, err := s.o.Store.ReadForward(ctx, s.o.Stream, from, int(last.Revision-from)+1)
	if err != nil {
		return ledger.Head{}, fmt.Errorf("read the tail: %w", err)
	}
	for n := len(tail); n > 0 && tail[n-1].Revision > last.Revision; n-- { // of a truncated stream more fits than was asked for
		tail = tail[:n-1]
	}
	head, err := checkTail(s.o.Stream, tail, s.o.Keys())
	if err == nil && head.Count != last.Revision+1 {
		err = fmt.Errorf("the last event is %d, but reading ends at %d: %w", last.Revision, head.Count-1, ErrTail)
	}
	return head, err
}

// epochDraft makes the event that begins an epoch. Its id is of this attempt alone: an earlier attempt of open
// outcome may land meanwhile, and the store, which compares ids only, would take one for the other.
func (w *writer) epochDraft(head ledger.Head) (ledger.Draft, error) {
	s := w.s
	payload, err := event.Encode(event.EpochStarted{Writer: s.o.Writer})
	if err != nil {
		return ledger.Draft{}, err
	}
	now := s.o.Now().UTC().Truncate(time.Microsecond)
	if now.Before(head.Time.Add(-ClockTolerance)) {
		return ledger.Draft{}, fmt.Errorf("now %s, last event %s: %w", now.Format(time.RFC3339), head.Time.Format(time.RFC3339), ErrClockBack)
	}
	id := uuid.NewSHA1(s.o.Writer, fmt.Appendf(nil, "epoch %s %d attempt %d", s.o.Stream, head.Epoch+1, w.attempts))
	w.attempts++
	return ledger.Plain(ledger.AAD{Stream: s.o.Stream, ID: id, Type: event.TypeEpochStarted, Time: now}, payload)
}
