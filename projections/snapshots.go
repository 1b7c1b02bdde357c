package projections

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Snapshots is what a projection embeds that is read as a whole: rows, and in memory the S that they amount to. It
// promises that one S is one moment, and that it stands at least where the rows do when Apply has returned. It is safe
// for concurrent use.
type Snapshots[S any] struct {
	rows    *Rows
	load    func(*Rows) (*S, error)
	current atomic.Pointer[S]
	apply   sync.Mutex // from reading current to replacing it
}

// OpenSnapshots opens the rows of the named projection in a view. load makes an S of them.
func OpenSnapshots[S any](view View, name string, load func(*Rows) (*S, error)) (*Snapshots[S], error) {
	rows, err := OpenRows(view, name)
	if err != nil {
		return nil, err
	}
	return loaded(rows, load)
}

func loaded[S any](rows *Rows, load func(*Rows) (*S, error)) (*Snapshots[S], error) {
	s := &Snapshots[S]{rows: rows, load: load}
	return s, s.reload()
}

func (s *Snapshots[S]) reload() error {
	anew, err := s.load(s.rows)
	if err != nil {
		return fmt.Errorf("read the rows of %s: %w", s.rows.name, err)
	}
	s.current.Store(anew)
	return nil
}

// Snapshot returns the S as of the last commit. It never changes.
func (s *Snapshots[S]) Snapshot() *S { return s.current.Load() }

// Rows gives every row, to compare two projections.
func (s *Snapshots[S]) Rows() *Rows { return s.rows }

// Checkpoint implements Projection.
func (s *Snapshots[S]) Checkpoint(stream string) (Checkpoint, error) {
	return s.rows.Checkpoint(stream)
}

// Reset implements Projection.
func (s *Snapshots[S]) Reset() error {
	s.apply.Lock()
	defer s.apply.Unlock()
	if err := s.rows.Reset(); err != nil {
		return err
	}
	return s.reload()
}

// Change replaces the S by what commit makes of it, after commit has committed its rows. One change runs at a time.
func (s *Snapshots[S]) Change(commit func(rows *Rows, was *S) (*S, error)) error {
	s.apply.Lock()
	defer s.apply.Unlock()
	anew, err := commit(s.rows, s.current.Load())
	if err != nil {
		return err
	}
	s.current.Store(anew)
	return nil
}

// Beside returns empty snapshots for a Shadow of the projection.
func (s *Snapshots[S]) Beside() (*Snapshots[S], error) {
	rows, err := s.rows.Shadow()
	if err != nil {
		return nil, err
	}
	return loaded(rows, s.load)
}

// Promote implements Shadowing.
func (s *Snapshots[S]) Promote(shadow Projection) error {
	other, ok := shadow.(interface{ own() *Snapshots[S] })
	if !ok {
		return fmt.Errorf("promote a %T to %s: %w", shadow, s.rows.name, ErrUnknownProjection)
	}
	s.apply.Lock()
	defer s.apply.Unlock()
	if err := s.rows.Promote(other.own().rows); err != nil {
		return err
	}
	s.current.Store(other.own().current.Load())
	return nil
}

// own tells Promote what a projection embeds.
func (s *Snapshots[S]) own() *Snapshots[S] { return s }
