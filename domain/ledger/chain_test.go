package ledger_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"kiroku/domain/ledger"
)

// follow chains a stream's events and compares the end with a head.
func follow(events []ledger.Event, head ledger.Head) error {
	c := ledger.Chain{Stream: head.Stream}
	for _, e := range events {
		l, err := ledger.Examine(e)
		if err == nil {
			err = c.Follow(&l)
		}
		if err != nil {
			return err
		}
	}
	return c.Ends(head)
}

func TestChain(t *testing.T) {
	w := smallLedger(t)
	head := w.heads["record-0"]
	var events []ledger.Event
	for _, e := range w.events {
		if e.Stream == head.Stream {
			events = append(events, e)
		}
	}
	other := newWriter(t)
	other.records("record-0", 3)
	for name, c := range map[string]struct {
		kind   ledger.Kind
		change func([]ledger.Event) []ledger.Event
	}{
		"as written":      {change: func(all []ledger.Event) []ledger.Event { return all }},
		"none":            {ledger.KindTailMissing, func([]ledger.Event) []ledger.Event { return nil }},
		"the last lacks":  {ledger.KindTailMissing, func(all []ledger.Event) []ledger.Event { return all[:len(all)-1] }},
		"the first lacks": {ledger.KindMissing, func(all []ledger.Event) []ledger.Event { return all[1:] }},
		"one lacks":       {ledger.KindMissing, func(all []ledger.Event) []ledger.Event { return slices.Delete(all, 4, 5) }},
		"one twice":       {ledger.KindOutOfOrder, func(all []ledger.Event) []ledger.Event { return slices.Insert(all, 4, all[3]) }},
		"another ledger's, signed": {ledger.KindChainBreak, func(all []ledger.Event) []ledger.Event {
			return append([]ledger.Event{other.events[0]}, all[1:]...)
		}},
		"another payload": {ledger.KindPayloadMismatch, func(all []ledger.Event) []ledger.Event {
			all[3].Data = append(bytes.Clone(all[3].Data), 0)
			return all
		}},
		"another's metadata": {ledger.KindFieldMismatch, func(all []ledger.Event) []ledger.Event {
			all[3].Metadata = all[2].Metadata
			return all
		}},
		"another stream's": {ledger.KindFieldMismatch, func(all []ledger.Event) []ledger.Event {
			return append(slices.Clone(w.events[:1]), all[1:]...)
		}},
		"no metadata": {ledger.KindMalformed, func(all []ledger.Event) []ledger.Event {
			all[0].Metadata = nil
			return all
		}},
	} {
		err := follow(c.change(slices.Clone(events)), head)
		var f *ledger.Finding
		if c.kind == "" && err != nil || c.kind != "" && (!errors.As(err, &f) || f.Kind != c.kind) {
			t.Errorf("%s: %v, want %q", name, err, c.kind)
		}
	}
	short, fork := head, head
	short.Count--
	fork.Leaf[0] ^= 1
	for name, h := range map[string]ledger.Head{"a head before the end": short, "another head": fork} {
		var f *ledger.Finding
		if err := follow(events, h); !errors.As(err, &f) || f.Kind != ledger.KindHeadMismatch {
			t.Errorf("%s: %v", name, err)
		}
	}
}
