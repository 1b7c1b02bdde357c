package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestServeFromNothingToDrained(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, data, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	store, _ := endpoint(t, data, "store")
	core, _ := endpoint(t, data, "admin")
	if store.PID == p.Process.Pid || core.PID != p.Process.Pid {
		t.Errorf("the store is process %d, the core %d", store.PID, core.PID)
	}
	if code := p.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if !gone(store.PID) {
		t.Error("the store outlived the core")
	}
	if _, still := endpoint(t, data, "admin"); still {
		t.Error("the core is still announced")
	}
	for line := range strings.Lines(p.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
		for _, secret := range []string{store.Passwords["kiroku"], store.Passwords["admin"], core.Token} {
			if strings.Contains(line, secret) {
				t.Errorf("a credential is in the log: %s", line)
			}
		}
	}
	err := filepath.WalkDir(filepath.Join(data, "run"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStoreThatCrashesComesBackWhereItWas(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, data, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	before, _ := endpoint(t, data, "store")
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another store is ready", func() bool {
		now, _ := endpoint(t, data, "store")
		ok, _ := ready(t, data)
		return ok && now.PID != before.PID
	})
	after, _ := endpoint(t, data, "store")
	if after.Address != before.Address || after.Passwords["kiroku"] != before.Passwords["kiroku"] {
		t.Errorf("it moved from %s to %s, or its password changed", before.Address, after.Address)
	}
	if code := p.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestKilledCoreTakesItsStoreWithIt(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, data, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	store, _ := endpoint(t, data, "store")
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	eventually(t, "the store is gone", func() bool { return gone(store.PID) })
	again := start(t, data, "serve")
	eventually(t, "ready again", func() bool {
		a, _ := endpoint(t, data, "admin")
		ok, _ := ready(t, data)
		return ok && a.PID == again.Process.Pid
	})
	if code := again.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestTwoOnOneDirectory(t *testing.T) {
	for _, command := range []string{"serve", "store"} {
		data := filepath.Join(t.TempDir(), "data")
		first := start(t, data, command)
		eventually(t, "ready", func() bool { return bytes.Contains([]byte(first.String()), []byte(command2ready[command])) })
		second := kiroku(t, command, "--data", data)
		if second.code != 2 || !strings.Contains(second.err, "held by the process "+strconv.Itoa(first.Process.Pid)) {
			t.Errorf("%s: %d\n%s", command, second.code, second.err)
		}
		if code := first.stop(t); code != 0 {
			t.Errorf("%s: exit status %d", command, code)
		}
	}
}

// command2ready is what a process says when it is ready.
var command2ready = map[string]string{"serve": "core ready", "store": "event store ready on 127.0.0.1:"}

func TestServeUsesAStoreThatRuns(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	store := start(t, data, "store")
	eventually(t, "the store is ready", func() bool { return strings.Contains(store.String(), command2ready["store"]) })
	kiroku(t, "keys", "init", "--data", data).must(t)
	core := start(t, data, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	if code := core.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if e, _ := endpoint(t, data, "store"); e.PID != store.Process.Pid || gone(e.PID) {
		t.Error("the store that was there was replaced or stopped")
	}
}

// TestServeReplacesAStoreThatLeft starts a core while a store runs that then
// leaves, as the child of a killed core does.
func TestServeReplacesAStoreThatLeft(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	store := start(t, data, "store")
	eventually(t, "the store is ready", func() bool { return strings.Contains(store.String(), command2ready["store"]) })
	before, _ := endpoint(t, data, "store")
	kiroku(t, "keys", "init", "--data", data).must(t)
	core := start(t, data, "serve")
	eventually(t, "ready", func() bool { ok, _ := ready(t, data); return ok })
	if code := store.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	eventually(t, "a store of its own", func() bool {
		now, _ := endpoint(t, data, "store")
		ok, _ := ready(t, data)
		return ok && now.PID != before.PID
	})
	if code := core.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, data, "store")
	eventually(t, "ready", func() bool { return strings.Contains(p.String(), command2ready["store"]) })
	// Frozen, it gets both signals before it can do anything.
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCONT} {
		if err := p.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	<-p.exited
	if code := p.ProcessState.ExitCode(); code != 0 && code != 2 {
		t.Errorf("exit status %d", code)
	}
}

// TestServeIsAskedWhileItStarts: a core that cannot begin says what it waits for.
func TestServeIsAskedWhileItStarts(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	kiroku(t, "keys", "init", "--data", data).must(t)
	p := start(t, data, "serve", "--set", "store.connection=esdb://127.0.0.1:1")
	eventually(t, "it says that it waits for the store", func() bool {
		ok, why := ready(t, data)
		return !ok && strings.Contains(why, "the core is starting: waiting for the event store") && strings.Contains(why, `"store":`)
	})
	if got := kiroku(t, "projections", "status", "--data", data); got.code != 2 || !strings.Contains(got.err, "the core is starting") {
		t.Errorf("projections status: %d %s", got.code, got.err)
	}
	if code := p.stop(t); code != 2 {
		t.Errorf("exit status %d", code)
	}
	if _, still := endpoint(t, data, "admin"); still {
		t.Error("the core is still announced")
	}
}
