package main

import (
	"os"
	"runtime/debug"
)

// A process that stays collects garbage when its heap has grown to four times what is in use, not to twice: its heap is
// small beside what it allocates in a second, and every collection looks at all of it. Near the limit it collects as
// often as it has to, so that a core of a million people stays below 1 GiB, Pebble's memory outside the heap included.
const (
	garbagePercent = 300
	heapLimit      = 768 << 20
)

// spendMemory applies them, unless GOGC or GOMEMLIMIT says otherwise.
func spendMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapLimit)
	}
}
