// Package embedded is a single-node event store that speaks the gRPC protocol of
// EventStoreDB, so that the product runs without one and through the same client.
//
// It promises that client what a server of version 24.10 does for the operations it
// offers: appends with every expected revision and idempotent event ids, reads and
// catch-up subscriptions of streams and of $all, filters, stream metadata, soft
// deletion and tombstones, credentials and access control lists. The contract package
// beside it says so in tests that also run against a real server. Persistent
// subscriptions and projections are not offered.
//
// An append is answered only after it was synced to the disk.
package embedded

import (
	"crypto/tls"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kiroku/adapters/eventstore/embedded/internal/journal"
)

// Config of a server. Dir and Listen are required.
type Config struct {
	Dir    string // data directory, created if missing
	Listen string // host:port; port 0 takes a free one

	// Certificate of the server. Nil: plaintext and no authentication at all, as in the
	// insecure mode of EventStoreDB; for tests on the loopback only.
	Certificate *tls.Certificate
	// Users who may log in; needed with a Certificate. See LoadUsers.
	Users []User

	// Advertise is the host:port told to clients that discover the node by gossip; it
	// must resolve and be in the certificate. Empty: the address listened on.
	Advertise string

	Logger     *slog.Logger     // nil: slog.Default
	FS         vfs.FS           // nil: the operating system's
	Clock      func() time.Time // nil: time.Now
	CacheBytes int64            // block cache; 0: 64 MiB
	// MinFreeBytes: with less free disk space than this, appends are refused with
	// Unavailable and nothing is written. 0: DefaultMinFreeBytes.
	MinFreeBytes uint64
}

// DefaultMinFreeBytes is the default of Config.MinFreeBytes, 64 MiB.
const DefaultMinFreeBytes = journal.DefaultMinFreeBytes

// Version is the EventStoreDB version whose behaviour is followed.
const Version = "24.10.4"
