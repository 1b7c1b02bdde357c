package statistics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"kiroku/domain/calendar"
	"kiroku/projections"
)

// Store holds the rows, and how far each stream has been followed. Several processes may use one at a time.
//
// What makes every row count once is the chunk: the rows of the events From ≤ revision < To of a stream. Which To goes
// with a From is agreed on in the store before any row is sent, so whoever sends the chunk, again or at the same time,
// sends the same rows under the same name, and the store keeps the first.
type Store interface {
	// Position returns how far a stream has been followed, and the end of the chunk agreed on from there.
	Position(ctx context.Context, stream string) (Position, error)
	// Agree proposes that the chunk beginning at a position ends at to, and returns where it does end: the first
	// proposal counts, whoever made it.
	Agree(ctx context.Context, stream string, at Position, to uint64) (agreed uint64, err error)
	// Insert stores the rows of a chunk. Of the same chunk again it stores what is missing, also after an error.
	Insert(ctx context.Context, c Chunk) error
	// Finish records that a chunk is stored whole.
	Finish(ctx context.Context, c Chunk) error
	// Rotated notes a rotation of the vault: issuances of its days that were opened under an earlier generation are
	// refused from then on, with ErrStale.
	Rotated(ctx context.Context, r Rotation) error
	// Recount puts issuances in the place of those of a day. It does nothing, and reports false, unless those are all
	// that were brought: the stream of issuances stands at at, and no chunk of it is under way; closed says that no
	// other chunk holds any of that day. Begun and not finished, it has to be repeated.
	Recount(ctx context.Context, at Position, day calendar.Day, again []Recounted, closed bool) (done bool, err error)
	// Empty removes all rows and positions.
	Empty(ctx context.Context) error
}

// ErrStale is wrapped by the error of a chunk that was opened before persons in it were deleted: it has to be read again.
var ErrStale = fmt.Errorf("opened before persons in it were deleted: %w", projections.ErrStartOver)

// Position is how far a stream has been followed.
type Position struct {
	Beginning  uint64 // how often the store was emptied
	Checkpoint projections.Checkpoint
	Facts      Facts  // of the stream so far
	Agreed     uint64 // end of the chunk that begins at Checkpoint.Next; 0: not agreed on
}

// Facts is a number of facts. What was brought of a day that has ended meanwhile may be in it or not.
type Facts struct {
	Exchanges map[calendar.Day]uint64 // by day; not to be changed
	Issuances uint64
}

// with is the number with those of further rows.
func (f Facts) with(r *Rows) Facts {
	f.Issuances += uint64(len(r.Issuances))
	if len(r.Exchanges) == 0 {
		return f
	}
	if f.Exchanges = maps.Clone(f.Exchanges); f.Exchanges == nil {
		f.Exchanges = map[calendar.Day]uint64{}
	}
	for i := range r.Exchanges {
		f.Exchanges[r.Exchanges[i].Day]++
	}
	return f
}

// Chunk is the rows of consecutive events of one stream.
type Chunk struct {
	Stream    string
	Beginning uint64                 // of the position at which it begins
	From      uint64                 // first revision
	To        projections.Checkpoint // after the last event
	Facts     Facts                  // of the stream up to To
	Vault     int                    // generation of the vault under which its events were opened, or an earlier one
	Rows
}

// position is a stream as this process sees it.
type position struct {
	mu      sync.Mutex // guards the rest
	known   bool       // at is as the store has it
	behind  bool       // the store went back, and Checkpoint was not asked since
	at      Position
	vault   int       // generation of the vault when the events began to be read
	waiting []fact    // of the events from at on
	sent    time.Time // when the last chunk was
}

// next is the revision of the event to be read next.
func (p *position) next() uint64 {
	if n := len(p.waiting); n > 0 {
		return p.waiting[n-1].after.Next
	}
	return p.at.Checkpoint.Next
}

// load asks the store where a stream stands, unless that is known.
func (s *Statistics) load(stream string, p *position) error {
	if p.known {
		return nil
	}
	stored, err := s.store.Position(s.ctx, stream)
	if err != nil {
		return fmt.Errorf("position of %s: %w", stream, err)
	}
	if stored.Beginning != p.at.Beginning || stored.Checkpoint.Next < p.at.Checkpoint.Next || stored.Checkpoint.Next > p.next() {
		p.waiting = nil
	}
	p.behind = p.behind || stored.Checkpoint.Next < p.at.Checkpoint.Next
	p.at, p.known = stored, true
	p.waiting = p.waiting[p.upTo(p.at.Checkpoint.Next):]
	return nil
}

