package keyring_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/secret"
)

func TestARecordOpensAgain(t *testing.T) {
	b := newBed(t)
	b.openDay(stream, today)
	d := b.sealRecord("who asked whom about what")
	b.opens(d, "who asked whom about what")
	before := b.token.calls
	b.opens(d, "who asked whom about what")
	if b.token.calls != before {
		t.Error("the HSM was asked for a key that is in memory")
	}
	b.restart()
	b.opens(d, "who asked whom about what")
	empty := b.openDay(stream, today)
	if d := b.sealRecord(""); d.KeyID != ledger.DataKeyID(today.String(), stream, empty) {
		t.Errorf("sealed under %s, not the day opened last", d.KeyID)
	}
	b.opens(d, "who asked whom about what") // under the key of the day opened first
}

func TestAPayloadWithoutKeyIsItsOwnPlaintext(t *testing.T) {
	b := newBed(t)
	d, err := ledger.Plain(aad(event.StreamRegistry, event.TypeAgencyRegistered, noon), []byte("public"))
	if err != nil {
		t.Fatal(err)
	}
	b.opens(d, "public")
}

func TestARecordIsSealedOnItsDayOnly(t *testing.T) {
	b := newBed(t)
	seal := func(stream string, at time.Time) error {
		_, err := b.SealRecord(aad(stream, event.TypeInquiryNotified, at), nil)
		return err
	}
	if err := seal(stream, noon); !errors.Is(err, keyring.ErrDayNotOpened) {
		t.Errorf("before the day was opened: %v", err)
	}
	if _, ok := b.SealingDay(stream); ok {
		t.Error("a day is shown that was not opened")
	}
	b.openDay(stream, today)
	if day, ok := b.SealingDay(stream); !ok || day != today {
		t.Errorf("sealing day %s (%v)", day, ok)
	}
	begin, end := time.Date(2026, 11, 21, 15, 0, 0, 0, time.UTC), time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC) // Japanese midnights
	for at, want := range map[time.Time]error{
		begin: nil, end.Add(-time.Microsecond): nil,
		begin.Add(-time.Microsecond): keyring.ErrDayNotOpened, end: keyring.ErrDayNotOpened,
	} {
		if err := seal(stream, at); !errors.Is(err, want) {
			t.Errorf("at %s: got %v, want %v", at, err, want)
		}
	}
	if err := seal("record-04", noon); !errors.Is(err, keyring.ErrDayNotOpened) {
		t.Errorf("in another stream: %v", err)
	}
}

// TestARecordOpensInItsPlaceOnly changes everything that a payload is bound to.
func TestARecordOpensInItsPlaceOnly(t *testing.T) {
	b := newBed(t)
	tomorrow := calendar.DayOf(noon.AddDate(0, 0, 1))
	b.token.put(keyring.DayLabel(tomorrow))
	b.openDay(stream, tomorrow)
	b.openDay("record-04", today)
	b.openDay(stream, today)
	d := b.sealRecord("x")
	for name, change := range map[string]func(*ledger.Draft){
		"stream":              func(d *ledger.Draft) { d.Stream = "record-04" },
		"id":                  func(d *ledger.Draft) { d.ID[0] ^= 1 },
		"type":                func(d *ledger.Draft) { d.Type = event.TypeInquiryRefused },
		"time":                func(d *ledger.Draft) { d.Time = d.Time.Add(time.Microsecond) },
		"nonce":               func(d *ledger.Draft) { d.Nonce = make([]byte, 12) },
		"data":                func(d *ledger.Draft) { d.Data = append([]byte{d.Data[0] ^ 1}, d.Data[1:]...) },
		"data cut":            func(d *ledger.Draft) { d.Data = d.Data[:5] },
		"key of another day":  func(d *ledger.Draft) { d.KeyID = ledger.DataKeyID(tomorrow.String(), stream, 0) },
		"key of another one":  func(d *ledger.Draft) { d.KeyID = ledger.DataKeyID(today.String(), "record-04", 1) },
		"day not the event's": func(d *ledger.Draft) { d.KeyID = ledger.DataKeyID(tomorrow.String(), stream, 2) },
		"malformed key id":    func(d *ledger.Draft) { d.KeyID = "record/2026-11-22/x" },
		"unknown class":       func(d *ledger.Draft) { d.KeyID = "other/1" },
	} {
		changed := d
		change(&changed)
		b.refuses(changed, keyring.ErrWrongKey, keyring.ErrShredded)
		if t.Failed() {
			t.Fatalf("changed: %s", name)
		}
	}
	b.opens(d, "x")
}

