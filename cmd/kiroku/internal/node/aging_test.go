package node_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/storetest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/secret/secrettest"
)

// TestACutOffCoreForgetsADayToo: a core that stands by and loses the store does not learn that a day has ended. It still
// opens the day for as long as keys live in memory; then the key is gone from its memory, without anybody asking for it.
func TestACutOffCoreForgetsADayToo(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.today()
	k.live(1)
	one, opening := sealedAndOpening(k)

	proxy := storetest.NewProxy(t, k.Server.Addr())
	store, err := eventstore.Open(eventstore.Config{ConnectionString: proxy.Through(t, k.Files.ConnectionString(k.Server))})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // of a core that is cut off
	var passed atomic.Int64
	begun := time.Now()
	const life = time.Second
	second := k.Open("b", append(k.change, func(c *node.Config) {
		c.Store, c.DayKeyLifetime = store, life
		c.Elapsed = func() time.Time { return begun.Add(time.Duration(passed.Load())) }
	})...)
	if err := second.CaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := headerOf(t, one)
	if _, err := second.Keyring.Open(t.Context(), h, one.Data); err != nil {
		t.Fatal(err)
	}
	key := dataKeyOf(k, opening)
	proxy.Refuse(true)
	proxy.Cut()
	defer proxy.Refuse(false)

	k.toDue(brief, first)
	if r := k.pass(); len(r.Certified) != 1 {
		t.Fatalf("certified %v", r.Certified)
	}
	if _, err := second.Keyring.Open(t.Context(), h, one.Data); err != nil {
		t.Fatalf("the control: a core that heard nothing opens with what it has: %v", err)
	}
	inMemory := func() bool {
		n, err := secrettest.InArena(key)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	if !inMemory() {
		t.Fatal("the scan does not find the key in use")
	}
	passed.Store(int64(life + time.Millisecond))
	asking, giveUp := context.WithTimeout(t.Context(), time.Second)
	defer giveUp()
	if _, err := second.Keyring.Open(asking, h, one.Data); err == nil {
		t.Error("a core that heard nothing for so long still opens the day")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for inMemory() {
		select {
		case <-ctx.Done():
			t.Fatal("the key stays in the memory of the core that was cut off")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func headerOf(t *testing.T, e ledger.Event) ledger.Header {
	t.Helper()
	h, _, _, err := ledger.DecodeMetadata(e.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// sealedAndOpening returns a sealed event of the record streams, and the day-opened event that its key comes of.
func sealedAndOpening(k *keeping) (one, opening ledger.Event) {
	k.t.Helper()
	for _, stream := range event.RecordStreams(k.core.Shards) {
		for _, e := range eventsOf(k.core, stream) {
			if e.Type == event.TypeDayOpened {
				opening = e
			} else if h := headerOf(k.t, e); h.Sealed() {
				return e, opening
			}
		}
	}
	k.t.Fatal("nothing is sealed")
	return one, opening
}

// dataKeyOf asks the token for the data key that a day-opened event stands for, and keeps it outside secret memory.
func dataKeyOf(k *keeping, opening ledger.Event) []byte {
	k.t.Helper()
	o, err := ledger.DecodeDayOpened(opening.Data)
	if err != nil {
		k.t.Fatal(err)
	}
	input, err := ledger.DataKeyInput(opening.Stream, o.Day, o.Salt)
	if err != nil {
		k.t.Fatal(err)
	}
	answer, err := k.core.HSM.HMAC(k.t.Context(), "record/"+o.Day, input)
	if err != nil {
		k.t.Fatal(err)
	}
	defer answer.Destroy()
	return append([]byte{}, answer.Expose()...)
}
