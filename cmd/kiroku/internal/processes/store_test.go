package processes

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kiroku/adapters/eventstore/storetest"
)

// The store is killed and is gone for ten seconds, for the core that leads and for the one that stands by.
func TestTheStoreIsGoneForTenSeconds(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	w.start("a").leads()
	w.start("b")
	l := w.begin(6)
	l.proceeds(t)
	w.store.kill()
	time.Sleep(10 * time.Second)
	w.startStore()
	l.proceeds(t)
	w.prove(l)
}

// kiroku serve runs the store, which is killed again and again; serve itself stands by.
func TestServeStartsAKilledStoreAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	serve := start(t, w.data, "serve", "--set", "statistics.connection=off")
	serve.says("core ready")
	w.start("a").leads() // it waits for less long than serve beats
	l := w.begin(6)
	for range 3 {
		l.proceeds(t)
		pid := w.endpoint("store").PID
		if pid == serve.Process.Pid {
			t.Fatal("the store is no process of its own")
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		l.proceeds(t)
		if w.endpoint("store").PID == pid {
			t.Error("commands are answered and no other store was announced")
		}
	}
	w.prove(l)
	if code := serve.stop(); code != 0 {
		t.Errorf("serve: exit status %d", code)
	}
	w.verified() // with a store that is started for it
}

// The network between a core and the store fails: the outcome of appends is unknown, some land late.
func TestTheOutcomeOfAppendsIsUnknown(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	w.proxy = storetest.NewProxy(t, w.endpoint("store").Address)
	w.start("a").leads()
	l := w.begin(6)
	for range 3 {
		l.proceeds(t)
		w.proxy.HoldResponses() // written, and the answer is lost
		time.Sleep(100 * time.Millisecond)
		w.proxy.Cut()
		w.proxy.Release()
		l.proceeds(t)
		w.proxy.HoldRequests() // given up, sent again, and yet the first arrives
		time.Sleep(100 * time.Millisecond)
		w.proxy.Cut()
		time.Sleep(300 * time.Millisecond)
		w.proxy.Release()
	}
	l.proceeds(t)
	w.prove(l)
}

// A core is killed with appends under way that land when another leads.
func TestAppendsOfAKilledCoreLandLate(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	w.proxy = storetest.NewProxy(t, w.endpoint("store").Address)
	first := w.start("a")
	first.leads()
	proxy := w.proxy
	w.proxy = storetest.NewProxy(t, w.endpoint("store").Address)
	second := w.start("b")
	l := w.begin(6)
	l.proceeds(t)
	proxy.HoldRequests()
	eventually(t, "appends are under way", func() bool { return proxy.Held() > 4000 })
	first.kill()
	second.leads()
	l.proceeds(t)
	proxy.Release()
	l.proceeds(t)
	w.prove(l)
}

// The store's disk has no room: no file may grow. It says so and ends; with room it goes on where it was.
func TestTheStoresDiskIsFull(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	w.start("a").leads()
	l := w.begin(6)
	l.proceeds(t)
	limit := unix.Rlimit{Cur: 4096, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(w.store.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	if code := w.store.ended(); code != 2 {
		t.Errorf("the store ended with %d", code)
	}
	if said := w.store.said.String(); !strings.Contains(said, "disk refused a write") || strings.Contains(said, "goroutine ") {
		t.Errorf("it does not say why, or not for people:\n%s", said)
	}
	w.startStore()
	l.proceeds(t)
	w.prove(l)
}

// The disk of a core's views and anchors has no room for a while: it says so, goes on, and keeps them once it has.
func TestTheDiskOfTheViewsIsFull(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	c := w.start("a")
	c.leads()
	l := w.begin(6)
	l.proceeds(t)
	limit := func(bytes uint64) {
		t.Helper()
		if err := unix.Prlimit(c.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	limit(64)
	c.says("anchor failed")
	c.says("background work of the view failed")
	l.proceeds(t)
	if said := c.said.String(); !strings.Contains(said, "file too large") || strings.Contains(said, "stack trace") || strings.Count(said, "background work") > 3 {
		t.Errorf("it does not say why, or not for people:\n%s", lastLines(said, 20))
	}
	limit(unix.RLIM_INFINITY)
	l.proceeds(t)
	w.prove(l)
	w.start("a").leads() // on what was kept
}

// A full queue is refused at once, while the store does not answer; what was taken is done.
func TestAFullQueueOfACore(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	c := w.start("a", func(s *settings) { s.Queue, s.Batch = 8, 4 })
	c.leads()
	l := w.begin(1)
	l.proceeds(t)
	p, ok := l.newPerson()
	if !ok {
		t.FailNow()
	}
	w.store.signal(syscall.SIGSTOP)
	refused := make(chan bool, 200)
	for range cap(refused) {
		go func() {
			r := request{Kind: inquires, ID: id(), Agency: "a", Provider: "b", Person: p.number, Issued: p.at["a"], Validity: time.Hour}
			a, err := c.ask(r, within*2)
			refused <- err == nil && a.Again && strings.Contains(a.Error, "overloaded")
			w.give(r)
		}()
	}
	n := 0
	for range cap(refused) {
		if <-refused {
			n++
		}
	}
	if n < cap(refused)/2 {
		t.Errorf("%d of %d commands were refused while the store did not answer", n, cap(refused))
	}
	w.store.signal(syscall.SIGCONT)
	eventually(t, "every command is answered", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		inquiries := 0
		for _, k := range w.books {
			if k.request.Person == p.number && k.request.Kind == inquires {
				inquiries++
			}
		}
		return inquiries == cap(refused) || t.Failed()
	})
	l.proceeds(t)
	w.prove(l)
}

// A second store on the folder says whose it is, and disturbs nothing.
func TestASecondStoreOnOneFolder(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	w.start("a").leads()
	l := w.begin(4)
	for range 3 {
		l.proceeds(t)
		if r := kiroku(t, "store", "--data", w.data); r.code != 2 || !strings.Contains(r.err, "held by the process") {
			t.Errorf("exit status %d\n%s", r.code, r.err)
		}
	}
	w.prove(l)
}

// The token is taken away and comes back.
func TestTheTokenIsTakenAway(t *testing.T) {
	t.Parallel()
	w := withStore(t)
	c := w.start("a")
	c.leads()
	l := w.begin(6)
	l.proceeds(t)
	tokens := filepath.Join(w.data, "hsm", "tokens")
	found, err := os.ReadDir(tokens)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d tokens, %v", len(found), err)
	}
	there, away := filepath.Join(tokens, found[0].Name()), filepath.Join(w.data, "away")
	if err := os.Rename(there, away); err != nil {
		t.Fatal(err)
	}
	var last answer
	eventually(t, "the core says that the token is gone", func() bool {
		last, err = c.ask(request{Kind: issues, ID: id(), Agency: "a", Person: 9_000_000}, within)
		return err == nil && last.Again && strings.Contains(last.Error, "unavailable")
	})
	t.Logf("without the token: %s", last.Error)
	if err := os.Rename(away, there); err != nil {
		t.Fatal(err)
	}
	l.proceeds(t)
	w.prove(l)
}
