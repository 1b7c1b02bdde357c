package keyring_test

import (
	"sync/atomic"
	"testing"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
)

// hourglass is a clock that goes on when it is told to.
type hourglass struct{ passed atomic.Int64 }

func (h *hourglass) now() time.Time        { return noon.Add(time.Duration(h.passed.Load())) }
func (h *hourglass) pass(d time.Duration)  { h.passed.Add(int64(d)) }
func (h *hourglass) ages() keyring.Options { return keyring.Options{Elapsed: h.now} }

const life = keyring.DefaultDayKeyLifetime

// TestKeysOfDaysAge: a keyring that hears nothing of the ledger uses no key longer than its lifetime without asking the HSM
// again, and Expire leaves no copy of it in memory; the control is one that is told.
func TestKeysOfDaysAge(t *testing.T) {
	for _, told := range []bool{false, true} {
		var glass hourglass
		b := newBed(t, glass.ages())
		key := b.dataKey(today, b.openDay(stream, today))
		d := b.sealRecord("x")
		b.StopSealing(today)
		for range 4 { // in use all the time
			glass.pass(life / 4)
			b.opens(d, "x")
		}
		b.token.destroy(keyring.DayLabel(today))
		b.opens(d, "x") // nobody told it
		if told {
			b.Followed(glass.now())
		}
		glass.pass(time.Second)
		if told {
			b.opens(d, "x")
		} else {
			b.refuses(d, keyring.ErrShredded)
		}
		b.Expire(today.AddDays(1))
		if b.inArena(key) != told {
			t.Errorf("told of the ledger %v: the key is in memory %v", told, !told)
		}
	}
}

// TestAnAgedKeyIsAskedForAgain: the HSM's answer makes it young.
func TestAnAgedKeyIsAskedForAgain(t *testing.T) {
	var glass hourglass
	b := newBed(t, glass.ages())
	b.openDay(stream, today)
	d := b.sealRecord("x")
	glass.pass(2 * life)
	calls := b.token.calls
	for range 3 {
		b.opens(d, "x")
	}
	if asked := b.token.calls - calls; asked != 1 {
		t.Errorf("the HSM was asked %d times", asked)
	}
}

// TestUnusedKeysExpire: also where the ledger is followed. The key that seals today stays, however seldom it does.
func TestUnusedKeysExpire(t *testing.T) {
	var glass hourglass
	b := newBed(t, glass.ages())
	other := calendar.DayOf(noon.AddDate(0, 0, -1))
	b.token.put(keyring.DayLabel(other))
	past := b.dataKey(other, b.openDay(stream, other))
	b.openDay("record-04", today)
	seals := func() error {
		_, err := b.SealRecord(aad("record-04", event.TypeInquiryNotified, noon), []byte("y"))
		return err
	}
	b.Expire(today)
	if err := seals(); !b.inArena(past) || err != nil {
		t.Fatalf("a young key is gone (%v)", err)
	}
	glass.pass(life + time.Second)
	b.Followed(glass.now())
	b.Expire(today)
	if b.inArena(past) {
		t.Error("an unused key of yesterday is left")
	}
	if err := seals(); err != nil {
		t.Errorf("the key that seals is gone: %v", err)
	}
	if _, sealing := b.SealingDay(stream); sealing {
		t.Error("yesterday's key seals")
	}
}
