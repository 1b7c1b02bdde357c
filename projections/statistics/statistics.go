// Package statistics is the read model of which the law requires counts: how much is exchanged, by whom, for what,
// with what outcome and how fast, and how many symbols are issued (番号法施行令27条, 評価書 別添2).
//
// It promises whoever asks it that no row is a handle on a person: no symbol, no processing number, no event id; times
// are truncated to the hour, and how long an answer took stands in a column of its own. It promises to equal the
// ledger: every event that counts has exactly one row, whatever was sent twice, left without an answer or begun anew,
// and whatever was killed meanwhile.
//
// An exchange is counted once, when it ends: provided, answered that there is no such information or that it cannot be
// provided, lapsed, or refused. An inquiry that is still open is not counted yet, so nothing counted is ever
// corrected. It counts on the Japanese calendar day on which its end was recorded, the day with whose key the event
// itself dies; its hour is the one in which the inquiry was received. A correction of a record is no exchange.
// An issuance whose person was deleted since counts without its agency.
//
// When the key of a day is destroyed, the exchanges of the day give way to what its summary kept of them (Summary). It is
// promised to whoever certifies that: once Checkpoint has come beyond the event day-key-destroyed of the registry, no row
// of the day is left, nothing summed up from its rows is, and what arrives late of it leaves no row. When persons
// were deleted, the issuances of the days in question are counted again without them. Either way the rows are those of a
// projection that was filled only then.
package statistics

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/projections"
)

// Name of the projection.
const Name = "statistics"

// Defaults of Options.
const (
	DefaultPace  = time.Second
	DefaultChunk = 50_000
)

// Options are the measures of a Statistics; 0 stands for the default.
type Options struct {
	Register Register // required where persons are deleted

	Pace  time.Duration // chunks of a stream that follows along are at least so far apart; negative: not at all
	Chunk int           // events in one chunk at most
}

// Statistics is the projection. It is safe for concurrent use.
type Statistics struct {
	ctx   context.Context // ends what Apply is doing, which is given no context of its own
	store Store
	Options

	issuances *position // of streams

	mu      sync.Mutex // guards streams
	streams map[string]*position
}

// Register reads the issuances of the ledger again.
type Register interface {
	// Generation is that of the vault by which issuances are opened now.
	Generation() int
	// Recorded gives the issuances recorded on a day, below revision next of the stream, verified and opened by a
	// generation of the vault or a later one. It fails while there is none. closed says that none from next on is of
	// that day.
	Recorded(ctx context.Context, generation int, day calendar.Day, next uint64, visit func(*projections.Opened) error) (closed bool, err error)
}

// Open opens the projection in a store. When ctx ends, whatever waits for the store gives up.
func Open(ctx context.Context, store Store, o Options) *Statistics {
	if o.Pace == 0 {
		o.Pace = DefaultPace
	}
	if o.Chunk <= 0 {
		o.Chunk = DefaultChunk
	}
	issuances := &position{}
	return &Statistics{ctx: ctx, store: store, Options: o, issuances: issuances, streams: map[string]*position{event.StreamIssuance: issuances}}
}

// Name implements projections.Projection.
func (*Statistics) Name() string { return Name }

// Wants implements projections.Projection.
func (*Statistics) Wants(stream string) bool {
	return stream == event.StreamRegistry || stream == event.StreamIssuance || event.IsRecordStream(stream)
}

// Checkpoint implements projections.Projection. It asks the store: events that were applied but lie in no finished
// chunk are to be given again.
func (s *Statistics) Checkpoint(stream string) (projections.Checkpoint, error) {
	p := s.position(stream)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = false
	if s.Register != nil {
		if vault := s.Register.Generation(); vault != p.vault {
			p.vault = vault
			if stream == event.StreamIssuance { // what waits was opened before
				p.waiting = nil
			}
		}
	}
	if err := s.load(stream, p); err != nil {
		return projections.Checkpoint{}, err
	}
	p.behind = false
	return p.at.Checkpoint, nil
}

// Apply implements projections.Projection, but for one thing: where a chunk was begun earlier and is not yet complete,
// it keeps what it has read and returns before there are rows of it.
func (s *Statistics) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	p := s.position(stream)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := s.load(stream, p); err != nil {
		return err
	}
	if p.behind {
		return fmt.Errorf("the statistics were begun anew: %w", projections.ErrStartOver)
	}
	if to.Next <= p.next() {
		return s.drain(stream, p)
	}
	for i := range batch {
		if err := p.take(&batch[i]); err != nil {
			return err
		}
	}
	s.rest(p)
	return s.drain(stream, p)
}

// rest lets a little time pass between small chunks: a store of columns likes few large ones.
func (s *Statistics) rest(p *position) {
	pause := s.Pace - time.Since(p.sent)
	if pause <= 0 || len(p.waiting) >= s.Chunk/10 {
		return
	}
	select {
	case <-s.ctx.Done():
	case <-time.After(pause):
	}
}

// Reset implements projections.Projection.
func (s *Statistics) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.streams[event.StreamRegistry]; p != nil { // in the order in which recount locks them
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	for stream, p := range s.streams {
		if stream != event.StreamRegistry {
			p.mu.Lock()
			defer p.mu.Unlock()
		}
	}
	if err := s.store.Empty(s.ctx); err != nil {
		return fmt.Errorf("empty the statistics: %w", err)
	}
	for _, p := range s.streams {
		p.known, p.behind, p.at, p.vault, p.waiting = false, false, Position{}, 0, nil
	}
	return nil
}

func (s *Statistics) position(stream string) *position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[stream] == nil {
		s.streams[stream] = &position{}
	}
	return s.streams[stream]
}
