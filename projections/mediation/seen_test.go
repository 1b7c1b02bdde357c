package mediation

import (
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// TestWhatWasSeenIsNeverNew: a number that came before is never called new, and nearly every other one is.
func TestWhatWasSeenIsNeverNew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSeen()
		came := map[uuid.UUID]bool{}
		wrong := 0
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			number := uuid.NewSHA1(uuid.Nil, []byte{rapid.Byte().Draw(t, "inquiry")})
			isNew := s.add(number)
			if isNew && came[number] {
				t.Fatalf("%s came before", number)
			}
			if !isNew && !came[number] {
				wrong++
			}
			came[number] = true
		}
		if wrong > 1 {
			t.Fatalf("%d of %d new numbers were not recognised", wrong, len(came))
		}
	})
	var none *seen
	if none.add(uuid.UUID{1}) {
		t.Fatal("a filter that saw nothing called a number new")
	}
}
