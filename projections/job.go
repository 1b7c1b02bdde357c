package projections

import (
	"context"
	"errors"
	"fmt"

	"kiroku/domain/event"
	"kiroku/domain/keyring"
	"kiroku/domain/ledger"
)

// job is some consecutive events on their way to being Opened. Only one
// goroutine works on it at a time; done says when the first attempt is over.
type job struct {
	events   []ledger.Event
	caughtUp bool // the end of the stream was reached after these events
	done     chan struct{}

	proven []proven
	opened []Opened // as far as it got
	err    error    // why it got no further
}

// run verifies and opens what is not yet verified and opened.
func (j *job) run(ctx context.Context, trust Trust, opener Opener) {
	j.err = nil
	if j.proven == nil {
		j.proven, j.err = prove(j.events, trust.SigningKeys())
		j.opened = make([]Opened, 0, len(j.events))
	}
	for j.err == nil && len(j.opened) < len(j.events) {
		i := len(j.opened)
		var o Opened
		if o, j.err = open(ctx, opener, &j.events[i], &j.proven[i]); j.err == nil {
			j.opened = append(j.opened, o)
		}
	}
}

func open(ctx context.Context, opener Opener, e *ledger.Event, p *proven) (Opened, error) {
	o := Opened{Event: *e, Header: p.header, HeaderBytes: p.bytes}
	if !p.header.Sealed() {
		if event.ClassOf(e.Type) != event.ClassPlain {
			return o, finding(e.Stream, e.Revision, ledger.KindFieldMismatch, "a "+e.Type+" event is not encrypted")
		}
		o.Payload = e.Data
		return o, nil
	}
	var err error
	o.Payload, err = opener.Open(ctx, p.header, e.Data)
	switch {
	case errors.Is(err, keyring.ErrShredded):
		o.Payload, o.Unreadable = nil, true
		return o, nil
	case errors.Is(err, keyring.ErrWrongKey):
		return o, &HaltError{Stream: e.Stream, Revision: e.Revision, Err: err}
	case err != nil:
		return o, fmt.Errorf("open %s of %s@%d: %w", e.Type, e.Stream, e.Revision, err)
	}
	if err := o.decode(); err != nil {
		return o, &HaltError{Stream: e.Stream, Revision: e.Revision, Err: err}
	}
	return o, nil
}

// HaltError says that a stream is not followed beyond a revision. It is final
// until the projection is rebuilt or the process starts again.
type HaltError struct {
	Stream   string
	Revision uint64
	Err      error // a *ledger.Finding, or wraps keyring.ErrWrongKey, event.ErrMalformed or ErrGap
}

func (h *HaltError) Error() string {
	return fmt.Sprintf("stream %s is halted at revision %d: %v", h.Stream, h.Revision, h.Err)
}

// Unwrap returns the cause.
func (h *HaltError) Unwrap() error { return h.Err }

// halting returns the HaltError for an error that no repetition mends, else nil.
func halting(err error, stream string, revision uint64) *HaltError {
	var halt *HaltError
	if errors.As(err, &halt) {
		return halt
	}
	var f *ledger.Finding
	if errors.As(err, &f) {
		return &HaltError{Stream: f.Stream, Revision: f.Revision, Err: err}
	}
	if errors.Is(err, event.ErrMalformed) || errors.Is(err, ErrGap) {
		return &HaltError{Stream: stream, Revision: revision, Err: err}
	}
	return nil
}

// awaitsRegistry reports a finding that the registry may yet clear up: a key or
// a truncation that this process has not learned of.
func awaitsRegistry(err error) bool {
	var f *ledger.Finding
	return errors.As(err, &f) && (f.Kind == ledger.KindUnknownKey || f.Kind == ledger.KindStartNotTrusted)
}
