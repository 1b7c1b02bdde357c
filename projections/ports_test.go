package projections_test

import (
	"kiroku/adapters/clickhouse"
	"kiroku/adapters/eventstore"
	"kiroku/adapters/views"
	"kiroku/commands"
	"kiroku/domain/keyring"
	"kiroku/projections"
	"kiroku/projections/dedup"
	"kiroku/projections/disclosure"
	"kiroku/projections/mediation"
	"kiroku/projections/registry"
	"kiroku/projections/statistics"
)

// What is wired together must fit.
var (
	_ projections.View    = (*views.DB)(nil)
	_ projections.Source  = (*eventstore.Store)(nil)
	_ projections.Opener  = (*keyring.Keyring)(nil)
	_ projections.Indexer = (*keyring.Keyring)(nil)
	_ projections.Trust   = (*registry.Registry)(nil)

	_ commands.Registry  = (*registry.Registry)(nil)
	_ commands.Register  = (*dedup.Dedup)(nil)
	_ commands.Inquiries = (*mediation.Mediation)(nil)
	_ commands.Records   = (*disclosure.Disclosure)(nil)

	_ projections.Shadowing = (*registry.Registry)(nil)
	_ projections.Shadowing = (*dedup.Dedup)(nil)
	_ projections.Shadowing = (*mediation.Mediation)(nil)
	_ projections.Shadowing = (*disclosure.Disclosure)(nil)

	_ projections.Projection = (*statistics.Statistics)(nil)
	_ statistics.Store       = (*clickhouse.DB)(nil)
)
