package keyring

import (
	"time"

	"kiroku/domain/calendar"
)

// DefaultDayKeyLifetime is how long the key of a day that was destroyed in the HSM can at most be used by a core that does
// not learn of it: one that hangs, or is cut off from the store.
const DefaultDayKeyLifetime = 10 * time.Minute

// Followed says that everything the ledger held at a moment of Options.Elapsed has been taken in: of the days that had
// ended by then, every key has been forgotten.
func (k *Keyring) Followed(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at.After(k.followed) {
		k.followed = at
	}
}

// Expire wipes the keys of days that nobody has used for the lifetime, and those of which for so long neither the ledger
// was followed nor the HSM asked. The keys that seal today stay: today has not ended.
func (k *Keyring) Expire(today calendar.Day) {
	if k.elapsed == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.elapsed()
	for id, key := range k.days {
		if !k.fresh(key, now) || now.Sub(key.lastUse()) > k.lifetime {
			k.drop(id)
		}
	}
	for stream, d := range k.current {
		if d.day != today && now.Sub(d.key.lastUse()) > k.lifetime {
			k.stopSealing(stream)
		}
	}
}

// fresh reports whether a key is as good as asked for now. It must be called with mu held, for reading at least.
func (k *Keyring) fresh(key *dayKey, now time.Time) bool {
	return k.elapsed == nil || now.Sub(key.asked) <= k.lifetime || now.Sub(k.followed) <= k.lifetime
}

// now is the time by which keys age; zero if they do not.
func (k *Keyring) now() time.Time {
	if k.elapsed == nil {
		return time.Time{}
	}
	return k.elapsed()
}

// usedAt notes a use.
func (d *dayKey) usedAt(now time.Time) { d.last.Store(int64(now.Sub(d.asked))) }

func (d *dayKey) lastUse() time.Time { return d.asked.Add(time.Duration(d.last.Load())) }
