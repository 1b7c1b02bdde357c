package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kiroku/cmd/kiroku/internal/config"
)

// TestRoomToBegin: a core does not begin where its store or its views would refuse to write, and says where room is short
// and how much is needed.
func TestRoomToBegin(t *testing.T) {
	const mib = 1 << 20
	data := filepath.Join(t.TempDir(), "data")
	embedded := config.Config{Data: data, Store: config.Store{Connection: config.Embedded}}
	remote := config.Config{Data: data, Store: config.Store{Connection: "esdb://node1:2113"}}
	type disks map[string]disk // by folder
	one := func(free uint64) disks { return disks{"views": {1, free}, "store": {1, free}} }
	for name, c := range map[string]struct {
		settings config.Config
		disks    disks
		short    string // what the message names; empty: it begins
	}{
		"enough for both":                {embedded, one(512 * mib), ""},
		"too little for both":            {embedded, one(512*mib - 1), "511 MiB free, and 512 MiB"},
		"nothing":                        {embedded, one(12 * mib), "12 MiB free"},
		"disks apart":                    {embedded, disks{"views": {1, 448 * mib}, "store": {2, 256 * mib}}, ""},
		"the store's own is short":       {embedded, disks{"views": {1, 900 * mib}, "store": {2, 255 * mib}}, filepath.Join(data, "store")},
		"the views' own is short":        {embedded, disks{"views": {1, 447 * mib}, "store": {2, 900 * mib}}, filepath.Join(data, "views")},
		"a store elsewhere":              {remote, one(448 * mib), ""},
		"a store elsewhere, views short": {remote, one(400 * mib), "400 MiB free, and 448 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			err := roomToWrite(c.settings, func(folder string) (disk, error) { return c.disks[filepath.Base(folder)], nil })
			if c.short == "" {
				if err != nil {
					t.Error(err)
				}
			} else if !errors.Is(err, errNoRoom) || !strings.Contains(err.Error(), c.short) || !strings.Contains(err.Error(), "free some") {
				t.Errorf("got %v, want it to name %q and what to do", err, c.short)
			}
		})
	}
}

// TestTheDiskIsAsked: free space is that of the operating system.
func TestTheDiskIsAsked(t *testing.T) {
	on, err := statDisk(t.TempDir())
	if err != nil || on.free < 1<<20 || on.device == 0 {
		t.Errorf("%+v %v", on, err)
	}
	if _, err := statDisk(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there has room")
	}
}

// TestWarningsThatGoOnAreShown: what is repeated without end is told while it lasts, now and then, and what passes is not.
func TestWarningsThatGoOnAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&tail{to: &said}, &slog.HandlerOptions{Level: slog.LevelInfo}))
		warn := func() { log.Warn("following a stream failed", "stream", "registry", "error", errors.New("disk full")) }
		warn()
		time.Sleep(time.Minute)
		for range 100 {
			log.InfoContext(context.Background(), "all is well")
			time.Sleep(time.Second)
		}
		warn()
		if said.Len() > 0 {
			t.Errorf("shown at once: %s", &said)
		}
		for range 34 {
			time.Sleep(time.Second)
			warn()
		}
		want := "kiroku: for 10s: following a stream failed (stream registry): disk full\n"
		if got := said.String(); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 3 {
			t.Errorf("shown:\n%swant %q first, and three lines", got, want)
		}
	})
}
