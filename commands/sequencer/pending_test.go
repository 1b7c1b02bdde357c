package sequencer_test

import (
	"testing"

	"pgregory.net/rapid"

	"kiroku/commands/sequencer"
)

// naive is Pending told plainly: a list that is searched from end to end.
type naive struct {
	entries            []naiveEntry
	durable, projected uint64
}

type naiveEntry struct {
	revision   uint64
	key, value int
}

func (n *naive) keep(keep func(naiveEntry) bool) {
	var out []naiveEntry
	for _, e := range n.entries {
		if keep(e) {
			out = append(out, e)
		}
	}
	n.entries = out
}

func (n *naive) leave() {
	n.keep(func(e naiveEntry) bool { return e.revision >= n.projected || e.revision >= n.durable })
}

func (n *naive) newest(key int, counts func(naiveEntry) bool) (value int, ok bool) {
	for _, e := range n.entries {
		if e.key == key && counts(e) {
			value, ok = e.value, true
		}
	}
	return value, ok
}

// TestPendingIsWhatItSays drives Pending as a sequencer and a view do, beside the naive one.
func TestPendingIsWhatItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, n := sequencer.NewPending[int, int](), &naive{}
		next := uint64(0) // revision of the next decision
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				for range rapid.IntRange(1, 3).Draw(t, "entries") {
					key, value := rapid.IntRange(0, 3).Draw(t, "key"), rapid.Int().Draw(t, "value")
					p.Put(next, key, value)
					n.entries = append(n.entries, naiveEntry{next, key, value})
				}
				next += uint64(rapid.IntRange(1, 2).Draw(t, "events"))
			},
			"durable": func(t *rapid.T) {
				n.durable = rapid.Uint64Range(n.durable, next).Draw(t, "durable")
				p.Durable(n.durable)
				n.leave()
			},
			"rollback": func(t *rapid.T) {
				from := rapid.Uint64Range(n.durable, next).Draw(t, "from")
				if rapid.IntRange(0, 9).Draw(t, "takeover") == 0 {
					from = 0
				} else {
					next = from
				}
				p.Rollback(from)
				n.keep(func(e naiveEntry) bool { return e.revision < from })
				n.durable = min(n.durable, from)
			},
			"projected": func(t *rapid.T) {
				n.projected = rapid.Uint64Range(0, next+1).Draw(t, "projected")
				p.Projected(n.projected)
				n.leave()
			},
			"": func(t *rapid.T) {
				if p.Len() != len(n.entries) {
					t.Fatalf("%d entries, want %d", p.Len(), len(n.entries))
				}
				for key := range 4 {
					got, ok := p.Get(key)
					if v, want := n.newest(key, func(naiveEntry) bool { return true }); got != v || ok != want {
						t.Fatalf("key %d: got %d %v, want %d %v", key, got, ok, v, want)
					}
					got, ok = p.GetDurable(key)
					if v, want := n.newest(key, func(e naiveEntry) bool { return e.revision < n.durable }); got != v || ok != want {
						t.Fatalf("durable key %d: got %d %v, want %d %v", key, got, ok, v, want)
					}
				}
			},
		})
	})
}
