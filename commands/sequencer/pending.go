package sequencer

import (
	"math"
	"sync"
)

// Pending holds what has been decided and is not yet in the projected view: decisions look here first,
// then into the view. Each entry knows the revision that made it, and leaves when the view has it, or a while later: then
// what the view answered to a call that was being prepared need not be asked again when the call is decided.
// It is safe for concurrent use; one Pending serves one stream.
type Pending[K comparable, V any] struct {
	mu        sync.RWMutex
	byKey     map[K][]entry[V] // newest last
	order     []placed[K]      // by revision, oldest first
	durable   uint64           // entries below it are durable
	projected uint64           // entries below it are in the view
	past      int              // how many of order are below both
	keep      uint64           // how many revisions such entries stay
	expired   uint64           // what the view answered below it does not hold, see Expire
	since     uint64           // nothing that this process entered at it or above has left, except by Rollback; unknown: nothing
}

const unknown = math.MaxUint64

type entry[V any] struct {
	revision uint64
	value    V
}

type placed[K comparable] struct {
	revision uint64
	key      K
}

// NewPending makes an empty one.
func NewPending[K comparable, V any]() *Pending[K, V] {
	return &Pending[K, V]{byKey: map[K][]entry[V]{}, since: unknown}
}

// Keeping has entries stay for so many revisions after the view has them. It is for a new one.
func (p *Pending[K, V]) Keeping(revisions uint64) *Pending[K, V] {
	p.keep = revisions
	return p
}

// Position returns a revision below which the view has everything. Who asks the view after it knows from Covers
// and Get whether the answer has changed since.
func (p *Pending[K, V]) Position() uint64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.projected
}

// Covers reports whether every entry made at a revision or above is still here: what the view answered at that
// position, and Get does not contradict, holds. It says no when another writer may have been at work since.
func (p *Pending[K, V]) Covers(position uint64) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.since != unknown && position >= max(p.since, p.expired)
}

// Put enters what the event at a revision makes true. Revisions must not fall.
func (p *Pending[K, V]) Put(revision uint64, key K, value V) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byKey[key] = append(p.byKey[key], entry[V]{revision, value})
	p.order = append(p.order, placed[K]{revision, key})
}

// Get returns the newest entry, durable or not: for decisions on the stream itself, whose answers
// wait for what they rest on.
func (p *Pending[K, V]) Get(key K) (V, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	es := p.byKey[key]
	if len(es) == 0 {
		var zero V
		return zero, false
	}
	return es[len(es)-1].value, true
}

// GetDurable returns the newest durable entry: for readers outside the stream.
func (p *Pending[K, V]) GetDurable(key K) (V, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	es := p.byKey[key]
	for i := len(es) - 1; i >= 0; i-- {
		if es[i].revision < p.durable {
			return es[i].value, true
		}
	}
	var zero V
	return zero, false
}

// Durable implements Index: everything below revision next is durable.
func (p *Pending[K, V]) Durable(next uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since == unknown {
		p.since = next // what is below was not decided here
	}
	p.durable = next
	p.drop() // the view may have been faster than the answer of the store
}

// Rollback implements Index: nothing at revision from and above will be written.
func (p *Pending[K, V]) Rollback(from uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.order) > 0 && p.order[len(p.order)-1].revision >= from {
		last := p.order[len(p.order)-1]
		p.order = p.order[:len(p.order)-1]
		if es := p.byKey[last.key]; len(es) > 1 {
			es[len(es)-1] = entry[V]{} // keep nothing alive
			p.byKey[last.key] = es[:len(es)-1]
		} else {
			delete(p.byKey, last.key)
		}
	}
	if from < p.durable || from == 0 {
		p.since = unknown // the stream is taken over anew
	}
	p.durable = min(p.durable, from)
	p.past = min(p.past, len(p.order))
}

// Projected tells that the view has everything below revision next: such entries leave, as soon as they are durable.
func (p *Pending[K, V]) Projected(next uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.projected = next
	p.drop()
}

func (p *Pending[K, V]) drop() {
	gone := min(p.projected, p.durable)
	for p.past < len(p.order) && p.order[p.past].revision < gone {
		p.past++
	}
	until := gone - min(gone, p.keep)
	n := 0
	for n < len(p.order) && p.order[n].revision < until {
		first := p.order[n]
		p.order[n] = placed[K]{}
		if es := p.byKey[first.key]; len(es) > 1 {
			es[0] = entry[V]{} // keep nothing alive
			p.byKey[first.key] = es[1:]
		} else {
			delete(p.byKey, first.key)
		}
		n++
	}
	p.order = p.order[n:]
	p.past -= min(n, p.past)
	if p.since != unknown {
		p.since = max(p.since, until)
	}
}

// Expire tells that the view has changed otherwise than by what this stream decided: entries that it has leave at once,
// and what it answered before does not hold any more.
func (p *Pending[K, V]) Expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := p.keep
	p.keep = 0
	p.drop()
	p.keep = keep
	p.expired = p.projected + 1
}

// Len returns the number of entries that the view does not have yet, or that are not durable.
func (p *Pending[K, V]) Len() int {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.order) - p.past
}

// Indexes joins several indexes of one stream.
type Indexes []Index

// Durable implements Index.
func (x Indexes) Durable(next uint64) {
	for _, i := range x {
		i.Durable(next)
	}
}

// Rollback implements Index.
func (x Indexes) Rollback(from uint64) {
	for _, i := range x {
		i.Rollback(from)
	}
}
