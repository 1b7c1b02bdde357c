package node_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	"kiroku/commands"
	ends "kiroku/commands/retention"
	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/inquiry"
	"kiroku/domain/keyring"
)

func (k *keeping) lose(label string) {
	k.t.Helper()
	if err := k.core.HSM.Destroy(k.t.Context(), label); err != nil {
		k.t.Fatal(err)
	}
}

// refusesToday wants a command of today to be refused because the day's key is lost.
func (k *keeping) refusesToday() {
	k.t.Helper()
	_, err := k.core.Core.SubmitInquiry(k.t.Context(), k.core.Inquiry("a", "b", k.person))
	if !errors.Is(err, commands.ErrDayKeyLost) || !errors.Is(err, sequencer.ErrUnavailable) {
		k.t.Errorf("a command of a day whose key is lost: %v", err)
	}
}

// TestTheLostKeyOfTodayIsNotMadeAnew: a new key would hide the loss, and the day could never be counted and ended. Nothing
// more is recorded on that day, by this core or the next; the next day goes on, and the alarm too.
func TestTheLostKeyOfTodayIsNotMadeAnew(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.today()
	if err := k.core.Core.MakeDayKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.exchange(inquiry.Provided)
	k.anchor()
	k.lose(keyring.DayLabel(first))
	if err := k.core.Core.MakeDayKeys(t.Context()); !errors.Is(err, commands.ErrDayKeyLost) {
		t.Errorf("making the keys: %v", err)
	}
	k.refusesToday()
	before := dyingEvents(k, event.TypeDayOpened)
	k.reopen()
	k.refusesToday()
	if err := k.core.Core.MakeDayKeys(t.Context()); !errors.Is(err, commands.ErrDayKeyLost) {
		t.Errorf("making the keys after a restart: %v", err)
	}
	if k.hasKey(first) || dyingEvents(k, event.TypeDayOpened) != before {
		t.Error("the day has another key")
	}
	for range 2 {
		if _, err := k.core.RetentionProcess.Run(t.Context(), nil); !errors.Is(err, ends.ErrKeyLost) || k.stands(first).Stage != ends.KeyMissing {
			t.Errorf("the loss is not told of: %v, %s", err, k.stands(first).Stage)
		}
		k.Turn(day)
	}
	k.exchange(inquiry.Provided)
	if err := k.core.Core.MakeDayKeys(t.Context()); err != nil {
		t.Errorf("two days later: %v", err)
	}
}

// TestAnUnusedKeyIsMadeAnew: a key made ahead, on whose day nothing stands, is no loss.
func TestAnUnusedKeyIsMadeAnew(t *testing.T) {
	k := newKeeping(t, brief)
	if err := k.core.Core.MakeDayKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	tomorrow := k.today().AddDays(1)
	k.lose(keyring.DayLabel(tomorrow))
	if err := k.core.Core.MakeDayKeys(t.Context()); err != nil || !k.hasKey(tomorrow) {
		t.Fatal(err)
	}
	k.lose(keyring.DayLabel(tomorrow))
	k.Turn(day)
	k.exchange(inquiry.Provided)
}

// TestALossIsNoticedWhileRecordsAreTaken: the core seals with what it has in memory, so it looks for the key by itself, stops
// and says so. A core that takes over neither makes the key nor records.
func TestALossIsNoticedWhileRecordsAreTaken(t *testing.T) {
	k := newKeeping(t, brief, func(c *node.Config) { c.RetentionInterval = 50 * time.Millisecond })
	k.exchange(inquiry.Provided)
	k.lose(keyring.DayLabel(k.today()))
	k.noticed()
	k.refusesToday()
	other := k.Open("b", k.change...)
	k.core.Stop()
	other.WaitLead()
	k.core = other
	k.noticed()
	k.refusesToday()
	if k.hasKey(k.today()) {
		t.Error("the key was made anew")
	}
}

// noticed waits until the core says that a day's key is lost.
func (k *keeping) noticed() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
	defer cancel()
	for !errors.Is(k.core.DayKeysFailed(), commands.ErrDayKeyLost) {
		select {
		case <-ctx.Done():
			k.t.Fatalf("the loss was not noticed: %v\n%s", k.core.DayKeysFailed(), k.Logs)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// dyingEvents counts the events of a type in the streams whose events die with a day.
func dyingEvents(k *keeping, eventType string) (n int) {
	k.t.Helper()
	for _, stream := range append(event.RecordStreams(k.core.Shards), event.StreamAudit) {
		for _, e := range eventsOf(k.core, stream) {
			if e.Type == eventType {
				n++
			}
		}
	}
	return n
}
