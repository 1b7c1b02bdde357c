package hsm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

const (
	// A token that does not answer is tried again after firstPause, then after
	// twice as long each time, up to longestPause. Calls in between fail at once.
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second

	// attempts bound how often one call is tried; a call is tried again only
	// after the connection was found or made good.
	attempts = 3
	// staleAttempts bound how often a call steps aside for other tokens that
	// initialise the module again.
	staleAttempts = 64

	// A second key of a label is looked at this often before it is an error.
	duplicatePatience = 10
	duplicatePause    = 20 * time.Millisecond
)

// token is a token of a module, for all purposes that name it.
type token struct {
	config TokenConfig
	mod    *module
	api    cryptoki
	clock  func() time.Time
	calls  counters
	pinned sentinelValue

	permits chan struct{} // one for each session in use
	closed  atomic.Bool
	conn    atomic.Pointer[connection] // nil while down

	// admit judges the token of a new connection. Only setUp changes it, of an
	// HSM that nobody else has yet.
	admit func(*session) error

	connecting chan struct{} // holds one permit; its holder owns the fields below
	pause      time.Duration
	notBefore  time.Time
	lastErr    error
	refused    string // serial number of the token that refused the PIN
	refusal    error  // what it said

	lock    string        // path of the lock file, or ""
	files   flusher       // used by the holder of keeping
	keeping chan struct{} // one permit: making and destroying keys, one at a time
}

func newToken(at TokenConfig, config Config) (*token, error) {
	mod, err := loadModule(at.Module)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	t := &token{
		config: at, mod: mod, api: mod.api, clock: config.Clock, lock: config.LockFile,
		files:      flusher{dir: config.TokenFiles},
		permits:    make(chan struct{}, config.Sessions),
		admit:      (*session).prove,
		connecting: make(chan struct{}, 1),
		keeping:    make(chan struct{}, 1),
	}
	if config.wrap != nil {
		t.api = config.wrap(mod.api)
	}
	return t, nil
}

// take waits for a permit no longer than ctx lives.
func take(ctx context.Context, permits chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case permits <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// use runs f on a session of the pool. f may run more than once and must give
// the same result each time.
func (t *token) use(ctx context.Context, f func(*session) error) error {
	return t.retry(ctx, func(c *connection) error { return t.pooled(c, f) })
}

// keep runs f on a read-write session of its own, for making and destroying
// keys. One f runs at a time, over all processes that share the lock file.
func (t *token) keep(ctx context.Context, f func(*session) error) error {
	if err := take(ctx, t.keeping); err != nil {
		return fmt.Errorf("waiting to change keys of token %q: %w", t.config.Label, err)
	}
	defer func() { <-t.keeping }()
	unlock, err := lockFile(ctx, t.lock)
	if err != nil {
		return err
	}
	defer unlock()
	if err := t.retry(ctx, func(c *connection) error { return t.readWrite(c, f) }); err != nil {
		return err
	}
	// Also where f found nothing to change: an earlier change may have failed
	// to become durable.
	return t.files.flush()
}

// retry runs f with a connection that holds, and again after a repair.
func (t *token) retry(ctx context.Context, f func(*connection) error) error {
	if err := take(ctx, t.permits); err != nil {
		return fmt.Errorf("waiting for a session with token %q: %w", t.config.Label, err)
	}
	defer func() { <-t.permits }()
	stale, doubles := 0, 0
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		conn, err := t.connected(ctx)
		if err != nil {
			return err
		}
		err = f(conn)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errStale):
			t.conn.CompareAndSwap(conn, nil)
			if stale++; stale >= staleAttempts {
				return unavailable(t.config.Label, err)
			}
			attempt--
			continue
		case errors.Is(err, ErrDuplicate) && doubles < duplicatePatience:
			// Another process may be about to take back the key it made in
			// the same moment; see EnsureKey.
			doubles++
			attempt--
			if err := sleep(ctx, duplicatePause); err != nil {
				return err
			}
			continue
		case !doubtful(err) && !errors.Is(err, errNotProved):
			return err
		case attempt == attempts:
			return unavailable(t.config.Label, err)
		}
		t.repair(conn)
	}
}

// repair keeps a connection whose token still proves itself in a new session
// (then a handle was stale: another process may have destroyed that key), and
// drops it otherwise.
func (t *token) repair(conn *connection) {
	conn.forget("")
	if t.fresh(conn, pkcs11.CKF_SERIAL_SESSION, (*session).prove) == nil {
		return
	}
	t.drop(conn)
}

// drop parts with a connection and closes its sessions, so that a module that
// is not initialised again does not run out of them.
func (t *token) drop(conn *connection) {
	if t.conn.CompareAndSwap(conn, nil) {
		t.hangUp(conn)
	}
}

// pooled runs f on an idle session or a new one. Where f failed the session is
// closed: an operation may still be open on it.
func (t *token) pooled(conn *connection, f func(*session) error) error {
	t.mod.calls.RLock()
	defer t.mod.calls.RUnlock()
	if !t.current(conn) {
		return errStale
	}
	s, err := t.session(conn)
	if err != nil {
		return err
	}
	if err := f(s); err != nil {
		s.close()
		return err
	}
	if !conn.giveBack(s.handle) {
		s.close()
	}
	return nil
}

func (t *token) readWrite(conn *connection, f func(*session) error) error {
	return t.fresh(conn, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION, f)
}

// fresh runs f on a new session, which is closed afterwards.
func (t *token) fresh(conn *connection, flags uint, f func(*session) error) error {
	t.mod.calls.RLock()
	defer t.mod.calls.RUnlock()
	if !t.current(conn) {
		return errStale
	}
	h, err := t.api.OpenSession(conn.slot, flags)
	if err != nil {
		return call("C_OpenSession", err)
	}
	s := t.on(conn, h)
	defer s.close()
	return f(s)
}

// current must be called with the module's calls lock held.
func (t *token) current(conn *connection) bool {
	return t.mod.up && t.mod.generation == conn.generation
}

func (t *token) session(conn *connection) (*session, error) {
	if h, ok := conn.takeIdle(); ok {
		return t.on(conn, h), nil
	}
	h, err := t.api.OpenSession(conn.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, call("C_OpenSession", err)
	}
	return t.on(conn, h), nil
}

func (t *token) on(conn *connection, h pkcs11.SessionHandle) *session {
	return &session{api: t.api, conn: conn, handle: h, calls: &t.calls, pinned: &t.pinned}
}

// close ends all sessions and gives the module back.
func (t *token) close() {
	if t.closed.Swap(true) {
		return
	}
	// With every permit taken, no call is running and none will begin.
	for range cap(t.permits) {
		t.permits <- struct{}{}
	}
	if conn := t.conn.Swap(nil); conn != nil {
		t.hangUp(conn)
	}
	t.mod.release()
	for range cap(t.permits) {
		<-t.permits
	}
}

func (t *token) hangUp(conn *connection) {
	t.mod.calls.RLock()
	defer t.mod.calls.RUnlock()
	if !t.current(conn) {
		return
	}
	for _, h := range conn.retire() {
		_ = t.api.CloseSession(h)
	}
}
