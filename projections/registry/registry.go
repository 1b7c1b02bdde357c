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
	*projections.Snapshots[Snapshot]
	outside ledger.KeySet
}

// Open opens the projection in a view. outside are public keys trusted from
// elsewhere, such as the token's: the registry's first events are signed with one of them.
func Open(view projections.View, outside ledger.KeySet) (*Registry, error) {
	snapshots, err := projections.OpenSnapshots(view, Name, func(rows *projections.Rows) (*Snapshot, error) { return load(rows, outside) })
	if err != nil {
		return nil, err
	}
	return &Registry{snapshots, outside}, nil
}

// Name implements projections.Projection.
func (*Registry) Name() string { return Name }

// Wants implements projections.Projection.
func (*Registry) Wants(stream string) bool { return stream == event.StreamRegistry }

// Shadow implements projections.Shadowing.
func (r *Registry) Shadow() (projections.Projection, error) {
	beside, err := r.Beside()
	if err != nil {
		return nil, err
	}
	return &Registry{beside, r.outside}, nil
}

// Apply implements projections.Projection. The Snapshot changes after the
// commit, and before Apply returns.
func (r *Registry) Apply(stream string, batch []projections.Opened, to projections.Checkpoint) error {
	return r.Change(func(rows *projections.Rows, was *Snapshot) (*Snapshot, error) {
		d := &draft{Snapshot: *was}
		err := projections.Apply(rows, stream, batch, to, read, func(b *projections.Batch, o *projections.Opened, c change) error {
			return c(d, b, o)
		})
		if err != nil {
			return nil, err
		}
		return d.finish(r.outside)
	})
}

// Command returns the reference to the command that caused an event.
func (r *Registry) Command(eventID uuid.UUID) (register.Reference, bool, error) {
	return r.Rows().Command(eventID)
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
	c, err := r.Checkpoint(event.StreamRegistry)
	return c.Next, err
}

// Truncated implements projections.Trust.
func (r *Registry) Truncated(stream string, first uint64) (ledger.Hash, bool) {
	return r.Snapshot().Truncated(stream, first)
}
