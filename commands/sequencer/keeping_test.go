package sequencer_test

import (
	"testing"

	"pgregory.net/rapid"

	"kiroku/commands/sequencer"
)

// TestWhatAViewAnsweredHolds drives a Pending that keeps entries beside a view, and asks the view at some time and again later:
// where Covers says that nothing was missed, the old answer, or what Get has, is what the view and Get together say now.
func TestWhatAViewAnsweredHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keep := rapid.Uint64Range(0, 6).Draw(t, "keep")
		p := sequencer.NewPending[int, int]().Keeping(keep)
		var stream []int // value of each revision; its key is value % 3
		view := map[int]int{}
		var durable, projected uint64
		asked := map[int]struct {
			position uint64
			value    int
			ok       bool
		}{}
		p.Durable(0)
		now := func(key int) (int, bool) {
			if v, ok := p.Get(key); ok {
				return v, true
			}
			v, ok := view[key]
			return v, ok
		}
		t.Repeat(map[string]func(*rapid.T){
			"decide": func(t *rapid.T) {
				v := rapid.IntRange(0, 1000).Draw(t, "value")
				p.Put(uint64(len(stream)), v%3, v)
				stream = append(stream, v)
			},
			"durable": func(t *rapid.T) {
				durable = rapid.Uint64Range(durable, uint64(len(stream))).Draw(t, "durable")
				p.Durable(durable)
			},
			"fail": func(t *rapid.T) {
				stream = stream[:durable]
				p.Rollback(durable)
			},
			"project": func(t *rapid.T) {
				for to := rapid.Uint64Range(projected, durable).Draw(t, "projected"); projected < to; projected++ {
					view[stream[projected]%3] = stream[projected]
				}
				p.Projected(projected)
			},
			"the view loses something": func(t *rapid.T) {
				delete(view, rapid.IntRange(0, 2).Draw(t, "lost"))
				p.Expire()
			},
			"another writer": func(t *rapid.T) {
				stream = stream[:durable]
				p.Rollback(0)
				for range rapid.IntRange(0, 4).Draw(t, "events of the other") {
					v := rapid.IntRange(0, 1000).Draw(t, "value")
					stream = append(stream, v)
				}
				for durable = uint64(len(stream)); projected < durable; projected++ { // taking over waits for the view
					view[stream[projected]%3] = stream[projected]
					p.Projected(projected + 1)
				}
				p.Durable(durable)
			},
			"ask": func(t *rapid.T) {
				key := rapid.IntRange(0, 2).Draw(t, "key")
				if _, pending := p.Get(key); pending {
					return // what is pending may be undone: it is never kept as an answer
				}
				a := asked[key]
				a.position = p.Position()
				a.value, a.ok = view[key]
				asked[key] = a
			},
			"": func(t *rapid.T) {
				for key, a := range asked {
					if !p.Covers(a.position) {
						continue
					}
					got, ok := p.Get(key)
					if !ok {
						got, ok = a.value, a.ok
					}
					if want, wanted := now(key); got != want || ok != wanted {
						t.Fatalf("key %d, asked at %d: %d %v, now %d %v", key, a.position, got, ok, want, wanted)
					}
				}
				if n := p.Len(); n > len(stream)-int(min(durable, projected)) {
					t.Fatalf("%d entries wait for the view", n)
				}
			},
		})
	})
}

// TestAnswersHoldWhileTheViewGoesOn shows that keeping is not for nothing: an answer outlives what the view takes in meanwhile.
func TestAnswersHoldWhileTheViewGoesOn(t *testing.T) {
	p := sequencer.NewPending[int, int]().Keeping(10)
	if p.Covers(0) {
		t.Fatal("an answer is trusted before the stream was taken over")
	}
	p.Durable(0)
	asked := p.Position()
	for r := range uint64(10) {
		p.Put(r, int(r), 1)
	}
	p.Durable(10)
	p.Projected(10)
	if !p.Covers(asked) || p.Len() != 0 {
		t.Fatalf("covers %v, %d entries wait", p.Covers(asked), p.Len())
	}
	p.Put(10, 10, 1)
	p.Durable(11)
	p.Projected(11)
	if _, here := p.Get(0); here || p.Covers(asked) {
		t.Fatalf("what is %d revisions old is still here: %v", 11, here)
	}
	p.Rollback(0)
	p.Durable(11)
	if p.Covers(10) || !p.Covers(11) {
		t.Fatal("an answer from before another writer is trusted, or one from after is not")
	}
}
