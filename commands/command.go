package commands

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
	"kiroku/domain/register"
)

// Meta is what every command carries: who gives it and by which id it is known.
type Meta struct {
	Actor event.Actor
	ID    uuid.UUID // UUIDv7 (RFC 9562 §5.7): its time says when the command was made
}

// Errors of commands. Nothing was done in any of these cases.
var (
	ErrInvalid    = errors.New("invalid command")
	ErrConflict   = errors.New("conflict: a command with this id but another content was executed before")
	ErrTooOld     = errors.New("the command's id is older than seven days; make the command anew with a fresh id")
	ErrNotAllowed = errors.New("the actor may not do this")
	ErrNotFound   = errors.New("not found")
	// ErrClockMoved: what is recorded now would bear a wrong time, and a lapse may come too early.
	ErrClockMoved = errors.New("the clock was moved while the core ran; put it right, then restart the core")
)

const (
	// Remembered is how long a command may be repeated.
	Remembered = 7 * 24 * time.Hour
	// MaxAhead is how far a command's id may lie in the future: clocks differ.
	MaxAhead = 5 * time.Minute
	maxName  = 128
)

// call is a command that was checked, on its way.
type call struct {
	meta   Meta
	key    uuid.UUID // (actor, id)
	digest [16]byte
	unseen *unseen
}

// unseen is that the view of a line did not know a call, and when that was.
type unseen struct {
	by       *line
	position uint64
}

// check refuses a command that cannot be remembered, that nobody gave, or that is given to a core that stands by.
func (c *Core) check(m Meta) error {
	a := m.Actor
	switch {
	case a.Identity == "" || utf8.RuneCountInString(a.Identity) > maxName:
		return fmt.Errorf("actor without an identity of 1 to %d characters: %w", maxName, ErrInvalid)
	case a.Role == "" || utf8.RuneCountInString(a.Role) > maxName:
		return fmt.Errorf("actor without a role of 1 to %d characters: %w", maxName, ErrInvalid)
	case len(a.RequestID) > maxName || len(a.Agency) > maxName:
		return fmt.Errorf("request id or agency of more than %d octets: %w", maxName, ErrInvalid)
	case m.ID.Version() != 7 || m.ID.Variant() != uuid.RFC4122:
		return fmt.Errorf("command id is not a UUIDv7 (RFC 9562): %w", ErrInvalid)
	}
	if err := c.writer(); err != nil { // before the clock is asked: this one's may be why it stands by
		return err
	}
	if err := c.d.Steady(); err != nil {
		return err
	}
	made := idTime(m.ID)
	now := c.d.Now()
	if now.Sub(made) > Remembered {
		return fmt.Errorf("command of %s: %w", made.Format(time.DateTime), ErrTooOld)
	}
	if made.Sub(now) > MaxAhead {
		if err := c.clockBack(now); err != nil {
			return err
		}
		return fmt.Errorf("command id of %s lies in the future: check the clock of the client: %w", made.Format(time.DateTime), ErrInvalid)
	}
	return nil
}

// clockBack says that this core's clock, and not a client's, is wrong: it stands before the end of a stream.
func (c *Core) clockBack(now time.Time) error {
	for _, h := range c.Heads() {
		if now.Before(h.Time.Add(-sequencer.ClockTolerance)) {
			return fmt.Errorf("now %s, last event of stream %s %s: %w", now.UTC().Format(time.RFC3339), h.Stream, h.Time.Format(time.RFC3339), sequencer.ErrClockBack)
		}
	}
	return nil
}

// checkAs is check for commands of one role.
func (c *Core) checkAs(m Meta, role string) error {
	if err := c.check(m); err != nil {
		return err
	}
	return mustBe(m.Actor, role)
}

// idTime is the time of a UUIDv7.
func idTime(id uuid.UUID) time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}

func newCall(m Meta, digest [16]byte) call {
	return call{meta: m, key: event.CommandKey(m.Actor.Identity, m.ID), digest: digest, unseen: &unseen{}}
}

// command is how the call stands in a payload.
func (x call) command() event.Command {
	return event.Command{ID: x.meta.ID, Actor: x.meta.Actor, Digest: x.digest[:]}
}

// aad of the index-th event of the call in a stream.
func (x call) aad(stream, eventType string, index int, at time.Time) ledger.AAD {
	return ledger.AAD{Stream: stream, ID: event.IDOf(x.key, index), Type: eventType, Time: at}
}

