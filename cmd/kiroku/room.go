package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"kiroku/adapters/eventstore/embedded"
	"kiroku/adapters/views"
	"kiroku/cmd/kiroku/internal/config"
)

// roomMargin is what a disk must have beyond that with which the store and the views refuse to write: a core that
// could write for a moment only is no use.
const roomMargin = 192 << 20

// errNoRoom: a disk has too little room for a core to begin.
var errNoRoom = errors.New("too little free disk space")

// disk is a file system as it stands: what tells it from others, and its free bytes.
type disk struct{ device, free uint64 }

// roomToWrite refuses to begin a core where its store or its views would refuse to write, which nobody would notice but
// by its standing still. Folders on one disk need what they need together.
func roomToWrite(settings config.Config, stat func(folder string) (disk, error)) error {
	d := dir(settings)
	needs := []struct {
		folder string
		bytes  uint64
	}{{d.Views(), views.DefaultMinFreeBytes}}
	if settings.Store.Connection == config.Embedded {
		needs = append(needs, needs[0])
		needs[1].folder, needs[1].bytes = d.Store(), embedded.DefaultMinFreeBytes
	}
	type room struct {
		folder string
		free   uint64
		needed uint64
	}
	disks := map[uint64]*room{} // by device
	for _, n := range needs {
		if err := d.Make(n.folder); err != nil {
			return err
		}
		on, err := stat(n.folder)
		if err != nil {
			return fmt.Errorf("looking for room in %s: %w", n.folder, err)
		}
		if disks[on.device] == nil {
			disks[on.device] = &room{n.folder, on.free, roomMargin}
		}
		disks[on.device].needed += n.bytes
	}
	for _, on := range disks {
		if on.free < on.needed {
			return fmt.Errorf("%w: the disk of %s has %d MiB free, and %d MiB are needed to begin; free some there, or give another data directory with --data",
				errNoRoom, on.folder, on.free>>20, on.needed>>20)
		}
	}
	return nil
}

// statDisk asks the operating system.
func statDisk(folder string) (disk, error) {
	var on unix.Statfs_t
	if err := unix.Statfs(folder, &on); err != nil {
		return disk{}, err
	}
	var at unix.Stat_t
	if err := unix.Stat(folder, &at); err != nil {
		return disk{}, err
	}
	return disk{device: at.Dev, free: on.Bavail * uint64(on.Bsize)}, nil
}