// TestAWrongAnswerOfTheHSMIsNoticed before it seals or opens anything.
func TestAWrongAnswerOfTheHSMIsNoticed(t *testing.T) {
	b := newBed(t)
	b.openDay(stream, today)
	d := b.sealRecord("x")
	o, err := b.NewDay(t.Context(), stream, today)
	if err != nil {
		t.Fatal(err)
	}
	b.token.mu.Lock()
	b.token.keys[keyring.DayLabel(today)] = []byte("a token with the same labels")
	b.token.mu.Unlock()
	if err := b.DayOpened(t.Context(), stream, 9, o); !errors.Is(err, keyring.ErrWrongKey) {
		t.Errorf("sealing: %v", err)
	}
	b.restart()
	b.refuses(d, keyring.ErrWrongKey, keyring.ErrShredded)
	if err := b.DayOpened(t.Context(), stream, 9, ledger.DayOpened{Day: "2026-02-30"}); err == nil {
		t.Error("a day that does not exist was opened")
	}
}

// TestOnlyADestroyedKeyIsDestroyed: nothing becomes unreadable for ever because something else is wrong.
func TestOnlyADestroyedKeyIsDestroyed(t *testing.T) {
	b := newBed(t)
	b.openDay(stream, today)
	d := b.sealRecord("x")
	restore := b.shelf.events
	for name, fault := range map[string]struct {
		begin, end func()
	}{
		"HSM is gone":                 {func() { b.token.setDown(true) }, func() { b.token.setDown(false) }},
		"store does not answer":       {func() { b.shelf.err = errDown }, func() { b.shelf.err = nil }},
		"store is behind":             {func() { b.shelf.lose() }, func() { b.shelf.events = restore }},
		"store is behind, HSM gone":   {func() { b.shelf.lose(); b.token.setDown(true) }, func() { b.shelf.events = restore; b.token.setDown(false) }},
		"store begins with later one": {func() { b.shelf.lose(); b.shelf.put(ledger.Event{Stream: stream, Revision: 9}) }, func() { b.shelf.events = restore }},
	} {
		b.restart()
		fault.begin()
		_, err := b.Open(t.Context(), header(d), d.Data)
		if err == nil || errors.Is(err, keyring.ErrShredded) || errors.Is(err, keyring.ErrWrongKey) {
			t.Errorf("%s: got %v, want an error that is worth another try", name, err)
		}
		fault.end()
		b.opens(d, "x")
	}
	b.restart()
	b.shelf.events = map[string][]ledger.Event{stream: {{Stream: stream, Revision: 0, Type: event.TypeDayOpened, Data: []byte{1}}}}
	b.refuses(d, keyring.ErrWrongKey, keyring.ErrShredded)
	b.shelf.events[stream][0].Type = event.TypeInquiryLapsed
	b.refuses(d, keyring.ErrWrongKey, keyring.ErrShredded)
	b.shelf.events = restore
	b.token.destroy(keyring.DayLabel(today))
	b.refuses(d, keyring.ErrShredded)
	b.shelf.lose() // the end of the retention
	b.refuses(d, keyring.ErrShredded)
	if _, err := b.NewDay(t.Context(), stream, today); !errors.Is(err, keyring.ErrShredded) {
		t.Errorf("opening a day whose key is destroyed: %v", err)
	}
}

func TestForgetWipes(t *testing.T) {
	b := newBed(t)
	other := calendar.DayOf(noon.AddDate(0, 0, -1))
	b.token.put(keyring.DayLabel(other))
	base := secret.CurrentUsage().Live
	b.openDay("record-04", other)
	b.openDay(stream, today)
	b.openDay(stream, today)
	d := b.sealRecord("x")
	if n := secret.CurrentUsage().Live - base; n != 3 {
		t.Errorf("%d keys in memory for 3 days opened", n)
	}
	b.token.destroy(keyring.DayLabel(today))
	b.opens(d, "x") // from memory
	b.Forget(today)
	if n := secret.CurrentUsage().Live - base; n != 1 {
		t.Errorf("%d keys in memory, want that of the other day", n)
	}
	b.refuses(d, keyring.ErrShredded)
	if _, ok := b.SealingDay(stream); ok {
		t.Error("still sealing on a forgotten day")
	}
	if _, ok := b.SealingDay("record-04"); !ok {
		t.Error("another day was forgotten")
	}
	b.Forget(today)
	b.Forget(other)
	if n := secret.CurrentUsage().Live - base; n != 0 {
		t.Errorf("%d keys in memory", n)
	}
}

