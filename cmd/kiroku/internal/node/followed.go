package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kiroku/domain/event"
	"kiroku/projections"
)

// Follow makes a runner for further projections, which lie in another store: this node's own never wait for them, but a
// day's end is certified when they have dropped it too, until Unfollow. The caller runs it, and ends it before the node.
func (n *Node) Follow(limits projections.Limits, metrics projections.Metrics, more ...projections.Projection) (*projections.Runner, error) {
	r, err := projections.New(projections.Config{
		Source: n.store, Opener: n.Keyring, Trust: n.trust, Streams: event.Streams(n.Shards), Metrics: metrics, Log: n.c.Log, Clock: n.c.Now,
		Limits: limits, Projections: more,
	})
	if err == nil {
		n.followedMu.Lock()
		defer n.followedMu.Unlock()
		n.followed = append(n.followed, r)
	}
	return r, err
}

// Unfollow tells that a runner of Follow has ended. What Config.Elsewhere names is waited for all the same.
func (n *Node) Unfollow(r *projections.Runner) {
	n.followedMu.Lock()
	defer n.followedMu.Unlock()
	n.followed = slices.DeleteFunc(n.followed, func(f *projections.Runner) bool { return f == r })
}

// runners returns this node's own and those of Follow, and fails unless everything is followed that has to drop what
// ends.
func (n *Node) runners() ([]*projections.Runner, error) {
	n.followedMu.Lock()
	defer n.followedMu.Unlock()
	there := map[string]bool{}
	for _, r := range n.followed {
		for _, p := range r.Projections {
			there[p.Name()] = true
		}
	}
	for _, name := range n.c.Elsewhere {
		if !there[name] {
			return nil, fmt.Errorf("nobody fills %s now, which may hold what has ended: %w", name, errNotFollowed)
		}
	}
	return append([]*projections.Runner{n.Runner}, n.followed...), nil
}

// errNotFollowed is why no certificate is written where statistics are configured and do not run.
var errNotFollowed = errors.New("start it, or, if it was given up and its data are destroyed, turn it off in the configuration")

// CaughtUpWith returns when every projection of a runner of this node has everything that is durable now.
func (n *Node) CaughtUpWith(ctx context.Context, runner *projections.Runner) error {
	for _, s := range runner.Statuses() {
		for _, st := range s.Streams {
			next, err := n.store.Count(ctx, st.Stream)
			if err != nil {
				return err
			}
			if err := runner.WaitFor(ctx, s.Name, st.Stream, next); err != nil {
				return err
			}
		}
	}
	return nil
}
