package journal

import "github.com/google/uuid"

// recentCapacity keeps the memory of recent ids near 8 MiB, as in EventStoreDB.
const recentCapacity = 1 << 16

type recentID struct {
	stream   string
	revision int64
}

// recentIDs remembers where an id was first stored, first in first out, for this run of
// the process only. Owned by the writer goroutine.
type recentIDs struct {
	where map[uuid.UUID]recentID
	order []uuid.UUID // ring
	next  int
}

func newRecentIDs() *recentIDs {
	return &recentIDs{where: make(map[uuid.UUID]recentID, recentCapacity)}
}

func (r *recentIDs) put(id uuid.UUID, stream string, revision int64) {
	if _, known := r.where[id]; known {
		return
	}
	if len(r.order) < recentCapacity {
		r.order = append(r.order, id)
	} else {
		delete(r.where, r.order[r.next])
		r.order[r.next] = id
		r.next = (r.next + 1) % recentCapacity
	}
	r.where[id] = recentID{stream: stream, revision: revision}
}

func (r *recentIDs) find(stream string, id uuid.UUID) (int64, bool) {
	w, ok := r.where[id]
	return w.revision, ok && w.stream == stream
}
