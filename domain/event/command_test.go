package event_test

import (
	"crypto/sha1"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"kiroku/domain/event"
)

// TestIDsStayTheSame: an id that changed would make every repeated command a new one.
func TestIDsStayTheSame(t *testing.T) {
	id := uuid.MustParse("01920000-0000-7000-8000-000000000001")
	key := event.CommandKey("official@example.invalid", id)
	for name, c := range map[string]struct{ got, want uuid.UUID }{
		"command":           {key, uuid.MustParse("5edb1eeb-9190-5649-a050-c9b11bcb8518")},
		"first event":       {event.IDOf(key, 0), uuid.MustParse("231ca6db-151f-5188-9c65-060b245a8f49")},
		"event 258":         {event.IDOf(key, 258), uuid.MustParse("c63e38ef-665d-5df0-9bd9-8213847a3e78")},
		"first item":        {event.ItemID(id, 0), uuid.MustParse("eac88643-2c24-57be-8a81-4fbfade43961")},
		"item 2^40 + 2^8+1": {event.ItemID(id, 1<<40|1<<8|1), uuid.MustParse("5f100246-7be3-53bc-977b-0b709dc1734d")},
	} {
		if c.got != c.want {
			t.Errorf("%s is %s, was %s", name, c.got, c.want)
		}
	}
}

// TestIDsAreUUIDv5 by RFC 9562 §5.5, worked out by hand.
func TestIDsAreUUIDv5(t *testing.T) {
	v5 := func(space uuid.UUID, name []byte) (out uuid.UUID) {
		sum := sha1.Sum(append(space[:], name...))
		copy(out[:], sum[:])
		out[6], out[8] = out[6]&0x0f|0x50, out[8]&0x3f|0x80
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		id := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		identity := rapid.String().Draw(t, "identity")
		key := event.CommandKey(identity, id)
		if want := v5(v5(uuid.MustParse("8c0a7f0e-3a52-5d3c-9f0e-6b1f5f2b6d11"), id[:]), []byte(identity)); key != want {
			t.Fatalf("command key %s, want %s", key, want)
		}
		n := rapid.Uint16().Draw(t, "event")
		if want := v5(key, []byte{'e', 'v', byte(n >> 8), byte(n)}); event.IDOf(key, int(n)) != want {
			t.Fatalf("event %d is %s, want %s", n, event.IDOf(key, int(n)), want)
		}
		i := rapid.Uint64().Draw(t, "item")
		name := append([]byte("item"), byte(i>>56), byte(i>>48), byte(i>>40), byte(i>>32), byte(i>>24), byte(i>>16), byte(i>>8), byte(i))
		if want := v5(id, name); event.ItemID(id, i) != want {
			t.Fatalf("item %d is %s, want %s", i, event.ItemID(id, i), want)
		}
	})
}

// TestIDsNeverMeet: another actor, another command, another event, another item is another id.
func TestIDsNeverMeet(t *testing.T) {
	seen := map[uuid.UUID]string{}
	enter := func(id uuid.UUID, what string) {
		if other, met := seen[id]; met {
			t.Errorf("%s has the id of %s", what, other)
		}
		seen[id] = what
	}
	for _, identity := range []string{"a", "b", "ab", ""} {
		for _, id := range []uuid.UUID{{1}, {2}} {
			key := event.CommandKey(identity, id)
			enter(key, "command of "+identity)
			for i := range 600 {
				enter(event.IDOf(key, i), "event of "+identity)
			}
		}
	}
	for i := range uint64(600) {
		enter(event.ItemID(uuid.UUID{1}, i), "item")
	}
}
