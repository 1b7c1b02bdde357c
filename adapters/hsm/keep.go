package hsm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/miekg/pkcs11"
)

// errContended says that another process made the same key in the same moment.
var errContended = errors.New("another process keeps making the same key")

// contentions is how often two processes may collide over one new key.
const contentions = 8

// EnsureDayKey makes the key of a Japanese calendar day, label
// record/YYYY-MM-DD, where there is none. See EnsureKey.
func (h *HSM) EnsureDayKey(ctx context.Context, label string) error {
	f, _, err := parseLabel(label)
	if err != nil || f.name != dayFamily {
		return fmt.Errorf("making a day key: %w: %q is not %s/YYYY-MM-DD", ErrLabel, label, dayFamily)
	}
	return h.EnsureKey(ctx, label)
}

// EnsureKey makes the key of a label where there is none. That there is none is
// believed only of a token that proved itself in the same session.
//
// Two processes may call it at once. Those of one machine take turns by
// Config.LockFile. Besides, who finds a second key beside the one just made
// takes the own one back, before anybody has used it, and looks again. So all
// callers end with the same key; should a process die between the two steps,
// the two keys left are ErrDuplicate for every user of the label.
//
// Errors: as HMAC. After an error the key may exist; call again.
func (h *HSM) EnsureKey(ctx context.Context, label string) error {
	f, _, err := parseLabel(label)
	if err != nil || f.name == "sentinel" {
		return fmt.Errorf("making a key: %w: %q", ErrLabel, label)
	}
	if err := h.byPurpose[f.purpose].ensure(ctx, label, f.kind, h.jukiBits, (*session).prove); err != nil {
		return fmt.Errorf("making key %q: %w", label, err)
	}
	return nil
}

func (t *token) ensure(ctx context.Context, label string, k kind, rsaBits int, admit func(*session) error) error {
	o := object{label, shapes[k].class}
	if t.stands(ctx, o, k) {
		return nil
	}
	for range contentions {
		var at *connection
		var found pkcs11.ObjectHandle
		err := t.keep(ctx, func(s *session) (err error) {
			at = s.conn
			found, err = s.ensure(label, k, rsaBits, admit, t.lock != "")
			return err
		})
		if err == nil {
			at.settle(o, found)
		}
		if !errors.Is(err, errContended) {
			return err
		}
		if err := sleep(ctx, rand.N(50*time.Millisecond)); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, errContended)
}

// ensure is one attempt, in a read-write session; alone says that no other
// process is making keys in this moment.
func (s *session) ensure(label string, k kind, rsaBits int, admit func(*session) error, alone bool) (pkcs11.ObjectHandle, error) {
	h, err := s.present(label, k)
	if !errors.Is(err, ErrNoKey) {
		return h, err
	}
	if err := admit(s); err != nil {
		return 0, err
	}
	sh := shapes[k]
	if sh.pair() && alone {
		if err := s.clearHalf(label); err != nil {
			return 0, err
		}
	}
	made, err := s.generate(label, sh, rsaBits)
	if err != nil {
		return 0, err
	}
	found, err := s.findObject(object{label, sh.class})
	if err != nil {
		return 0, err
	}
	if len(found) > 1 {
		for _, h := range made {
			s.calls.destroy.Add(1)
			if err := s.api.DestroyObject(s.handle, h); err != nil {
				return 0, call("C_DestroyObject", err)
			}
		}
		return 0, errContended
	}
	if err := s.judge(found, label, sh); err != nil {
		return 0, err
	}
	s.conn.remember(object{label, sh.class}, found[0])
	return found[0], nil
}

// stands reports whether a key that was found or made durable over this connection is there as it was. A search would be
// surer only where somebody made a second key of the label, and takes a token with thousands of keys long.
func (t *token) stands(ctx context.Context, o object, k kind) bool {
	conn := t.conn.Load()
	if conn == nil || shapes[k].pair() {
		return false
	}
	h, settled := conn.settledAt(o)
	return settled && t.use(ctx, func(s *session) error {
		named, err := s.name(h)
		if err != nil || named != o || s.conn != conn {
			return ErrNoKey // whatever it was: it is looked for
		}
		_, err = s.examine(h, o.label, shapes[k])
		return err
	}) == nil
}

// clearHalf removes the public half of a pair that was never completed: SoftHSM
// writes it first, and the process that made the pair may have been killed then.
// Beside the public half of a new pair it would make the label ambiguous.
func (s *session) clearHalf(label string) error {
	left, err := s.findObject(object{label, pkcs11.CKO_PUBLIC_KEY})
	if err != nil {
		return err
	}
	for _, h := range left {
		s.calls.destroy.Add(1)
		if err := s.api.DestroyObject(s.handle, h); err != nil {
			return call("C_DestroyObject", err)
		}
	}
	return nil
}

// present looks a key up without the cache. ErrNoKey here is only what was
// seen; the caller lets the token prove itself.
func (s *session) present(label string, k kind) (pkcs11.ObjectHandle, error) {
	sh := shapes[k]
	found, err := s.findObject(object{label, sh.class})
	if err != nil {
		return 0, err
	}
	if err := s.judge(found, label, sh); err != nil {
		return 0, err
	}
	return found[0], nil
}

// judge requires one key as it must be, with its public half if it is a pair.
func (s *session) judge(found []pkcs11.ObjectHandle, label string, sh shape) error {
	switch len(found) {
	case 0:
		return ErrNoKey
	case 1:
	default:
		return fmt.Errorf("%w: %d keys are labelled %q", ErrDuplicate, len(found), label)
	}
	if _, err := s.examine(found[0], label, sh); err != nil {
		return err
	}
	if !sh.pair() {
		return nil
	}
	public, err := s.findObject(object{label, pkcs11.CKO_PUBLIC_KEY})
	if err == nil && len(public) != 1 {
		return fmt.Errorf("%w: %q has %d public keys for its private one", ErrDuplicate, label, len(public))
	}
	return err
}

// Destroy ends the key of a day or of the vault for good, and verifies that it
// is gone with the sentinel answering in the same session. A key that is gone
// already is no error, so an interrupted destruction can be repeated.
//
// Copies of the token (backups, replicas) are not reached: attesting their end
// is the caller's.
//
// Errors: ErrNotErasable, ErrLabel, ErrUnavailable (the key may or may not be
// gone; call again), or the context's.
func (h *HSM) Destroy(ctx context.Context, label string) error {
	f, _, err := parseLabel(label)
	if err == nil && !f.erasable {
		err = ErrNotErasable
	}
	if err != nil {
		return fmt.Errorf("destroying key %q: %w", label, err)
	}
	t := h.byPurpose[f.purpose]
	err = t.keep(ctx, func(s *session) error {
		defer s.conn.forget(label)
		return s.end(object{label, shapes[f.kind].class})
	})
	if err != nil {
		return fmt.Errorf("destroying key %q: %w", label, err)
	}
	return nil
}

// end destroys an object between two proofs of the token: what is not found
// must be absent, not out of sight.
func (s *session) end(o object) error {
	if err := s.prove(); err != nil {
		return err
	}
	if err := s.destroy(o); err != nil {
		return err
	}
	left, err := s.findObject(o)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("%w: %d keys %q are still there after C_DestroyObject", errNotProved, len(left), o.label)
	}
	return s.prove()
}
