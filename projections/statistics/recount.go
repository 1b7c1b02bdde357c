package statistics

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/projections"
)

var (
	errNoRegister = errors.New("nothing reads the register of issuances again")
	errUnderWay   = errors.New("a chunk of issuances is under way; it is finished first")
)

// tries is how often a day is counted again where another process brings more of it meanwhile.
const tries = 5

// recount counts the issuances of the days of rotations again, each day once. The caller holds the position of the
// registry and nothing else.
func (s *Statistics) recount(rotations []Rotation) error {
	if len(rotations) == 0 {
		return nil
	}
	if s.Register == nil {
		return errNoRegister
	}
	all := Rotation{}
	for _, r := range rotations {
		if err := s.store.Rotated(s.ctx, r); err != nil {
			return fmt.Errorf("note generation %d of the vault: %w", r.Generation, err)
		}
		all.Generation = max(all.Generation, r.Generation)
		all.Days = append(all.Days, r.Days...)
	}
	slices.SortFunc(all.Days, calendar.Day.Compare)
	s.issuances.mu.Lock() // nothing is brought by this process meanwhile
	defer s.issuances.mu.Unlock()
	for _, day := range slices.Compact(all.Days) {
		if err := s.recountDay(all.Generation, day); err != nil {
			return fmt.Errorf("count the issuances of %s again: %w", day, err)
		}
	}
	return nil
}

func (s *Statistics) recountDay(generation int, day calendar.Day) error {
	for range tries {
		at, err := s.store.Position(s.ctx, event.StreamIssuance)
		if err != nil {
			return err
		}
		counts := map[Issuance]uint64{}
		closed, err := s.Register.Recorded(s.ctx, generation, day, at.Checkpoint.Next, func(o *projections.Opened) error {
			row, err := readIssuance(o)
			if err == nil && row != nil && row.Day == day {
				counts[*row]++
			}
			return err
		})
		if err != nil {
			return err
		}
		if !closed && at.Agreed > at.Checkpoint.Next {
			return errUnderWay
		}
		if done, err := s.store.Recount(s.ctx, at, day, inOrder(counts), closed); done || err != nil {
			return err
		}
	}
	return errUnderWay
}

// inOrder are counts, the same each time.
func inOrder(counts map[Issuance]uint64) []Recounted {
	all := make([]Recounted, 0, len(counts))
	for i, n := range counts {
		all = append(all, Recounted{i, n})
	}
	slices.SortFunc(all, func(a, b Recounted) int {
		return cmp.Or(cmp.Compare(a.Agency, b.Agency), a.Hour.Compare(b.Hour), cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(number(a.Already), number(b.Already)))
	})
	return all
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
