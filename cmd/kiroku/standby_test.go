package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestASecondCoreTakesOver runs a store of its own and two cores on it, as on
// two machines: the second knows the store by address, user, password file and
// authority, as it would a cluster. The first is killed.
func TestASecondCoreTakesOver(t *testing.T) {
	data, other := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "other")
	kiroku(t, "keys", "init", "--data", data).must(t)
	store := start(t, data, "store")
	eventually(t, "the store is ready", func() bool { return strings.Contains(store.String(), command2ready["store"]) })
	first := start(t, data, "serve")
	eventually(t, "the first is active", func() bool { ok, _ := ready(t, data); return ok })

	at, _ := endpoint(t, data, "store")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(at.Passwords["kiroku"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Both machines use the same token; SoftHSM finds its own by this variable.
	t.Setenv("SOFTHSM2_CONF", filepath.Join(data, "hsm", "softhsm2.conf"))
	second := start(t, other, "serve",
		"--set", "store.connection=esdb://"+at.Address, "--set", "store.user=kiroku", "--set", "store.password_file="+password,
		"--set", "store.ca_file="+filepath.Join(data, "tls", "ca.pem"), "--set", "hsm.token.pin_file="+filepath.Join(data, "hsm", "user.pin"))
	eventually(t, "the second stands by", func() bool { _, why := ready(t, other); return strings.Contains(why, "standing by") })
	if ok, why := ready(t, data); !ok {
		t.Errorf("the first was disturbed: %s", why)
	}
	active := fmt.Sprintf("process %d on ", first.Process.Pid)
	if r := kiroku(t, "retention", "run", "--once", "--data", other); r.code != 2 || !strings.Contains(r.err, "stands by") || !strings.Contains(r.err, active) {
		t.Errorf("the retention, run on a core that stands by: %d %s%s", r.code, r.out, r.err)
	}
	if r := kiroku(t, "retention", "run", "--once", "--data", data).must(t); !strings.Contains(r.out, "0 destroyed") {
		t.Errorf("the retention, run on the active core: %s", r.out)
	}
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-first.exited
	eventually(t, "the second is active", func() bool { ok, _ := ready(t, other); return ok })
	kiroku(t, "verify", "--data", data).must(t)

	back := start(t, data, "serve")
	eventually(t, "the first is back and stands by", func() bool {
		a, _ := endpoint(t, data, "admin")
		_, why := ready(t, data)
		return a.PID == back.Process.Pid && strings.Contains(why, "standing by")
	})
	for _, p := range []*process{back, second, store} {
		if code := p.stop(t); code != 0 {
			t.Errorf("exit status %d", code)
		}
	}
}

// TestASecondServeOnOneDataDirectory: without being told it says who holds the directory; told to stand by it begins
// when the first is gone, killed or not.
func TestASecondServeOnOneDataDirectory(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	first := start(t, data, "serve")
	eventually(t, "the first is active", func() bool { ok, _ := ready(t, data); return ok })
	if got := kiroku(t, "serve", "--data", data); got.code != 2 || !strings.Contains(got.err, "is held by the process "+strconv.Itoa(first.Process.Pid)) {
		t.Errorf("a second serve: %d %s", got.code, got.err)
	}
	second := start(t, data, "serve", "--stand-by")
	eventually(t, "the second stands by", func() bool { return strings.Contains(second.String(), "standing by") })
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-first.exited
	eventually(t, "the second is active", func() bool {
		a, _ := endpoint(t, data, "admin")
		ok, _ := ready(t, data)
		return a.PID == second.Process.Pid && ok
	})
	if code := second.stop(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	kiroku(t, "verify", "--data", data).must(t)
}
