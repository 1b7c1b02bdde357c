package projections_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"kiroku/domain/event"
	"kiroku/projections"
	"kiroku/projections/projectiontest"
)

// keeper breaks the contract: it keeps the payloads that it was given.
type keeper struct {
	*tally
	payloads [][]byte
	symbols  []event.Protected
	seen     [][]byte // copies
}

func (k *keeper) Apply(s string, batch []projections.Opened, to projections.Checkpoint) error {
	for i := range batch {
		if o := &batch[i]; o.Event.Type == event.TypeRecordsDisclosed {
			p, err := projections.Decoded[event.RecordsDisclosed](o)
			if err != nil {
				return err
			}
			k.payloads, k.symbols = append(k.payloads, o.Payload), append(k.symbols, p.Symbol)
			k.seen = append(k.seen, bytes.Clone(o.Payload))
		}
	}
	return k.tally.Apply(s, batch, to)
}

// TestPlaintextIsWiped: after Apply nothing of a payload is left where it was, nor of the symbols in it.
func TestPlaintextIsWiped(t *testing.T) {
	l := newLedger(t, map[string]int{stream: 300})
	k := &keeper{tally: newTally(t, &projectiontest.Memory{})}
	r := run(t, l, nil, k)
	waitFor(t, r, "tally", stream, 301)
	r.stop()
	if len(k.payloads) != 300 || !bytes.Contains(k.seen[0], []byte("0123456789abcdef")) {
		t.Fatalf("%d payloads were seen", len(k.payloads))
	}
	for i := range k.payloads {
		if len(bytes.Trim(k.payloads[i], "\x00")) > 0 || len(bytes.Trim(k.symbols[i], "\x00")) > 0 {
			t.Fatalf("payload %d was not wiped", i)
		}
	}
}

// TestErrorsHoldNoSecret: whatever is wrong with a payload, the error that an operator reads holds no secret.
func TestErrorsHoldNoSecret(t *testing.T) {
	for seed := range uint64(30) {
		h := &projectiontest.History{Choose: rand.New(rand.NewPCG(seed, 3)).IntN}
		l := newLedger(t, nil)
		for range 10 {
			h.Next()
		}
		s, f := h.Next()
		payload, err := event.Encode(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		f.Payload = append(payload, 0) // one octet too many
		appendTo(t, l, s, f)
		p := everything{newTally(t, &projectiontest.Memory{})}
		r := run(t, l, func(c *projections.Config) { c.Streams = projectiontest.Streams }, p)
		err = r.WaitFor(context.Background(), "tally", s, 2)
		if err == nil {
			t.Fatalf("a malformed %s was applied", f.Type)
		}
		for _, form := range projectiontest.Forms(h.Secrets...) {
			if bytes.Contains([]byte(err.Error()), form) {
				t.Errorf("the error about a %s holds a secret", f.Type)
			}
		}
		r.stop()
	}
}

// everything wants every stream.
type everything struct{ *tally }

func (everything) Wants(string) bool { return true }
