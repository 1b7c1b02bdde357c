package contract_test

import (
	"os"
	"testing"

	"kiroku/adapters/eventstore/contract"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

func TestEmbedded(t *testing.T) {
	connectionString, _ := embeddedtest.Start(t)
	contract.Run(t, func(testing.TB) string { return connectionString })
}

// TestEmbeddedInsecure: plaintext, without credentials.
func TestEmbeddedInsecure(t *testing.T) {
	f := embeddedtest.New(t)
	f.Config.Certificate = nil
	srv := f.Open(t)
	contract.Run(t, func(testing.TB) string { return f.ConnectionString(srv) })
}

// TestServer runs against the server that KIROKU_TEST_ESDB names, if it names one.
func TestServer(t *testing.T) {
	connectionString := os.Getenv("KIROKU_TEST_ESDB")
	if connectionString == "" {
		t.Skip("KIROKU_TEST_ESDB names no server; the embedded one is tested above")
	}
	contract.Run(t, func(testing.TB) string { return connectionString })
}
