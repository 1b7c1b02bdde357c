package mediation_test

import (
	"testing"

	"pgregory.net/rapid"

	"kiroku/projections"
	"kiroku/projections/mediation"
	"kiroku/projections/projectiontest"
)

func open(v projections.View, index projections.Indexer) (projectiontest.Rebuildable, error) {
	return mediation.Open(v)
}

func TestMediationConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { projectiontest.CheckConvergence(t, open) })
}

func TestMediationAfterShredding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { projectiontest.CheckShredding(t, open) })
}
