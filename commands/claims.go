package commands

import (
	"fmt"
	"sync"

	"github.com/google/uuid"

	"kiroku/domain/event"
)

// claims are the calls under way, by (actor, id): two calls with one id and different contents could otherwise be decided
// on two streams at once, each of which has not heard of the other.
type claims struct {
	mu sync.Mutex
	by map[uuid.UUID]*claim
}

type claim struct {
	digest  [16]byte
	holders int
}

// take claims the id of a call until the returned function is called. ErrConflict where another content has it.
func (c *claims) take(x call) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.by[x.key]
	if h == nil {
		h = &claim{digest: x.digest}
		c.by[x.key] = h
	}
	if h.digest != x.digest {
		return nil, ErrConflict
	}
	h.holders++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if h.holders--; h.holders == 0 {
			delete(c.by, x.key)
		}
	}, nil
}

// claim claims a call for a stream: its id must not stand in any other, where it belongs to another content.
func (c *Core) claim(x call, at *line) (release func(), err error) {
	release, err = c.claims.take(x)
	if err != nil {
		return nil, err
	}
	id := event.IDOf(x.key, 0)
	for _, l := range c.lines() {
		if _, ok := l.refs.Get(id); ok && l != at {
			release()
			return nil, ErrConflict
		}
	}
	position, known := at.refs.Position(), false
	for _, seen := range c.views {
		ref, ok, err := seen(id)
		known = known || ok
		if err == nil && ok && ref.Stream != at.stream {
			err = ErrConflict
		}
		if err != nil {
			release()
			return nil, fmt.Errorf("look the command up: %w", err)
		}
	}
	if !known { // the view of its own stream is among those asked
		*x.unseen = unseen{by: at, position: position}
	}
	return release, nil
}
