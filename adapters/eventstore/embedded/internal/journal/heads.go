package journal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// head is what is known of a stream without reading it. A value, never changed in place.
type head struct {
	last       int64 // revision of the last event before any tombstone; -1: none
	tombstoned bool
	hasMeta    bool     // its metadata stream holds at least one event
	meta       Metadata // in force
}

var noHead = head{last: -1}

func (h head) softDeleted() bool { return h.meta.TruncateBefore == TombstoneRevision }

// first is the lowest revision that the metadata leaves visible, age apart.
func (h head) first() int64 {
	from := max(0, h.meta.TruncateBefore)
	if h.meta.MaxCount > 0 {
		from = max(from, h.last-h.meta.MaxCount+1)
	}
	return from
}

// heads of all streams; the writer has one map (planned), readers another (durable).
type heads map[string]head

// of returns the head of a stream; metadata streams keep one event and share the fate
// of their stream.
func (hs heads) of(stream string) head {
	h, ok := hs[stream]
	if !ok {
		h = noHead
	}
	if subject, is := strings.CutPrefix(stream, MetadataPrefix); is {
		h.meta = Metadata{MaxCount: 1}
		h.tombstoned = h.tombstoned || hs[subject].tombstoned
	}
	return h
}

// bare is the stored part of a head, without what `of` derives.
func (hs heads) bare(stream string) head {
	if h, ok := hs[stream]; ok {
		return h
	}
	return noHead
}

// published is the durable state that readers see.
type published struct {
	mu      sync.RWMutex
	heads   heads
	end     uint64        // position of the last durable event; 0: none
	changed chan struct{} // closed and replaced whenever end or a head changes
}

func encodeHead(h head) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 9), uint64(h.last))
	if h.tombstoned {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeHead(b []byte) (head, error) {
	if len(b) != 9 {
		return head{}, fmt.Errorf("stream head of %d bytes: %w", len(b), errCorrupt)
	}
	return head{last: int64(binary.BigEndian.Uint64(b)), tombstoned: b[8] == 1}, nil
}

// load reads the heads and counters at start.
func (j *Journal) load() error {
	if err := j.checkLayout(); err != nil {
		return err
	}
	all := heads{}
	if err := j.loadHeads(all); err != nil {
		return err
	}
	for stream := range all {
		subject, is := strings.CutPrefix(stream, MetadataPrefix)
		if !is || all[stream].last < 0 {
			continue
		}
		e, ok, err := j.eventAt(stream, all[stream].last)
		if err != nil {
			return fmt.Errorf("metadata of stream %q: %w", subject, err)
		}
		h := all.bare(subject)
		h.hasMeta = true
		if ok && e.JSON {
			h.meta = ParseMetadata(e.Data)
		}
		all[subject] = h
	}
	next, err := j.counter(keyNextPosition, firstPosition)
	if err != nil {
		return err
	}
	scavenged, err := j.counter(keyScavenged, 0)
	if err != nil {
		return err
	}
	j.scavenged.Store(scavenged)
	planned := make(heads, len(all))
	for stream, h := range all {
		planned[stream] = h
	}
	j.writer = writer{planned: planned, next: next, recent: newRecentIDs()}
	j.published.heads = all
	j.published.end = next - 1
	j.published.changed = make(chan struct{})
	return nil
}

func (j *Journal) checkLayout() error {
	version, err := j.counter(keyVersion, 0)
	switch {
	case err != nil:
		return err
	case version == 0:
		return j.db.Set(keyVersion, binary.BigEndian.AppendUint64(nil, layoutVersion), pebble.Sync)
	case version != layoutVersion:
		return fmt.Errorf("the layout on the disk is version %d, this program knows %d", version, layoutVersion)
	}
	return nil
}

func (j *Journal) loadHeads(into heads) error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceHead}, UpperBound: []byte{spaceHead + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		h, err := decodeHead(it.Value())
		if err != nil {
			return err
		}
		into[string(it.Key()[1:])] = h
	}
	return it.Error()
}

func (j *Journal) counter(key []byte, missing uint64) (uint64, error) {
	b, closer, err := j.db.Get(key)
	if err == pebble.ErrNotFound {
		return missing, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	if len(b) != 8 {
		return 0, fmt.Errorf("counter %s: %w", key, errCorrupt)
	}
	return binary.BigEndian.Uint64(b), nil
}
