package projections

import (
	"sync"
	"time"
)

// member is a projection in a runner.
type member struct {
	projection Projection

	// live is held for reading during Apply and for writing while the rows are
	// replaced by rebuilt ones.
	live sync.RWMutex

	mu        sync.Mutex // guards the two below
	positions map[string]*position
	changed   chan struct{} // closed at the next change of any position
}

// position is how far a member has followed a stream.
type position struct {
	next uint64
	time time.Time // of the last event applied since the start

	calls sync.Mutex // held while hooks are called, so that they see rising numbers
	hooks []func(next uint64)
}

func newMember(p Projection, streams []string) *member {
	m := &member{projection: p, positions: map[string]*position{}, changed: make(chan struct{})}
	for _, s := range streams {
		if p.Wants(s) {
			m.positions[s] = &position{}
		}
	}
	return m
}

// at returns the position in a stream and a channel that closes when any position changes.
func (m *member) at(stream string) (next uint64, last time.Time, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.positions[stream]
	return p.next, p.time, m.changed
}

// move records a position and tells the hooks.
func (m *member) move(stream string, next uint64, last time.Time) {
	p := m.positions[stream]
	p.calls.Lock()
	defer p.calls.Unlock()
	m.mu.Lock()
	moved := p.next != next
	p.next = next
	if last.After(p.time) {
		p.time = last
	}
	m.mu.Unlock()
	m.notify()
	if !moved {
		return
	}
	for _, hook := range p.hooks {
		hook(next)
	}
}

// hook has f called with the position now and after every change.
func (m *member) hook(stream string, f func(next uint64)) {
	p := m.positions[stream]
	p.calls.Lock()
	defer p.calls.Unlock()
	p.hooks = append(p.hooks, f)
	m.mu.Lock()
	next := p.next
	m.mu.Unlock()
	f(next)
}

// notify wakes whoever waits for a change.
func (m *member) notify() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.changed)
	m.changed = make(chan struct{})
}

// change returns a channel that closes when any position or state changes.
func (m *member) change() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}
