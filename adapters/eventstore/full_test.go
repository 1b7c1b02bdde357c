package eventstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

// TestAStoreWithoutRoom: its refusal is known to have written nothing, says why, and is over once there is room.
func TestAStoreWithoutRoom(t *testing.T) {
	f, disk := embeddedtest.New(t), vfs.NewMem()
	f.Config.FS, f.Config.MinFreeBytes = disk, 1000
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 999})
	store := open(t, f.ConnectionString(f.Open(t)), nil)
	for range 2 {
		err := store.Append(t.Context(), "s", 0, events("s", 0, 1, "a"))
		if !errors.Is(err, eventstore.ErrFull) || errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.Contains(err.Error(), "free space") {
			t.Fatalf("got %v, want ErrFull and what to do", err)
		}
		if !errors.Is(store.Full(t.Context()), eventstore.ErrFull) {
			t.Error("the store does not say that it has no room")
		}
	}
	disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1000})
	if err := store.Append(t.Context(), "s", 0, events("s", 0, 1, "b")); err != nil {
		t.Fatal(err)
	}
	if err := store.Full(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
