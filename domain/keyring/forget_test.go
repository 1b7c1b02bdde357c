package keyring_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"kiroku/domain/calendar"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/secret"
	"kiroku/domain/secret/secrettest"
)

// dataKey derives the data key of a day-opened event outside the keyring.
func (b *bed) dataKey(day calendar.Day, revision uint64) []byte {
	b.Helper()
	for _, e := range b.shelf.events[stream] {
		if e.Revision != revision {
			continue
		}
		o, err := ledger.DecodeDayOpened(e.Data)
		if err != nil {
			b.Fatal(err)
		}
		input, err := ledger.DataKeyInput(stream, day.String(), o.Salt)
		if err != nil {
			b.Fatal(err)
		}
		h := hmac.New(sha256.New, b.token.keys[keyring.DayLabel(day)])
		h.Write(input)
		return h.Sum(nil)
	}
	b.Fatalf("no day-opened event at %d", revision)
	return nil
}

func (b *bed) inArena(key []byte) bool {
	b.Helper()
	n, err := secrettest.InArena(key)
	if err != nil {
		b.Fatal(err)
	}
	return n > 0
}

// TestForgetLeavesNoCopy scans the secret memory for the data keys themselves: after Forget no copy of the day's is left,
// and that of another day, which was not forgotten, is found, so the scan sees what is there.
func TestForgetLeavesNoCopy(t *testing.T) {
	b := newBed(t)
	other := calendar.DayOf(noon.AddDate(0, 0, -1))
	b.token.put(keyring.DayLabel(other))
	kept := b.dataKey(other, b.openDay(stream, other))
	var drafts []ledger.Draft
	var going [][]byte
	for range 3 { // after takeovers a day has several
		going = append(going, b.dataKey(today, b.openDay(stream, today)))
		drafts = append(drafts, b.sealRecord("x"))
	}
	b.Forget(today.AddDays(7)) // nothing of it is there
	for _, d := range drafts {
		b.opens(d, "x")
	}
	for i, key := range going {
		if !b.inArena(key) {
			t.Fatalf("the scan does not find living key %d", i)
		}
	}
	b.token.destroy(keyring.DayLabel(today))
	b.Forget(today)
	for i, key := range going {
		if b.inArena(key) {
			t.Errorf("a copy of key %d is left", i)
		}
	}
	if !b.inArena(kept) {
		t.Error("the key of another day is gone too")
	}
	for _, d := range drafts {
		b.refuses(d, keyring.ErrShredded)
	}
	b.Forget(other)
	if b.inArena(kept) {
		t.Error("a copy of the other day's key is left")
	}
}

// TestAKeyLeavesNoCopyOutside: a data key is expanded to seal and to open, on the heap; no copy stays there, or a core
// dump that is taken after the day has ended would hold it.
func TestAKeyLeavesNoCopyOutside(t *testing.T) {
	b := newBed(t)
	key := b.dataKey(today, b.openDay(stream, today))
	needle := secret.New(len(key))
	defer needle.Destroy()
	copy(needle.Expose(), key)
	outside := func() int {
		n, err := secrettest.OutsideArena(needle.Expose())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if outside() == 0 {
		t.Error("the scan does not find the copy that is there")
	}
	clear(key)
	for range 200 {
		b.opens(b.sealRecord("x"), "x")
	}
	if n := outside(); n > 0 {
		t.Errorf("%d copies of the key are left", n)
	}
}

// TestTheVaultLeavesNoCopyOutside: neither the keys over the people's keys nor a person's own stay on the heap, where the
// vault was loaded, and people's payloads were sealed and opened.
func TestTheVaultLeavesNoCopyOutside(t *testing.T) {
	b := newBed(t)
	o, _ := b.openVault(3, 3)
	s := b.NewSubject()
	defer s.Destroy()
	for range 200 {
		b.opens(b.sealSubject(s, "x"), "x")
	}
	kek, err := b.token.HMAC(t.Context(), o.Root, append([]byte("kiroku/vault/1"), o.Random...))
	if err != nil {
		t.Fatal(err)
	}
	defer kek.Destroy()
	needles := map[string]*secret.Bytes{"the key over the generation": kek}
	for name, key := range keyring.KeysOf(b.Keyring, s) {
		needles[name] = key
	}
	if len(needles) != 6 {
		t.Fatalf("%d keys are looked for", len(needles))
	}
	for name, key := range needles {
		n, err := secrettest.OutsideArena(key.Expose())
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			t.Errorf("%s: %d copies are left", name, n)
		}
	}
}
