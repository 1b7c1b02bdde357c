package hsm

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

// sentinelMessage is what the sentinel key authenticates. The code of it tells
// one sentinel key from another and nothing about any other key.
const sentinelMessage = "kiroku/sentinel/1"

// sentinelSize is the length of one token's check value in bytes.
const sentinelSize = 32

// sentinelValue is the check value a token has to answer with. It is given by
// the configuration, or learnt from the first answer.
type sentinelValue struct {
	mu    sync.Mutex
	known []byte // guarded by mu; nil: not known yet
}

// admit learns the first value and compares every later one.
func (v *sentinelValue) admit(value []byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil {
		v.known = bytes.Clone(value)
		return true
	}
	return bytes.Equal(v.known, value)
}

func (v *sentinelValue) get() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.known)
}

// prove makes the sentinel answer in this session. The handle is looked up
// anew: a cached one would prove nothing about what can be found here.
func (s *session) prove() error {
	found, err := s.findObject(object{LabelSentinel, pkcs11.CKO_SECRET_KEY})
	if err != nil {
		return fmt.Errorf("%w: %w", errNotProved, err)
	}
	return s.proveBy(found)
}

// proveBy makes the sentinel answer that was just found in this session.
func (s *session) proveBy(found []pkcs11.ObjectHandle) error {
	if len(found) != 1 {
		return fmt.Errorf("%w: it holds %d sentinel keys, not one; it is not the token this ledger was made with, or it is empty: put the right token back",
			errNotProved, len(found))
	}
	if _, err := s.examine(found[0], LabelSentinel, shapes[kindMAC]); err != nil {
		return err
	}
	value := make([]byte, sentinelSize)
	if err := s.mac(found[0], []byte(sentinelMessage), value); err != nil {
		return fmt.Errorf("%w: %w", errNotProved, err)
	}
	if !s.pinned.admit(value) {
		return fmt.Errorf("%w: the token is not the one this ledger was made with (its sentinel answers otherwise): put the right token back", errNotProved)
	}
	return nil
}
