package keyring

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

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
	key   *secret.Bytes
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
	key, err := k.checkedDayKey(ctx, stream, o)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current[stream] = openDay{day: day, keyID: id, key: key}
	k.remember(id, key)
	return nil
}

// SealingDay reports the day for which a stream's payloads can be sealed now.
func (k *Keyring) SealingDay(stream string) (calendar.Day, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	d, ok := k.current[stream]
	return d.day, ok
}

// SealRecord seals a payload of class record under the stream's data key of the day in which its time lies.
// ErrDayNotOpened means that a day-opened event has to be appended first.
func (k *Keyring) SealRecord(a ledger.AAD, plaintext []byte) (ledger.Draft, error) {
	k.mu.RLock()
	d, ok := k.current[a.Stream]
	k.mu.RUnlock()
	if !ok || d.day != calendar.DayOf(a.Time) {
		return ledger.Draft{}, ErrDayNotOpened
	}
	a.KeyID = d.keyID
	return ledger.Seal(d.key.Expose(), a, plaintext)
}

// Forget drops every key of a day from memory, after its HSM key has been destroyed.
func (k *Keyring) Forget(day calendar.Day) {
	prefix := DayLabel(day) + "/"
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.days {
		if strings.HasPrefix(id, prefix) {
			delete(k.days, id)
		}
	}
	for stream, d := range k.current {
		if d.day == day {
			delete(k.current, stream)
		}
	}
}

// day finds the key of a key id: in memory, else by the day-opened event that it names.
func (k *Keyring) day(ctx context.Context, keyID string) (*secret.Bytes, error) {
	k.mu.RLock()
	key := k.days[keyID]
	k.mu.RUnlock()
	if key != nil {
		return key, nil
	}
	day, stream, revision, err := ledger.ParseDataKeyID(keyID)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	o, err := k.readDayOpened(ctx, stream, revision)
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
	k.remember(keyID, key)
	return key, nil
}

func (k *Keyring) readDayOpened(ctx context.Context, stream string, revision uint64) (ledger.DayOpened, error) {
	events, err := k.events.ReadForward(ctx, stream, revision, 1)
	if err != nil {
		return ledger.DayOpened{}, fmt.Errorf("read day-opened %s@%d: %w", stream, revision, err)
	}
	if len(events) != 1 || events[0].Revision != revision || events[0].Type != event.TypeDayOpened {
		return ledger.DayOpened{}, fmt.Errorf("no day-opened event at %s@%d: %w", stream, revision, ErrShredded)
	}
	return ledger.DecodeDayOpened(events[0].Data)
}

// remember must be called with mu held. Any entry may go when the cache is full: it is found again.
func (k *Keyring) remember(id string, key *secret.Bytes) {
	for old := range k.days {
		if len(k.days) < k.limit {
			break
		}
		delete(k.days, old)
	}
	k.days[id] = key
}

func (k *Keyring) checkedDayKey(ctx context.Context, stream string, o ledger.DayOpened) (*secret.Bytes, error) {
	key, commitment, err := k.dayKey(ctx, stream, o)
	if err != nil {
		return nil, err
	}
	if commitment != o.Commitment {
		key.Destroy()
		return nil, fmt.Errorf("data key of %s for %s does not match its commitment: %w", stream, o.Day, ErrWrongKey)
	}
	return key, nil
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