// upTo counts the waiting facts below a revision.
func (p *position) upTo(revision uint64) int {
	return sort.Search(len(p.waiting), func(i int) bool { return p.waiting[i].after.Next > revision })
}

// take reads an event, unless it was read already.
func (p *position) take(o *projections.Opened) error {
	switch next := p.next(); {
	case o.Event.Revision < next:
		return nil
	case o.Event.Revision > next && next == 0 && !o.Begins:
		return fmt.Errorf("%s was on its way at %d when the statistics were emptied: %w", o.Event.Stream, o.Event.Revision, projections.ErrStartOver)
	case o.Event.Revision > next && !o.Begins:
		return fmt.Errorf("%s continues at %d, expected was %d: %w", o.Event.Stream, o.Event.Revision, next, projections.ErrGap)
	}
	f, err := read(o)
	if err != nil {
		return fmt.Errorf("read %s of %s@%d: %w", o.Event.Type, o.Event.Stream, o.Event.Revision, err)
	}
	p.waiting = append(p.waiting, f)
	return nil
}

// drain sends what waits, chunk by chunk. After an error nothing is known any more but what was read.
func (s *Statistics) drain(stream string, p *position) error {
	for len(p.waiting) > 0 {
		more, err := s.send(stream, p)
		if err != nil {
			p.known = false
			if errors.Is(err, ErrStale) {
				p.waiting = nil
			}
			return err
		}
		if !more {
			return nil
		}
	}
	return nil
}

// send sends one chunk. It reports false if events of the chunk agreed on have not been read yet.
func (s *Statistics) send(stream string, p *position) (bool, error) {
	from := p.at.Checkpoint.Next
	if p.at.Agreed <= from {
		propose := p.waiting[min(len(p.waiting), s.Chunk)-1].after.Next
		agreed, err := s.store.Agree(s.ctx, stream, p.at, propose)
		if err != nil {
			return false, fmt.Errorf("agree on the chunk of %s from %d to %d: %w", stream, from, propose, err)
		}
		p.at.Agreed = agreed
	}
	if p.next() < p.at.Agreed {
		return false, nil
	}
	c, n, err := p.chunk(stream)
	if err != nil {
		return false, err
	}
	if !c.Rows.none() {
		if err := s.store.Insert(s.ctx, c); err != nil {
			return false, fmt.Errorf("insert the chunk of %s from %d to %d: %w", stream, c.From, c.To.Next, err)
		}
	}
	if err := s.recount(c.Rotations); err != nil {
		return false, err
	}
	if err := s.store.Finish(s.ctx, c); err != nil {
		return false, fmt.Errorf("finish the chunk of %s from %d to %d: %w", stream, c.From, c.To.Next, err)
	}
	p.at = Position{Beginning: c.Beginning, Checkpoint: c.To, Facts: c.Facts, Agreed: p.at.Agreed}
	p.sent = time.Now()
	p.waiting = slices.Delete(p.waiting, 0, n) // what was sent stays in reach no longer
	return true, nil
}

// chunk makes the chunk agreed on of the first n facts that wait. Where all its events were destroyed before it was
// finished, it is empty, and ends where the stream begins now.
func (p *position) chunk(stream string) (c Chunk, n int, err error) {
	n = p.upTo(p.at.Agreed)
	c = Chunk{Stream: stream, Beginning: p.at.Beginning, From: p.at.Checkpoint.Next, Vault: p.vault, Rows: rowsOf(p.waiting[:n])}
	c.Facts = p.at.Facts.with(&c.Rows)
	begins := p.waiting[0].begins
	switch {
	case n > 0:
		c.To = p.waiting[n-1].after
	case begins != nil:
		c.To = *begins
		c.To.Epoch = p.at.Checkpoint.Epoch
	default:
		return c, 0, fmt.Errorf("the chunk of %s from %d to %d has no events: %w", stream, c.From, p.at.Agreed, projections.ErrGap)
	}
	return c, n, nil
}
