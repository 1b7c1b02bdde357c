package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"kiroku/adapters/admin"
	"kiroku/commands"
	"kiroku/domain/approval"
	"kiroku/domain/event"
)

// order is what every command to a running core carries. Whoever has the
// endpoint's token, which the operating system guards, gives commands under
// their own name.
type order struct {
	Command  uuid.UUID `json:"command"` // UUIDv7
	Identity string    `json:"identity"`
}

func (o order) meta(role string) commands.Meta {
	return commands.Meta{ID: o.Command, Actor: event.Actor{Identity: o.Identity, Role: role}}
}

// orderFlags are the flags of every command to a running core.
type orderFlags struct {
	ID uuid.UUID `name:"id" placeholder:"UUID" help:"Give a command again whose outcome is not known, by the id that was shown then."`
}

// order names the command: a new one, or the one that is given again.
func (f *orderFlags) order() (order, error) {
	identity, err := signedIn()
	if err != nil {
		return order{}, err
	}
	if f.ID == uuid.Nil {
		if f.ID, err = uuid.NewV7(); err != nil {
			return order{}, fmt.Errorf("making the command's id: %w", err)
		}
	}
	return order{f.ID, identity}, nil
}

// give has the core execute a command. Where nobody knows what came of it, the
// error says how to find out.
func (f *orderFlags) give(c *call, client *admin.Client, path string, order, answer any) error {
	err := client.Call(c.ctx, http.MethodPost, path, order, answer)
	var refused *admin.RefusedError
	if err == nil || errors.As(err, &refused) && refused.Status < http.StatusInternalServerError {
		return err
	}
	return fmt.Errorf("%w; whether it was done is not known: give the same command again with --id %s, which does it once only", err, f.ID)
}

// handleOrders answers commands of one kind.
func handleOrders[T any](endpoint *admin.Server, pattern string, do func(context.Context, *http.Request, T) (any, error)) {
	endpoint.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var given T
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&given); err != nil {
			admin.Fail(w, http.StatusBadRequest, errors.New("the body is no such command"))
			return
		}
		answer, err := do(r.Context(), r, given)
		if err != nil {
			admin.Fail(w, statusOf(err), err)
			return
		}
		admin.Answer(w, http.StatusOK, answer)
	}))
}

// statusOf tells a command that was refused from one that can be tried again.
func statusOf(err error) int {
	for _, s := range []struct {
		status int
		errs   []error
	}{
		{http.StatusBadRequest, []error{commands.ErrInvalid, commands.ErrTooOld, approval.ErrHash, approval.ErrAuthorities,
			approval.ErrEnding, approval.ErrNobodyShown}},
		{http.StatusForbidden, []error{commands.ErrNotAllowed, approval.ErrCertificate, approval.ErrSignature, approval.ErrNoAuthorities, approval.ErrDevelopment}},
		{http.StatusNotFound, []error{commands.ErrNotFound}},
		{http.StatusConflict, []error{
			commands.ErrConflict, commands.ErrOtherKind, commands.ErrRotating, commands.ErrDestroyed, commands.ErrNotInForce, commands.ErrNotCertified,
			commands.ErrKeyThere, commands.ErrNotOver, commands.ErrHeld, commands.ErrNotLost,
			approval.ErrApproved, approval.ErrExpired, approval.ErrSameKey, approval.ErrSameOfficial,
			approval.ErrNotInForce, approval.ErrSameSet, commands.ErrCopyConfigured,
		}},
	} {
		for _, is := range s.errs {
			if errors.Is(err, is) {
				return s.status
			}
		}
	}
	if unreadable(err) {
		return http.StatusBadRequest
	}
	return http.StatusServiceUnavailable
}
