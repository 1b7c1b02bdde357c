package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"kiroku/adapters/admin"
	"kiroku/commands"
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
	handleOrders(endpoint, "POST /backups", func(ctx context.Context, _ *http.Request, o backupOrder) (any, error) {
		of, err := o.event()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", commands.ErrInvalid, err)
		}
		err = core.Node.Core.RecordBackup(ctx, commands.RecordBackup{Meta: o.meta(commands.RoleBackup), Operation: o.Operation, Backup: of})
		return map[string]string{"recorded": o.Operation}, err
	})
}
