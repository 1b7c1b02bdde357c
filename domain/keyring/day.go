package keyring

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"kiroku/domain/calendar"
	"kiroku/domain/event"
	"kiroku/domain/ledger"
	"kiroku/domain/secret"
)

const classRecord = "record"

// DayLabel is the label of a day's HSM key.
func DayLabel(day calendar.Day) string { return classRecord + "/" + day.String() }

type openDay struct {
	day   calendar.Day
	keyID string
	key   *dayKey
}

// dayKey is a data key that several may use at once. It is wiped when the last of them is done with it.
type dayKey struct {
	bytes *secret.Bytes
	users atomic.Int32 // the places that keep it, and those who use it now
	asked time.Time    // when the HSM was asked for it, by Options.Elapsed
	last  atomic.Int64 // when it was last used to open something, in nanoseconds after asked
}

// newDayKey has one user: the caller.
func newDayKey(b *secret.Bytes, asked time.Time) *dayKey {
	d := &dayKey{bytes: b, asked: asked}
	d.users.Store(1)
	return d
}

// use must be called by a user, or with the keyring's lock held and the key in it.
func (d *dayKey) use() *dayKey {
	d.users.Add(1)
	return d
}

func (d *dayKey) release() {
	if d.users.Add(-1) == 0 {
		d.bytes.Destroy()
	}
}

// NewDay makes the payload of a day-opened event: fresh randomness and the commitment to the data key
// that the HSM answers for it. The HSM must already hold the day's key.
func (k *Keyring) NewDay(ctx context.Context, stream string, day calendar.Day) (ledger.DayOpened, error) {
	o := ledger.DayOpened{Day: day.String()}
	_, _ = rand.Read(o.Salt[:]) // never fails (crypto/rand)
	key, commitment, err := k.dayKey(ctx, stream, o)
	key.Destroy()
	o.Commitment = commitment
	return o, err
}

// DayOpened makes a durable day-opened event the one that seals the stream's payloads of that day.
func (k *Keyring) DayOpened(ctx context.Context, stream string, revision uint64, o ledger.DayOpened) error {
	day, err := calendar.Parse(o.Day)
	if err != nil {
		return fmt.Errorf("day-opened %s@%d: %w", stream, revision, err)
	}
	id := ledger.DataKeyID(o.Day, stream, revision)
	k.mu.RLock()
	before := k.forgets
	k.mu.RUnlock()
	key, err := k.checkedDayKey(ctx, stream, o)
	if err != nil {
		return err
	}
	defer key.release()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forgets != before {
		return fmt.Errorf("day-opened %s@%d: a day was forgotten meanwhile; try again", stream, revision)
	}
	k.stopSealing(stream)
	k.current[stream] = openDay{day: day, keyID: id, key: key.use()}
	k.remember(id, key)
	return nil
}

// stopSealing must be called with mu held.
func (k *Keyring) stopSealing(stream string) {
	if d, ok := k.current[stream]; ok {
		d.key.release()
		delete(k.current, stream)
	}
}

// SealingDay reports the day for which a stream's payloads can be sealed now.
func (k *Keyring) SealingDay(stream string) (calendar.Day, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	d, ok := k.current[stream]
	return d.day, ok
}

// StopSealing seals nothing more under the keys of a day, of which the HSM's was lost. What was sealed still opens with
// what is in memory: it may not have been read everywhere yet.
func (k *Keyring) StopSealing(day calendar.Day) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for stream, d := range k.current {
		if d.day == day {
			k.stopSealing(stream)
		}
	}
}

// SealRecord seals a payload of class record under the stream's data key of the day in which its time lies.
// ErrDayNotOpened means that a day-opened event has to be appended first.
func (k *Keyring) SealRecord(a ledger.AAD, plaintext []byte) (ledger.Draft, error) {
	k.mu.RLock()
	d, ok := k.current[a.Stream]
	if !ok || d.day != calendar.DayOf(a.Time) {
		k.mu.RUnlock()
		return ledger.Draft{}, ErrDayNotOpened
	}
	key := d.key.use()
	k.mu.RUnlock()
	defer key.release()
	a.KeyID = d.keyID
	return ledger.Seal(key.bytes.Expose(), a, plaintext)
}

// Forget wipes every key of a day from memory, after its HSM key has been destroyed: at once where nobody uses it, else
// when the payload under way is sealed or opened. An answer of the HSM that was on its way meanwhile is not kept.
func (k *Keyring) Forget(day calendar.Day) {
	prefix := DayLabel(day) + "/"
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forgets++
	for id := range k.days {
		if strings.HasPrefix(id, prefix) {
			k.drop(id)
		}
	}
	for stream, d := range k.current {
		if d.day == day {
			k.stopSealing(stream)
		}
	}
}

// End is Forget of a day that has ended: from then on what it sealed is ErrShredded, also where the HSM holds the key again,
// because it was restored from an older copy.
func (k *Keyring) End(day calendar.Day) {
	k.mu.Lock()
	k.ended[day.String()] = true
	k.mu.Unlock()
	k.Forget(day)
}

