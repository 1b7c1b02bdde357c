package disclosure_test

import (
	"testing"

	"pgregory.net/rapid"

	"kiroku/projections"
	"kiroku/projections/disclosure"
	"kiroku/projections/projectiontest"
)

func open(v projections.View, index projections.Indexer) (projectiontest.Rebuildable, error) {
	return disclosure.Open(v, index)
}

func TestDisclosureConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { projectiontest.CheckConvergence(t, open) })
}

func TestDisclosureAfterShredding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { projectiontest.CheckShredding(t, open) })
}
