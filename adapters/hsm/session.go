package hsm

import (
	"fmt"
	"slices"
	"sync"

	"github.com/miekg/pkcs11"
)

// object names a key object of the token.
type object struct {
	label string
	class uint
}

// connection is one login to a token, good until the module is initialised
// again or the token is gone.
type connection struct {
	generation uint64
	slot       uint
	// anchor is never used for an operation: while it is open the login holds,
	// whatever happens to the other sessions.
	anchor pkcs11.SessionHandle

	mu      sync.Mutex
	idle    []pkcs11.SessionHandle         // guarded by mu
	retired bool                           // guarded by mu; takes no session back
	handles map[object]pkcs11.ObjectHandle // guarded by mu; attributes were examined
	flags   map[object]examination         // guarded by mu
	settled map[object]pkcs11.ObjectHandle // guarded by mu; found or made, and known to be durable
}

func (c *connection) settle(o object, h pkcs11.ObjectHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settled == nil {
		c.settled = map[object]pkcs11.ObjectHandle{}
	}
	c.settled[o] = h
}

func (c *connection) settledAt(o object) (pkcs11.ObjectHandle, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.settled[o]
	return h, ok
}

// examination is what the attributes of a key were.
type examination struct {
	handle pkcs11.ObjectHandle
	flags  map[string]bool
}

// examined returns the attributes of a key, nil if it was not examined under this handle.
func (c *connection) examined(o object, h pkcs11.ObjectHandle) map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.flags[o]; e.handle == h {
		return e.flags
	}
	return nil
}

func (c *connection) keep(o object, h pkcs11.ObjectHandle, flags map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flags == nil {
		c.flags = map[object]examination{}
	}
	c.flags[o] = examination{h, flags}
}

// forgetFlags has all keys examined anew.
func (c *connection) forgetFlags() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flags = nil
}

func (c *connection) takeIdle() (pkcs11.SessionHandle, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle)
	if n == 0 {
		return 0, false
	}
	h := c.idle[n-1]
	c.idle = c.idle[:n-1]
	return h, true
}

// giveBack reports whether the connection still wants the session.
func (c *connection) giveBack(h pkcs11.SessionHandle) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.retired {
		c.idle = append(c.idle, h)
	}
	return !c.retired
}

// retire returns the sessions to close, the anchor last.
func (c *connection) retire() []pkcs11.SessionHandle {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append(c.idle, c.anchor)
	c.idle, c.retired = nil, true
	return all
}

func (c *connection) handle(o object) (pkcs11.ObjectHandle, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.handles[o]
	return h, ok
}

func (c *connection) remember(o object, h pkcs11.ObjectHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handles[o] = h
}

// forget drops the handles of a label, or all for "".
func (c *connection) forget(label string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for o := range c.handles {
		if label == "" || o.label == label {
			delete(c.handles, o)
		}
	}
	for o := range c.flags {
		if label == "" || o.label == label {
			delete(c.flags, o)
		}
	}
	for o := range c.settled {
		if label == "" || o.label == label {
			delete(c.settled, o)
		}
	}
}

// session is an open session with the login in effect, used by one goroutine.
// All C calls on it happen while the module's calls lock is held for reading.
type session struct {
	api    cryptoki
	conn   *connection
	handle pkcs11.SessionHandle
	calls  *counters
	pinned *sentinelValue
}

// find returns the handles of all objects that match.
func (s *session) find(template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	s.calls.find.Add(1)
	if err := s.api.FindObjectsInit(s.handle, template); err != nil {
		return nil, call("C_FindObjectsInit", err)
	}
	var found []pkcs11.ObjectHandle
	for {
		part, _, err := s.api.FindObjects(s.handle, 256)
		if err != nil {
			return nil, call("C_FindObjects", err)
		}
		found = append(found, part...)
		if len(part) == 0 {
			break
		}
	}
	return found, call("C_FindObjectsFinal", s.api.FindObjectsFinal(s.handle))
}

func (s *session) findObject(o object) ([]pkcs11.ObjectHandle, error) {
	return s.find(
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, o.label),
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, o.class),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))
}

