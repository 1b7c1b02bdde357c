package config_test

import (
	"testing"

	"kiroku/cmd/kiroku/internal/config"
)

// TestTheComposeFilesConfigurationIsTaken loads what kiroku is given in ops/compose.yaml.
func TestTheComposeFilesConfigurationIsTaken(t *testing.T) {
	c, warnings, err := config.Load(config.Sources{File: "../../../../ops/compose/kiroku.yaml", Environment: home})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if c.Store.Connection == config.Embedded || c.Statistics.Connection == config.Embedded {
		t.Errorf("it would run %s and %s of its own", c.Store.Connection, c.Statistics.Connection)
	}
}
