package processes

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A core is told to stop while commands are under way: it finishes them, releases the lease and ends with 0.
func TestCoresAreToldToStop(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	w.start("a").leads()
	w.start("b")
	l := w.begin(6)
	for range 4 {
		l.proceeds(t)
		c := w.leader()
		if code := c.stop(); code != 0 {
			t.Errorf("%s ended with %d", c.name, code)
		}
		w.start(c.name[len("core "):])
	}
	l.proceeds(t)
	w.prove(l)
}

// kiroku serve waits, when told to stop, for a store that does not answer; told again, it does not.
func TestASecondSignalEndsServeAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	serve := start(t, w.data, "serve", "--set", "ledger.anchor_interval=1s", "--set", "statistics.connection=off")
	serve.says("core ready")
	serve.says("active: this core writes the ledger")
	store := w.endpoint("store").PID
	for _, x := range []struct {
		pid  int
		what syscall.Signal
	}{{store, syscall.SIGSTOP}, {serve.Process.Pid, syscall.SIGTERM}} {
		if err := syscall.Kill(x.pid, x.what); err != nil {
			t.Fatal(err)
		}
	}
	serve.says("core stopping")
	serve.signal(syscall.SIGTERM)
	if code := serve.ended(); code != 2 {
		t.Errorf("exit status %d", code)
	}
	if said := serve.said.String(); strings.Contains(said, "kiroku: ") {
		t.Errorf("it came to its end, instead of ending at once:\n%s", said)
	}
	if err := syscall.Kill(store, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	again := start(t, w.data, "serve", "--set", "statistics.connection=off") // the store, awake, ends or is used as long as it runs
	again.says("active: this core writes the ledger")
	if code := again.stop(); code != 0 {
		t.Errorf("the next serve ended with %d", code)
	}
	w.verified()
}

// Several are started on a new data directory in the same moment: one serves, the others say who does.
func TestServesAreStartedAtOnce(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	var all []*process
	for range 4 {
		all = append(all, start(t, data, "serve", "--set", "hsm.juki_bits=2048", "--set", "statistics.connection=off"))
	}
	var serving *process
	eventually(t, "all but one have ended", func() bool {
		serving = nil
		for _, p := range all {
			if p.gone() {
				continue
			}
			if serving != nil {
				return false
			}
			serving = p
		}
		return true
	})
	if serving == nil {
		t.Fatal("none serves")
	}
	for _, p := range all {
		if p != serving && (p.ended() != 2 || !strings.Contains(p.said.String(), "is held by")) {
			t.Errorf("ended with %d:\n%s", p.ended(), &p.said)
		}
	}
	serving.says("active: this core writes the ledger")
	serving.kill()
	next := start(t, data, "serve", "--set", "statistics.connection=off")
	next.says("active: this core writes the ledger")
	time.Sleep(100 * time.Millisecond)
	if code := next.stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	kiroku(t, "verify", "--data", data).must(t)
}
