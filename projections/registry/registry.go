// Package registry is the read model of the registry stream: the agencies
// (情報照会者等) and their classes, the scope rules in force, the violations of
// the duty to assess (特定個人情報保護評価), the signing keys' public halves, the
// streams' authorised beginnings and the last anchor.
//
// It promises to whoever decides that one Snapshot is one moment: it never
// changes, and a rule set is in it as a whole or not at all. Everything in it is public
// or names agencies, never a person.
package registry

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"kiroku/domain/agency"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
	"kiroku/domain/scope"
	"kiroku/projections"
)

// Name of the projection.
const Name = "registry"

// Registry is the projection. It is safe for concurrent use, and is a
// projections.Learner.
type Registry struct {
	rows    *projections.Rows
	current atomic.Pointer[Snapshot]
	apply   sync.Mutex // from reading current to replacing it
	outside ledger.KeySet
}

// Open opens the projection in a view. outside are public keys trusted from
// elsewhere, such as the token's: the registry's first events are signed with one of them.
func Open(view projections.View, outside ledger.KeySet) (*Registry, error) {
	rows, err := projections.OpenRows(view, Name)
	if err != nil {
		return nil, err
	}
	r := &Registry{rows: rows, outside: outside}
	return r, r.load()
}

func (r *Registry) load() error {
	s, err := load(r.rows, r.outside)
	if err != nil {
		return fmt.Errorf("read the registry's rows: %w", err)
	}
	r.current.Store(s)
	return nil
}

// Name implements projections.Projection.
func (*Registry) Name() string { return Name }

// Wants implements projections.Projection.
func (*Registry) Wants(stream string) bool { return stream == event.StreamRegistry }

// Checkpoint implements projections.Projection.
func (r *Registry) Checkpoint(stream string) (projections.Checkpoint, error) {
	return r.rows.Checkpoint(stream)
}

// Reset implements projections.Projection.
func (r *Registry) Reset() error {
	r.apply.Lock()
	defer r.apply.Unlock()
	if err := r.rows.Reset(); err != nil {
		return err
	}
	return r.load()
}

// Shadow implements projections.Shadowing.
func (r *Registry) Shadow() (projections.Projection, error) {
	rows, err := r.rows.Shadow()
	if err != nil {
		return nil, err
	}
	s := &Registry{rows: rows, outside: r.outside}
	return s, s.load()
}

// Promote implements projections.Shadowing.
func (r *Registry) Promote(shadow projections.Projection) error {
	s, ok := shadow.(*Registry)
	if !ok {
		return fmt.Errorf("promote a %T to %s: %w", shadow, Name, projections.ErrUnknownProjection)
	}
	r.apply.Lock()
	defer r.apply.Unlock()
	if err := r.rows.Promote(s.rows); err != nil {
		return err
	}
	r.current.Store(s.current.Load())
	return nil
}

// Rows gives every row, to compare two projections.
func (r *Registry) Rows() *projections.Rows { return r.rows }

// Apply implements projections.Projection. The Snapshot changes after the
// commit, and before Apply returns.
func (r *Registry) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	r.apply.Lock()
	defer r.apply.Unlock()
	d := &draft{Snapshot: *r.current.Load()}
	err := projections.Apply(r.rows, stream, batch, to, read, func(b *projections.Batch, o *projections.Opened, c change) error {
		return c(d, b, o)
	})
	if err != nil {
		return err
	}
	s, err := d.finish(r.outside)
	if err != nil {
		return err
	}
	r.current.Store(s)
	return nil
}

// Snapshot returns the registry as of the last commit.
func (r *Registry) Snapshot() *Snapshot { return r.current.Load() }

// Command returns the reference to the command that caused an event.
func (r *Registry) Command(eventID uuid.UUID) (register.Reference, bool, error) {
	return r.rows.Command(eventID)
}

// Agency finds a registered agency, suspended or not.
func (r *Registry) Agency(code agency.Code) (agency.Agency, bool) { return r.Snapshot().Agency(code) }

// Rules returns the rule set in force, which is empty before the first.
func (r *Registry) Rules() scope.Set { return r.Snapshot().Rules() }

// Violations returns every recorded violation.
func (r *Registry) Violations() scope.Violations { return r.Snapshot().Violations() }

// LastAnchor returns the newest anchor, and false if there is none yet.
func (r *Registry) LastAnchor() (register.Anchored, bool) { return r.Snapshot().LastAnchor() }

// SigningKeys implements projections.Trust.
func (r *Registry) SigningKeys() ledger.KeySet { return r.Snapshot().SigningKeys() }

// Learned implements projections.Learner.
func (r *Registry) Learned() (next uint64, err error) {
	c, err := r.rows.Checkpoint(event.StreamRegistry)
	return c.Next, err
}

// Truncated implements projections.Trust.
func (r *Registry) Truncated(stream string, first uint64) (ledger.Hash, bool) {
	return r.Snapshot().Truncated(stream, first)
}
