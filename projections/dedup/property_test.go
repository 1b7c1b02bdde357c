package dedup_test

import (
	"testing"

	"pgregory.net/rapid"

	"kiroku/projections"
	"kiroku/projections/dedup"
	"kiroku/projections/projectiontest"
)

func open(v projections.View, index projections.Indexer) (projectiontest.Rebuildable, error) {
	return dedup.Open(v, index)
}

func TestDedupConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { projectiontest.CheckConvergence(t, open) })
}
