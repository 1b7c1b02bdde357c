package journal

import "github.com/google/uuid"

// verdict of the commit check.
type verdict int

const (
	write      verdict = iota
	idempotent         // already there: success, nothing written
	wrong
	deleted
)

// memory is what the commit check looks ids up in.
type memory interface {
	// recent finds an id among those appended lately to this stream since the start.
	recent(stream string, id uuid.UUID) (revision int64, ok bool)
	// stored returns the ids at from, from+1, … (at most n; fewer at the stream's end
	// or where events are gone).
	stored(stream string, from int64, n int) ([]uuid.UUID, error)
}

// decide is EventStoreDB's commit check. For idempotent, revision is the one to answer.
func decide(stream string, h head, expected int64, ids []uuid.UUID, m memory) (v verdict, revision int64, err error) {
	switch {
	case h.tombstoned:
		return deleted, 0, nil
	case expected == StreamExists && h.softDeleted():
		return deleted, 0, nil
	case expected == StreamExists && h.last < 0 && !h.hasMeta:
		return wrong, 0, nil
	case expected == Any || expected == StreamExists:
		v, revision = decideAny(stream, ids, m)
		return v, revision, nil
	case expected > h.last:
		return wrong, 0, nil
	case expected == h.last:
		return write, 0, nil
	}
	return decideBehind(stream, h, expected, ids, m)
}

// decideAny: without an expected revision only the memory of recent ids can tell a retry.
func decideAny(stream string, ids []uuid.UUID, m memory) (verdict, int64) {
	var last int64
	for i, id := range ids {
		revision, known := m.recent(stream, id)
		switch {
		case !known && i == 0:
			return write, 0
		case !known:
			return wrong, 0
		}
		last = revision
	}
	if len(ids) == 0 {
		return write, 0
	}
	return idempotent, last
}

// decideBehind: the writer expects an earlier revision. A retry of what was stored right
// after it succeeds; anything else is wrong.
func decideBehind(stream string, h head, expected int64, ids []uuid.UUID, m memory) (verdict, int64, error) {
	if len(ids) == 0 {
		return wrong, 0, nil
	}
	stored, err := m.stored(stream, expected+1, len(ids))
	if err != nil {
		return 0, 0, err
	}
	for i, id := range ids {
		if i < len(stored) && stored[i] == id {
			continue
		}
		if i == 0 && expected == NoStream && h.softDeleted() {
			return write, 0, nil
		}
		return wrong, 0, nil
	}
	return idempotent, expected + int64(len(ids)), nil
}
