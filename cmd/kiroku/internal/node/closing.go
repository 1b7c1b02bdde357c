package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/views"
	"kiroku/commands"
	"kiroku/commands/sequencer"
	"kiroku/domain/register"
)

// The views are closed last, and a command that is then still being prepared finds them closed. It has done nothing yet:
// what it is told is what all commands are told that come when the core shuts down.

func closing(err error) error {
	if errors.Is(err, views.ErrClosed) {
		return fmt.Errorf("%w: %w", sequencer.ErrClosed, err)
	}
	return err
}

// commandView finds commands in a view.
type commandView func(uuid.UUID) (register.Reference, bool, error)

func (f commandView) closing(id uuid.UUID) (register.Reference, bool, error) {
	r, ok, err := f(id)
	return r, ok, closing(err)
}

type registryView struct{ commands.Registry }

func (v registryView) Command(id uuid.UUID) (register.Reference, bool, error) {
	return commandView(v.Registry.Command).closing(id)
}

type registerView struct{ commands.Register }

func (v registerView) ByManagement(k register.Key) (register.Resolution, bool, error) {
	r, ok, err := v.Register.ByManagement(k)
	return r, ok, closing(err)
}

func (v registerView) ByLinkage(k register.Key) (register.Holder, bool, error) {
	h, ok, err := v.Register.ByLinkage(k)
	return h, ok, closing(err)
}

func (v registerView) Subject(id register.SubjectID) (register.Sealed, bool, error) {
	s, ok, err := v.Register.Subject(id)
	return s, ok, closing(err)
}

func (v registerView) People(from []byte, limit int) ([][]byte, []byte, error) {
	headers, next, err := v.Register.People(from, limit)
	return headers, next, closing(err)
}

func (v registerView) Command(id uuid.UUID) (register.Reference, bool, error) {
	return commandView(v.Register.Command).closing(id)
}

type inquiriesView struct{ commands.Inquiries }

func (v inquiriesView) Standing(n uuid.UUID) (register.Standing, bool, error) {
	s, ok, err := v.Inquiries.Standing(n)
	return s, ok, closing(err)
}

func (v inquiriesView) OpenFor(ctx context.Context, provider string, limit int) ([]register.Standing, error) {
	open, err := v.Inquiries.OpenFor(ctx, provider, limit)
	return open, closing(err)
}

func (v inquiriesView) Command(id uuid.UUID) (register.Reference, bool, error) {
	return commandView(v.Inquiries.Command).closing(id)
}

type recordsView struct{ from commands.Records }

func (v recordsView) Records(k register.Key, from, to time.Time, limit int) ([]register.Sealed, error) {
	s, err := v.from.Records(k, from, to, limit)
	return s, closing(err)
}