// TestADayThatHasEndedStaysSo, while the HSM holds its key, or has it again: also an answer that was under way is not used.
func TestADayThatHasEndedStaysSo(t *testing.T) {
	b := newBed(t)
	b.openDay(stream, today)
	d := b.sealRecord("x")
	b.token.put(keyring.DayLabel(today.AddDays(1)))
	b.openDay("record-04", today.AddDays(1))
	b.opens(d, "x")
	b.End(today)
	b.refuses(d, keyring.ErrShredded)
	if _, ok := b.SealingDay(stream); ok {
		t.Error("still sealing on a day that has ended")
	}
	if _, ok := b.SealingDay("record-04"); !ok {
		t.Error("another day has ended too")
	}
	b.restart()
	base := secret.CurrentUsage().Live
	b.token.after = func() { b.End(today) }
	b.refuses(d, keyring.ErrShredded)
	b.token.after = nil
	if n := secret.CurrentUsage().Live - base; n != 0 {
		t.Errorf("%d keys of a day that has ended in memory", n)
	}
	b.restart()
	b.opens(d, "x") // the control
}

// TestAnAnswerUnderWayIsForgottenToo: the HSM answers, then the key is destroyed and forgotten, then the answer arrives.
func TestAnAnswerUnderWayIsForgottenToo(t *testing.T) {
	b := newBed(t)
	b.openDay(stream, today)
	d := b.sealRecord("x")
	b.restart()
	base := secret.CurrentUsage().Live
	b.token.after = func() { b.Forget(today) }
	b.opens(d, "x")
	b.token.after = nil
	if n := secret.CurrentUsage().Live - base; n != 0 {
		t.Errorf("%d keys of a forgotten day in memory", n)
	}
	b.token.destroy(keyring.DayLabel(today))
	b.refuses(d, keyring.ErrShredded)
}

func TestTheCacheIsBounded(t *testing.T) {
	const limit = 4
	b := newBed(t, keyring.Options{DayKeyCache: limit})
	var drafts []ledger.Draft
	for range 3 * limit {
		b.openDay(stream, today)
		drafts = append(drafts, b.sealRecord("x"))
	}
	b.restart(keyring.Options{DayKeyCache: limit})
	base := secret.CurrentUsage().Live
	for range 2 {
		for _, d := range drafts {
			b.opens(d, "x")
			if n := secret.CurrentUsage().Live - base; n > limit {
				t.Fatalf("%d keys in memory, at most %d are allowed", n, limit)
			}
		}
	}
}

// TestDaysInParallel opens, seals and forgets at once.
func TestDaysInParallel(t *testing.T) {
	b := newBed(t, keyring.Options{DayKeyCache: 2})
	base := secret.CurrentUsage().Live
	var drafts []ledger.Draft
	for range 5 {
		b.openDay(stream, today)
		drafts = append(drafts, b.sealRecord("x"))
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 200 {
				b.opens(drafts[(i+j)%len(drafts)], "x")
				d, err := b.SealRecord(aad(stream, event.TypeInquiryNotified, noon), []byte("y"))
				switch {
				case err == nil:
					b.opens(d, "y")
				case !errors.Is(err, keyring.ErrDayNotOpened):
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range 50 {
			b.Forget(today) // the key is still there: it is asked for again
		}
	})
	all.Wait()
	b.Forget(today)
	if n := secret.CurrentUsage().Live - base; n != 0 {
		t.Errorf("%d keys in memory", n)
	}
}

func BenchmarkSealRecord(b *testing.B) {
	for _, size := range []int{256, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			bed := newBed(b)
			bed.openDay(stream, today)
			plain := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := bed.SealRecord(aad(stream, event.TypeInquiryNotified, noon), plain); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkOpenRecord(b *testing.B) {
	bed := newBed(b)
	bed.openDay(stream, today)
	d := bed.sealRecord(string(make([]byte, 1024)))
	h := header(d)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := bed.Open(b.Context(), h, d.Data); err != nil {
				b.Error(err)
			}
		}
	})
}
