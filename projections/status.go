package projections

import (
	"fmt"
	"time"
)

// State is what a stream's follower does.
type State int

// States of a stream.
const (
	StateStopped   State = iota // not running
	StateFollowing              // applying, or waiting for events
	StateRetrying               // failed, will be tried again
	StateHalted                 // must not be followed further, see HaltError
)

var stateNames = map[State]string{
	StateStopped: "stopped", StateFollowing: "following", StateRetrying: "retrying", StateHalted: "halted",
}

func (s State) String() string {
	if n, ok := stateNames[s]; ok {
		return n
	}
	return fmt.Sprintf("state %d", int(s))
}

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Status is how a projection stands.
type Status struct {
	Name    string
	Streams []StreamStatus // in the order of the runner's configuration
}

// StreamStatus is how a projection stands in one stream.
type StreamStatus struct {
	Stream   string
	State    State
	Next     uint64        // revision expected next
	Behind   uint64        // events known to exist and not applied
	Lag      time.Duration // 0 when caught up, else the age of the last event applied; -1 if that is not known
	CaughtUp bool          // the end of the stream was reached since it was last connected
	Err      error         // why it is retrying or halted
	Since    time.Time     // of State
}

// Status returns how the named projection stands.
func (r *Runner) Status(name string) (Status, error) {
	m := r.members[name]
	if m == nil {
		return Status{}, fmt.Errorf("status of %s: %w", name, ErrUnknownProjection)
	}
	s := Status{Name: name}
	now := r.Clock()
	for _, stream := range r.Streams {
		if m.positions[stream] != nil {
			s.Streams = append(s.Streams, r.followers[stream].status(m, now))
		}
	}
	return s, nil
}

// Statuses returns how every projection stands, in the order of the configuration.
func (r *Runner) Statuses() []Status {
	var all []Status
	for _, p := range r.Projections {
		if s, err := r.Status(p.Name()); err == nil {
			all = append(all, s)
		}
	}
	return all
}

func (f *follower) status(m *member, now time.Time) StreamStatus {
	next, last, _ := m.at(f.stream)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := StreamStatus{Stream: f.stream, State: f.state, Next: next, Err: f.err, Since: f.since, CaughtUp: f.caughtUp && f.state == StateFollowing}
	if f.seen > next {
		s.Behind = f.seen - next
	}
	switch {
	case s.CaughtUp && s.Behind == 0:
	case last.IsZero():
		s.Lag = -1
	default:
		s.Lag = max(0, now.Sub(last))
	}
	return s
}

// halted returns the cause of a halt, nil if there is none.
func (f *follower) halted() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == StateHalted {
		return f.err
	}
	return nil
}

func (f *follower) following() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == StateFollowing
}

// atEnd reports whether the follower has applied all that the stream held when
// it last came to its end.
func (f *follower) atEnd() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.caughtUp
}