// key returns the handle of a key that was examined. ErrNoKey only after the
// sentinel answered in this session.
func (s *session) key(label string, k kind) (pkcs11.ObjectHandle, error) {
	o := object{label, shapes[k].class}
	if h, ok := s.conn.handle(o); ok {
		return h, nil
	}
	found, err := s.findObject(o)
	if err != nil {
		return 0, err
	}
	switch len(found) {
	case 0:
		if err := s.prove(); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%w: %q", ErrNoKey, label)
	case 1:
	default:
		return 0, fmt.Errorf("%w: %d keys are labelled %q; keep the one that made what is stored and remove the others",
			ErrDuplicate, len(found), label)
	}
	if _, err := s.examine(found[0], label, shapes[k]); err != nil {
		return 0, err
	}
	s.conn.remember(o, found[0])
	return found[0], nil
}

// examine reads and asserts the attributes of a key.
func (s *session) examine(h pkcs11.ObjectHandle, label string, sh shape) (map[string]bool, error) {
	attributes, err := s.attributes(h, sh.queries())
	if err != nil {
		return nil, fmt.Errorf("reading the attributes of key %q: %w", label, err)
	}
	return sh.examine(label, attributes)
}

func (s *session) attributes(h pkcs11.ObjectHandle, queries []*pkcs11.Attribute) ([]*pkcs11.Attribute, error) {
	found, err := s.api.GetAttributeValue(s.handle, h, queries)
	if isCode(err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID) {
		found, err = s.api.GetAttributeValue(s.handle, h, withoutMechanisms(queries))
	}
	return found, call("C_GetAttributeValue", err)
}

// withoutMechanisms serves tokens that do not know CKA_ALLOWED_MECHANISMS.
func withoutMechanisms(t []*pkcs11.Attribute) []*pkcs11.Attribute {
	return slices.DeleteFunc(slices.Clone(t), func(a *pkcs11.Attribute) bool {
		return a.Type == pkcs11.CKA_ALLOWED_MECHANISMS
	})
}

// mac computes HMAC-SHA256 into out, which has 32 bytes.
func (s *session) mac(h pkcs11.ObjectHandle, message, out []byte) error {
	s.calls.hmac.Add(1)
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_SHA256_HMAC, nil)}
	if err := s.api.SignInit(s.handle, mechanism, h); err != nil {
		return call("C_SignInit", err)
	}
	tag, err := s.api.Sign(s.handle, message)
	if err != nil {
		return call("C_Sign", err)
	}
	defer clear(tag)
	if len(tag) != len(out) {
		return fmt.Errorf("C_Sign: the code has %d bytes, not %d", len(tag), len(out))
	}
	copy(out, tag)
	return nil
}

// close ends the session; what it fails to close the next initialise ends.
func (s *session) close() { _ = s.api.CloseSession(s.handle) }

// generate makes a key of a label, and the public half of a pair. It returns
// the handles of what it made.
func (s *session) generate(label string, sh shape, rsaBits int) ([]pkcs11.ObjectHandle, error) {
	s.calls.generate.Add(1)
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(sh.generate, nil)}
	private := sh.template(label)
	made, err := s.generateWith(mechanism, label, sh, private, rsaBits)
	if isCode(err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID) {
		made, err = s.generateWith(mechanism, label, sh, withoutMechanisms(private), rsaBits)
	}
	return made, err
}

func (s *session) generateWith(m []*pkcs11.Mechanism, label string, sh shape, private []*pkcs11.Attribute, rsaBits int) ([]pkcs11.ObjectHandle, error) {
	if sh.pair() {
		pub, priv, err := s.api.GenerateKeyPair(s.handle, m, sh.publicTemplate(label, rsaBits), private)
		return []pkcs11.ObjectHandle{pub, priv}, call("C_GenerateKeyPair", err)
	}
	h, err := s.api.GenerateKey(s.handle, m, private)
	return []pkcs11.ObjectHandle{h}, call("C_GenerateKey", err)
}

// destroy removes every object of a label and class.
func (s *session) destroy(o object) error {
	found, err := s.findObject(o)
	if err != nil {
		return err
	}
	for _, h := range found {
		s.calls.destroy.Add(1)
		err := s.api.DestroyObject(s.handle, h)
		if err != nil && !isCode(err, pkcs11.CKR_OBJECT_HANDLE_INVALID) {
			return call("C_DestroyObject", err)
		}
	}
	return nil
}
