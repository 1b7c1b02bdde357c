package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Scavenged says what a scavenge did.
type Scavenged struct {
	Runs   int    // appends of which at least one event went
	Events uint64 // removed
}

// Scavenge removes for good the events that stream metadata has truncated: those below
// $tb, those beyond $maxCount, and all of a tombstoned stream but its tombstone. It then
// rewrites the files that held them, so that their bytes leave the disk. Events hidden
// by $maxAge alone stay. Writing and reading go on meanwhile; removed events also vanish
// from the log over all streams.
func (j *Journal) Scavenge(ctx context.Context) (Scavenged, error) {
	j.scavenges.Lock()
	defer j.scavenges.Unlock()
	var total Scavenged
	for stream, below := range j.truncations() {
		s, err := j.scavengeStream(ctx, stream, below)
		total.Runs += s.Runs
		total.Events += s.Events
		if err != nil {
			return total, fmt.Errorf("scavenge stream %q: %w", stream, err)
		}
	}
	if err := j.rewrite(ctx); err != nil {
		return total, fmt.Errorf("rewrite the files that held scavenged events: %w", err)
	}
	return total, nil
}

// truncations lists, for each stream that has one, the first revision to keep.
func (j *Journal) truncations() map[string]int64 {
	p := &j.published
	p.mu.RLock()
	defer p.mu.RUnlock()
	below := map[string]int64{}
	for stream := range p.heads {
		h := p.heads.of(stream)
		first := min(h.first(), h.last+1)
		if h.tombstoned {
			first = h.last + 1
		}
		if first > 0 {
			below[stream] = first
		}
	}
	return below
}

// scavengeStream removes the events below a revision, a batch of runs at a time.
func (j *Journal) scavengeStream(ctx context.Context, stream string, below int64) (done Scavenged, err error) {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		err = j.use(func() error {
			var s Scavenged
			s, more, err = j.scavengeBatch(stream, below)
			done.Runs += s.Runs
			done.Events += s.Events
			return err
		})
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

const scavengeRuns = 256 // runs in one batch

func (j *Journal) scavengeBatch(stream string, below int64) (done Scavenged, more bool, err error) {
	lower := streamPrefix(stream)
	index, err := j.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: runKey(stream, below)})
	if err != nil {
		return done, false, err
	}
	defer index.Close()
	batch := j.db.NewBatch()
	defer batch.Close()
	highest := j.scavenged.Load()
	for ok := index.First(); ok; ok = index.Next() {
		if done.Runs == scavengeRuns {
			more = true
			break
		}
		r, err := decodeRun(index.Key(), index.Value())
		if err != nil {
			return done, false, err
		}
		n, to, err := j.scavengeRun(batch, stream, r, below)
		if err != nil {
			return done, false, err
		}
		if n == 0 {
			continue
		}
		done.Runs++
		done.Events += n
		highest = max(highest, to)
	}
	if err := index.Error(); err != nil || done.Runs == 0 {
		return done, false, err
	}
	if err := batch.Set(keyScavenged, binary.BigEndian.AppendUint64(nil, highest), nil); err != nil {
		return done, false, err
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return done, false, err
	}
	j.scavenged.Store(highest)
	return done, more, nil
}

// scavengeRun drafts the removal of a run's events below a revision: the whole run with
// its index entry, or, where it straddles, its first events, the entry staying.
func (j *Journal) scavengeRun(batch *pebble.Batch, stream string, r run, below int64) (n uint64, to uint64, err error) {
	if r.last() < below {
		if err := batch.Delete(runKey(stream, r.first), nil); err != nil {
			return 0, 0, err
		}
		return uint64(r.count), r.to, batch.DeleteRange(eventKey(r.from), eventKey(r.to+1), nil)
	}
	records, err := j.records()
	if err != nil {
		return 0, 0, err
	}
	defer records.Close()
	to = r.from
	for ok := records.SeekGE(eventKey(r.from)); ok; ok = records.Next() {
		to = binary.BigEndian.Uint64(records.Key()[1:])
		value, err := records.ValueAndErr()
		if err != nil {
			return 0, 0, err
		}
		revision, err := recordRevision(value)
		if err != nil {
			return 0, 0, err
		}
		if revision >= below || to > r.to {
			break
		}
		n++
	}
	if err := records.Error(); err != nil || n == 0 {
		return 0, 0, err
	}
	return n, to - 1, batch.DeleteRange(eventKey(r.from), eventKey(to), nil)
}

// rewrite flushes and compacts everything up to the highest scavenged position.
func (j *Journal) rewrite(ctx context.Context) error {
	return j.use(func() error {
		if err := j.db.Flush(); err != nil {
			return err
		}
		last := j.scavenged.Load()
		if last == 0 {
			return nil
		}
		return j.db.Compact(ctx, bytes.Clone(eventKey(0)), eventKey(last+1), true)
	})
}