// cached returns a key that is in memory, for use, and how many days had been forgotten then; nil if there is none that may
// still be used.
func (k *Keyring) cached(keyID string) (key *dayKey, forgets uint64) {
	now := k.now()
	k.mu.RLock()
	defer k.mu.RUnlock()
	key = k.days[keyID]
	if key == nil || !k.fresh(key, now) {
		return nil, k.forgets
	}
	key.usedAt(now)
	return key.use(), k.forgets
}

// day finds the key of a key id: in memory, else by the day-opened event that it names. Release it after use.
func (k *Keyring) day(ctx context.Context, keyID string) (*dayKey, error) {
	key, before := k.cached(keyID)
	if key != nil {
		return key, nil
	}
	day, stream, revision, err := ledger.ParseDataKeyID(keyID)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	if k.hasEnded(day) {
		return nil, errEnded(day)
	}
	o, err := k.readDayOpened(ctx, day, stream, revision)
	if err != nil {
		return nil, err
	}
	if o.Day != day {
		return nil, fmt.Errorf("day-opened %s@%d is for another day: %w", stream, revision, ErrWrongKey)
	}
	if key, err = k.checkedDayKey(ctx, stream, o); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.ended[day]:
		key.release()
		return nil, errEnded(day)
	case k.forgets == before:
		k.remember(keyID, key)
	}
	return key, nil
}

func (k *Keyring) hasEnded(day string) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.ended[day]
}

func errEnded(day string) error { return fmt.Errorf("%s has ended: %w", day, ErrShredded) }

func (k *Keyring) readDayOpened(ctx context.Context, day, stream string, revision uint64) (ledger.DayOpened, error) {
	events, err := k.events.ReadForward(ctx, stream, revision, 1)
	if err != nil {
		return ledger.DayOpened{}, fmt.Errorf("read day-opened %s@%d: %w", stream, revision, err)
	}
	if len(events) != 1 || events[0].Revision != revision {
		return ledger.DayOpened{}, k.explainMissing(ctx, day, stream, revision)
	}
	if events[0].Type != event.TypeDayOpened {
		return ledger.DayOpened{}, fmt.Errorf("%s@%d is no day-opened event: %w", stream, revision, ErrWrongKey)
	}
	o, err := ledger.DecodeDayOpened(events[0].Data)
	if err != nil {
		return ledger.DayOpened{}, fmt.Errorf("day-opened %s@%d: %w: %w", stream, revision, ErrWrongKey, err)
	}
	return o, nil
}

// explainMissing says why a day-opened event cannot be read. The end of a retention removes it, but only the HSM can tell
// that this has come; a store that is behind must not make anything unreadable for ever.
func (k *Keyring) explainMissing(ctx context.Context, day, stream string, revision uint64) error {
	answer, err := k.hsm.HMAC(ctx, classRecord+"/"+day, []byte("kiroku/presence/1"))
	answer.Destroy()
	switch {
	case err == nil:
		return fmt.Errorf("the store lacks day-opened %s@%d, although the HSM holds the key of %s: the store is behind, or was cut", stream, revision, day)
	case k.gone(err):
		return fmt.Errorf("no day-opened event at %s@%d: %w", stream, revision, ErrShredded)
	}
	return fmt.Errorf("no day-opened event at %s@%d: %w", stream, revision, err)
}

// remember must be called with mu held. Any entry may go when the cache is full: it is found again.
func (k *Keyring) remember(id string, key *dayKey) {
	k.drop(id)
	for old := range k.days {
		if len(k.days) < k.limit {
			break
		}
		k.drop(old)
	}
	k.days[id] = key.use()
}

// drop must be called with mu held.
func (k *Keyring) drop(id string) {
	if key, ok := k.days[id]; ok {
		delete(k.days, id)
		key.release()
	}
}

// checkedDayKey asks the HSM for a data key. Release it after use.
func (k *Keyring) checkedDayKey(ctx context.Context, stream string, o ledger.DayOpened) (*dayKey, error) {
	asked := k.now()
	key, commitment, err := k.dayKey(ctx, stream, o)
	if err != nil {
		return nil, err
	}
	if commitment != o.Commitment {
		key.Destroy()
		return nil, fmt.Errorf("data key of %s for %s does not match its commitment: %w", stream, o.Day, ErrWrongKey)
	}
	return newDayKey(key, asked), nil
}

func (k *Keyring) dayKey(ctx context.Context, stream string, o ledger.DayOpened) (*secret.Bytes, [ledger.CommitmentSize]byte, error) {
	none := [ledger.CommitmentSize]byte{}
	input, err := ledger.DataKeyInput(stream, o.Day, o.Salt)
	if err != nil {
		return nil, none, fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	key, err := k.hsm.HMAC(ctx, classRecord+"/"+o.Day, input)
	switch {
	case err == nil:
		return key, ledger.Commitment(key.Expose()), nil
	case k.gone(err):
		return nil, none, fmt.Errorf("data key of %s for %s: %w", stream, o.Day, ErrShredded)
	}
	return nil, none, fmt.Errorf("data key of %s for %s: %w", stream, o.Day, err)
}
