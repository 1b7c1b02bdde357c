package projections

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestChangesRememberTheLastWord compares the changes of many batches, one after the other in the same room, with a map.
func TestChangesRememberTheLastWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Changes
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			c.reset()
			want := map[string]string{} // "" for deleted
			kinds := rapid.IntRange(1, 400).Draw(t, "kinds of key")
			for i := range rapid.IntRange(0, 600).Draw(t, "writes") {
				key := fmt.Sprint("key ", rapid.IntRange(0, kinds).Draw(t, "key"))
				if want[key] = fmt.Sprint("value ", i); i%5 == 0 {
					want[key] = ""
					c.Delete([]byte(key))
					continue
				}
				c.Set([]byte(key), []byte(want[key]))
			}
			for n := range kinds + 1 {
				key := fmt.Sprint("key ", n)
				value, found, known := c.written([]byte(key))
				if expected, spoken := want[key]; known != spoken || found != (expected != "") || string(value) != expected {
					t.Fatalf("%s: %q, %v, %v; want %q, %v", key, value, found, known, expected, spoken)
				}
			}
			if len(c.Writes()) != len(want) {
				t.Fatalf("%d writes to %d keys", len(c.Writes()), len(want))
			}
		}
	})
}

// TestRoomIsNobodyElses: slices of one batch do not overlap, and growing one does not reach into the next.
func TestRoomIsNobodyElses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a arena
		for range 3 {
			a.reset()
			var all [][]byte
			for i, n := range rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 2*arenaChunk)), 1, 40).Draw(t, "sizes") {
				b := a.room(n)
				if len(b) != 0 || cap(b) != n {
					t.Fatalf("room of %d: length %d, capacity %d", n, len(b), cap(b))
				}
				all = append(all, append(b, bytes.Repeat([]byte{byte(i)}, n)...))
				_ = append(all[i], 0xff)
			}
			for i, b := range all {
				if !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, len(b))) {
					t.Fatalf("slice %d was overwritten", i)
				}
			}
		}
	})
}
