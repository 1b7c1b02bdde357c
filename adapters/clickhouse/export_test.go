package clickhouse

import "context"

// Exec runs a statement of the writer.
func (d *DB) Exec(ctx context.Context, statement string) error { return d.exec(ctx, statement) }
