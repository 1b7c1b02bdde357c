package processes

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A core is killed at random moments, again and again; another takes over, and the killed one comes back.
func TestCoresAreKilled(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	w.start("a")
	w.start("b")
	l := w.begin(6)
	random := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		l.proceeds(t)
		c := w.leader()
		time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
		c.kill()
		w.start(c.name[len("core "):])
	}
	l.proceeds(t)
	w.prove(l)
}

// A core is killed while it begins a ledger, while it takes over, and while it rebuilds its views.
func TestACoreIsKilledWhileItStarts(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	random := rand.New(rand.NewPCG(3, 4))
	mend := tokenFiles(t, filepath.Join(w.data, "hsm"))
	for range 12 {
		c := w.start("a")
		time.Sleep(time.Duration(random.IntN(900)) * time.Millisecond)
		c.kill()
		mend()
	}
	w.start("a").leads()
	l := w.begin(2)
	l.proceeds(t)
	w.prove(l)
}

// tokenFiles returns what puts back SoftHSM's description of a token where a kill cut it short: SoftHSM writes it anew, in
// its place, at every sign-in. No HSM does that, and no key is in it.
func tokenFiles(t *testing.T, folder string) (mend func()) {
	t.Helper()
	whole := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(folder, "*", "*", "token.object"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no token in %s: %v", folder, err)
	}
	for _, name := range names {
		if whole[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for name, text := range whole {
			if now, err := os.ReadFile(name); err != nil || len(now) < len(text) {
				t.Logf("SoftHSM was killed while it wrote the token's description (%d of %d octets, %v): put back", len(now), len(text), err)
				if err := os.WriteFile(name, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// A writer is paused, another takes over, the first wakes with commands under way, and the other way round.
func TestWritersArePausedInTurn(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	w.start("a").leads()
	w.start("b")
	l := w.begin(6)
	for range 4 {
		l.proceeds(t)
		c := w.leader()
		c.signal(syscall.SIGSTOP)
		eventually(t, "another takes over", func() bool {
			for _, other := range w.asked() {
				if other != c && other.active() {
					return true
				}
			}
			return false
		})
		l.proceeds(t)
		c.signal(syscall.SIGCONT)
		l.proceeds(t)
		eventually(t, "it stands by", func() bool { return !c.active() })
	}
	w.prove(l)
}
