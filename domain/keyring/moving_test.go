package keyring_test

import (
	"errors"
	"testing"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/register"
)

// TestWhoIsNotCarriedIsMissed: before a generation comes into force, everybody whose bucket gets another key must have
// theirs in it, and the same as before.
func TestWhoIsNotCarriedIsMissed(t *testing.T) {
	w := newWorld(t, 1)
	gone, first, second := w.newcomer(), w.newcomer(), w.newcomer()
	w.token.put(keyring.RootLabel(2))
	o, err := w.NextVault(t.Context(), []register.SubjectID{gone.id}, nil)
	w.must(err)
	w.append(o)
	s, err := w.NewBucketKeys(t.Context(), o, 0, 1)
	w.must(err)
	w.append(s)
	keyOf := func(p *somebody) string { return p.drafts[0].KeyID }

	if moves, err := w.Carried(keyOf(gone)); moves || err != nil {
		t.Errorf("who is being deleted: moves %v, %v", moves, err)
	}
	if _, err := w.Carried(keyOf(first)); !errors.Is(err, keyring.ErrNotCarried) || w.CarriedSoFar() != 0 {
		t.Errorf("before anything is stored: %v, %d carried", err, w.CarriedSoFar())
	}
	var seen keyring.Seen
	m, moves, err := w.Move(keyOf(first), &seen)
	if err != nil || !moves || seen.Len() != 1 {
		t.Fatal(moves, err, seen.Len())
	}
	w.append(event.SubjectKeysStored{Generation: 2, Bucket: m.Bucket, Keys: [][]byte{m.Key}})
	if moves, err := w.Carried(keyOf(first)); !moves || err != nil || w.CarriedSoFar() != 1 {
		t.Errorf("who is stored: moves %v, %v, %d carried", moves, err, w.CarriedSoFar())
	}
	if _, err := w.Carried(keyOf(second)); !errors.Is(err, keyring.ErrNotCarried) {
		t.Errorf("who is not: %v", err)
	}
}

func BenchmarkSubjectOf(b *testing.B) {
	w := newWorld(b, 16)
	p := w.newcomer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s, err := w.SubjectOf(p.drafts[0].KeyID)
			if err != nil {
				b.Fatal(err)
			}
			s.Destroy()
		}
	})
}
