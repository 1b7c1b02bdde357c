package main

import (
	"encoding/json"
	"errors"
	"net/http"

	"kiroku/adapters/admin"
	"kiroku/commands"
	"kiroku/domain/event"
)

// registerBackups lets the endpoint anchor the ledger and record what is done
// with backups. Whoever has the endpoint's token, which the operating system
// guards, acts in the backup role here, under their own name.
func registerBackups(endpoint *admin.Server, core *Core) {
	endpoint.Handle("POST /anchors", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := core.Node.Anchor(r.Context()); err != nil {
			admin.Fail(w, http.StatusServiceUnavailable, err)
			return
		}
		anchor, ok := core.Node.Registry.LastAnchor()
		if !ok {
			admin.Fail(w, http.StatusServiceUnavailable, errors.New("the ledger has no anchor yet"))
			return
		}
		admin.Answer(w, http.StatusOK, anchorAnswer{anchor.Revision, anchor.Leaf.String()})
	}))
	endpoint.Handle("POST /backups", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var order backupOrder
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
			admin.Fail(w, http.StatusBadRequest, errors.New("this is no order for a backup"))
			return
		}
		of, err := order.event()
		if err != nil {
			admin.Fail(w, http.StatusBadRequest, err)
			return
		}
		meta := commands.Meta{ID: order.Command, Actor: event.Actor{Identity: order.Identity, Role: commands.RoleBackup}}
		err = core.Node.Core.RecordBackup(r.Context(), commands.RecordBackup{Meta: meta, Operation: order.Operation, Backup: of})
		switch {
		case errors.Is(err, commands.ErrInvalid), errors.Is(err, commands.ErrNotAllowed), errors.Is(err, commands.ErrConflict), errors.Is(err, commands.ErrTooOld):
			admin.Fail(w, http.StatusUnprocessableEntity, err)
		case err != nil:
			admin.Fail(w, http.StatusServiceUnavailable, err)
		default:
			admin.Answer(w, http.StatusOK, map[string]string{"recorded": order.Operation})
		}
	}))
}