// repeated says that the call was executed before, and where.
type repeated struct{ ref register.Reference }

func (*repeated) Error() string { return "the command was executed before" }

// before reports by a *repeated or ErrConflict that the call was executed before. It runs in decisions,
// and ahead of them to save work.
func (l *line) before(x call) error {
	id := event.IDOf(x.key, 0)
	ref, ok := l.refs.Get(id)
	if !ok && !(x.unseen.by == l && l.refs.Covers(x.unseen.position)) {
		position := l.refs.Position()
		var err error
		if ref, ok, err = l.seen(id); err != nil {
			return fmt.Errorf("look the command up: %w", err)
		}
		if !ok {
			*x.unseen = unseen{by: l, position: position}
		}
	}
	switch {
	case !ok:
		return nil
	case ref.Digest != x.digest:
		return ErrConflict
	}
	return &repeated{ref}
}

// confirm spares a call that was executed before the work of preparing it: it gives a *repeated, once that
// is durable, or ErrConflict; nil for a new call.
func (l *line) confirm(ctx context.Context, x call) error {
	if err := l.before(x); err == nil {
		return nil
	}
	_, err := l.submit(ctx, x, func(uint64) ([]ledger.Draft, error) { return nil, nil })
	return err
}

// remember enters the call as executed at a revision.
func (l *line) remember(next uint64, x call, eventType string, at time.Time) {
	l.refs.Put(next, event.IDOf(x.key, 0), register.Reference{Stream: l.stream, Revision: next, Type: eventType, Digest: x.digest, At: at})
}

// submit decides a call on its stream. compose runs on the sequencer's goroutine after it is known that the
// call is new. A call executed before gives a *repeated when its event is durable.
func (l *line) submit(ctx context.Context, x call, compose func(next uint64) ([]ledger.Draft, error)) (uint64, error) {
	return l.seq.Submit(ctx, func(next uint64) ([]ledger.Draft, error) {
		if !l.taking() {
			return nil, sequencer.ErrNotWriter // between a takeover of this stream and of all the others
		}
		if err := l.before(x); err != nil {
			return nil, err
		}
		if l.refs.Len() >= maxPending {
			return nil, fmt.Errorf("the view of stream %s is %d commands behind: %w", l.stream, maxPending, sequencer.ErrOverloaded)
		}
		drafts, err := compose(next)
		if err == nil && len(drafts) > 0 {
			l.remember(next, x, drafts[0].Type, drafts[0].Time)
		}
		return drafts, err
	})
}

// notOpened marks with again what the keyring could not open now; what was destroyed or tampered with is not worth repeating.
func notOpened(err, again error) error {
	if errors.Is(err, keyring.ErrShredded) || errors.Is(err, keyring.ErrWrongKey) {
		return err
	}
	return fmt.Errorf("%w: %w", again, err)
}

// replay reads the event of a repeated call again. The store is not believed: the event must verify, stand where the
// reference says, and be this call's.
func replay[T any](ctx context.Context, c *Core, x call, ref register.Reference) (T, error) {
	var zero T
	events, err := c.d.Store.ReadForward(ctx, ref.Stream, ref.Revision, 1)
	if err != nil {
		return zero, fmt.Errorf("read the outcome of the repeated command at %s@%d: %w: %w", ref.Stream, ref.Revision, sequencer.ErrOutcomeOpen, err)
	}
	if len(events) != 1 || events[0].Revision != ref.Revision || events[0].Type != ref.Type {
		return zero, fmt.Errorf("the outcome of the repeated command is not at %s@%d: run `kiroku verify`", ref.Stream, ref.Revision)
	}
	checked, err := ledger.CheckEvent(events[0], c.d.Keys())
	if err != nil {
		return zero, fmt.Errorf("outcome of the repeated command at %s@%d: %w", ref.Stream, ref.Revision, err)
	}
	header := checked.Header
	if header.Stream != ref.Stream || header.ID != event.IDOf(x.key, 0) {
		return zero, fmt.Errorf("another command's event stands at %s@%d: run `kiroku verify`", ref.Stream, ref.Revision)
	}
	plain, err := c.d.Keyring.Open(ctx, header, events[0].Data)
	if err != nil {
		return zero, notOpened(err, sequencer.ErrOutcomeOpen)
	}
	if header.Sealed() {
		defer clear(plain)
	}
	return event.Decode[T](plain)
}
