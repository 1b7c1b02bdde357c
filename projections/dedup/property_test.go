package dedup_test

import (
	"testing"

	"pgregory.net/rapid"

	"kiroku/projections"
	"kiroku/projections/dedup"
	"kiroku/projections/projectiontest"
)

func open(v projections.View, index projections.Indexer) (projectiontest.Rebuildable, error) {
	return dedup.Open(v, index.(dedup.Keys))
}

func TestDedupConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { projectiontest.CheckConvergence(t, open) })
}

func TestDedupAfterShredding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { projectiontest.CheckShredding(t, open) })
}
