package hsm

import (
	"context"
	"fmt"
	"os"
	"unsafe"

	"kiroku/domain/secret"

	"github.com/miekg/pkcs11"
)

// connected returns the connection, or makes one. Of several callers one
// connects and the others wait for it; while the back-off lasts all get the
// last failure at once.
func (t *token) connected(ctx context.Context) (*connection, error) {
	if t.closed.Load() {
		return nil, ErrClosed
	}
	if conn := t.conn.Load(); conn != nil {
		return conn, nil
	}
	if err := take(ctx, t.connecting); err != nil {
		return nil, fmt.Errorf("waiting for token %q: %w", t.config.Label, err)
	}
	defer func() { <-t.connecting }()
	if conn := t.conn.Load(); conn != nil {
		return conn, nil
	}
	if t.lastErr != nil && t.clock().Before(t.notBefore) {
		return nil, t.lastErr
	}
	conn, err := t.connect()
	if err != nil {
		t.backOff(err)
		return nil, t.lastErr
	}
	t.lastErr, t.pause = nil, 0
	t.conn.Store(conn)
	return conn, nil
}

func (t *token) backOff(err error) {
	t.pause = min(max(2*t.pause, firstPause), longestPause)
	t.notBefore = t.clock().Add(t.pause)
	t.lastErr = unavailable(t.config.Label, err)
}

// connect logs in and judges the token. When the first try fails the module is
// initialised again: SoftHSM, for one, never finds a token again that was away
// for a moment.
func (t *token) connect() (*connection, error) {
	if err := t.mod.renew(t.api, 0); err != nil {
		return nil, err
	}
	conn, err := t.logIn()
	if err == nil {
		return conn, nil
	}
	generation, _ := t.mod.current()
	if err := t.mod.renew(t.api, generation); err != nil {
		return nil, err
	}
	return t.logIn()
}

// logIn opens the anchor session, logs in on it and admits the token.
func (t *token) logIn() (*connection, error) {
	t.mod.calls.RLock()
	defer t.mod.calls.RUnlock()
	if !t.mod.up {
		return nil, errStale
	}
	slot, info, err := t.locate()
	if err != nil {
		return nil, err
	}
	if t.refused != "" && t.refused == info.SerialNumber {
		return nil, t.refusal
	}
	t.refused, t.refusal = "", nil
	anchor, err := t.api.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, call("C_OpenSession", err)
	}
	conn := &connection{generation: t.mod.generation, slot: slot, anchor: anchor,
		handles: map[object]pkcs11.ObjectHandle{}}
	s := t.on(conn, anchor)
	err = t.authenticate(s)
	if pinRefused(err) {
		t.refused = info.SerialNumber
		err = fmt.Errorf("%w; correct the PIN file %s and restart: the PIN is not tried again, lest the token lock itself", err, t.config.PINFile)
		t.refusal = err
	}
	if err == nil {
		err = t.admit(s)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return conn, nil
}

// locate finds the slot of the token by its label.
func (t *token) locate() (uint, pkcs11.TokenInfo, error) {
	slots, err := t.api.GetSlotList(true)
	if err != nil {
		return 0, pkcs11.TokenInfo{}, call("C_GetSlotList", err)
	}
	var slot uint
	var info pkcs11.TokenInfo
	matches := 0
	for _, candidate := range slots {
		// A slot whose token was taken away answers with an error; the token
		// sought may be in another.
		i, err := t.api.GetTokenInfo(candidate)
		if err != nil || i.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 || i.Label != t.config.Label {
			continue
		}
		slot, info = candidate, i
		matches++
	}
	switch matches {
	case 0:
		return 0, info, fmt.Errorf("%w; it may be away, or its directory or device unreachable", errNoToken)
	case 1:
		return slot, info, nil
	}
	return 0, info, fmt.Errorf("%d tokens bear the label; take away all but the right one", matches)
}

func (t *token) authenticate(s *session) error {
	pin, err := readPIN(t.config.PINFile, t.config.User)
	if err != nil {
		return err
	}
	defer pin.Destroy()
	err = s.api.Login(s.handle, pkcs11.CKU_USER, exposeString(pin))
	// Another HSM of this process holds the login, or a call reported a failure
	// it had not had. The sentinel, a private object, tells the truth next.
	if isCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		return nil
	}
	return call("C_Login", err)
}

// maxPIN bounds a PIN file in bytes.
const maxPIN = 256

// readPIN reads a PIN file into locked memory. The file must be readable by its
// owner alone; the end of a last line is dropped.
func readPIN(path, user string) (*secret.Bytes, error) {
	if path == "" {
		return nil, fmt.Errorf("reading a PIN file: the configuration names none")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a PIN file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading a PIN file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("reading the PIN file %s: others than its owner may read it (mode %04o); chmod 600 it", path, info.Mode().Perm())
	}
	buffer := secret.New(maxPIN)
	defer buffer.Destroy()
	content := buffer.Expose()
	n, err := f.Read(content)
	if err != nil {
		return nil, fmt.Errorf("reading the PIN file %s: %w", path, err)
	}
	for n > 0 && (content[n-1] == '\n' || content[n-1] == '\r') {
		n--
	}
	if n == 0 || n == maxPIN {
		return nil, fmt.Errorf("reading the PIN file %s: a PIN has 1 to %d bytes", path, maxPIN-1)
	}
	if user != "" {
		user += ":"
	}
	pin := secret.New(len(user) + n)
	copy(pin.Expose()[copy(pin.Expose(), user):], content[:n])
	return pin, nil
}

// exposeString shows a PIN as the string that the PKCS#11 binding wants,
// without copying it. It must not outlive the PIN.
func exposeString(pin *secret.Bytes) string {
	b := pin.Expose()
	return unsafe.String(unsafe.SliceData(b), len(b))
}
