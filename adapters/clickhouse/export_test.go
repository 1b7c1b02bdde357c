package clickhouse

import (
	"context"
	"time"
)

// Exec runs a statement of the writer.
func (d *DB) Exec(ctx context.Context, statement string) error { return d.exec(ctx, statement) }

// StatementsOn are all changes to the tables as a cluster gets them.
func StatementsOn(cluster string) (all []string) {
	s := schema{database: "statistics", state: "statistics_state", cluster: cluster}
	for _, m := range migrations {
		all = append(all, m.statements(s)...)
	}
	return all
}

// Quote writes a text as SQL.
func Quote(text string) string { return quote(text) }

// AuditNow audits, whenever that was done last.
func (d *DB) AuditNow(ctx context.Context) {
	d.auditing.mu.Lock()
	d.auditing.last = time.Time{}
	d.auditing.mu.Unlock()
	d.auditing.due.Store(true)
	d.audit(ctx)
}
