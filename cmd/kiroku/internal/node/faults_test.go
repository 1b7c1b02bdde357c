package node_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/eventstore/storetest"
	"kiroku/cmd/kiroku/internal/node"
	"kiroku/cmd/kiroku/internal/node/nodetest"
	"kiroku/commands"
	"kiroku/commands/sequencer"
	"kiroku/domain/event"
	"kiroku/domain/symbol"
)

// load submits inquiries from several callers until told to stop, repeating each with its id until it has an answer,
// as the law of the protocol wants. In the end it checks that each left exactly one event.
type load struct {
	c       func() *nodetest.Core // who is asked now
	s       symbol.Agency
	stop    chan struct{}
	wg      sync.WaitGroup
	mu      sync.Mutex
	answers int
	errs    []error // answers other than the ones that say: repeat
}

func start(c func() *nodetest.Core, s symbol.Agency, callers int) *load {
	l := &load{c: c, s: s, stop: make(chan struct{})}
	for range callers {
		l.wg.Go(l.call)
	}
	return l
}

func repeatIt(err error) bool {
	for _, e := range []error{sequencer.ErrOutcomeOpen, sequencer.ErrNotWriter, sequencer.ErrUnavailable, sequencer.ErrOverloaded, sequencer.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (l *load) call() {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		cmd := l.c().Inquiry("a", "b", l.s)
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			r, err := l.c().Core.SubmitInquiry(ctx, cmd)
			cancel()
			if err != nil && repeatIt(err) {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			l.mu.Lock()
			if err != nil || r.Refusal != 0 {
				l.errs = append(l.errs, errors.Join(err, errors.New("refusal "+r.Refusal.Code())))
			}
			l.answers++
			l.mu.Unlock()
			break
		}
	}
}

func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers
}

// proceed waits until the load makes progress.
func (l *load) proceed(t *testing.T) {
	t.Helper()
	from := l.answered()
	for end := time.Now().Add(2 * time.Minute); l.answered() < from+20; {
		if time.Now().After(end) {
			t.Fatalf("no progress: %d answers\n%s", l.answered()-from, l.c().W.Logs)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// end stops the load and proves the ledger: one event for each answered command.
func (l *load) end(t *testing.T, before int) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	for _, err := range l.errs {
		t.Error(err)
	}
	if n := nodetest.Count(l.c().Verify(), event.TypeInquiryNotified) - before; n != l.answers {
		t.Errorf("%d commands were answered and %d are in the ledger", l.answers, n)
	}
}

func ready(t *testing.T, change ...func(*node.Config)) (*nodetest.World, *nodetest.Core, symbol.Agency) {
	w := nodetest.New(t)
	c := w.Lead("a", change...)
	c.Register("a", "b")
	s := c.Issue("a", 1)
	c.Issue("b", 1)
	return w, c, s
}

func TestTheNetworkToTheStoreFails(t *testing.T) {
	for name, harm := range map[string]func(*storetest.Proxy){
		"cut": func(p *storetest.Proxy) { p.Cut() },
		"answer lost": func(p *storetest.Proxy) {
			p.HoldResponses()
			time.Sleep(100 * time.Millisecond)
			p.Cut()
			p.Release()
		},
		"lands late, after a reconnection": func(p *storetest.Proxy) {
			p.HoldRequests()
			time.Sleep(100 * time.Millisecond)
			p.Cut()
			time.Sleep(300 * time.Millisecond)
			p.Release()
		},
		"refused for a while": func(p *storetest.Proxy) {
			p.Refuse(true)
			p.Cut()
			time.Sleep(2 * time.Second)
			p.Refuse(false)
		},
		"slow": func(p *storetest.Proxy) {
			p.Delay(50 * time.Millisecond)
			time.Sleep(500 * time.Millisecond)
			p.Delay(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, c, s := ready(t)
			l := start(func() *nodetest.Core { return c }, s, 8)
			l.proceed(t)
			for range 3 {
				harm(w.Proxy)
				l.proceed(t)
			}
			l.end(t, 0)
		})
	}
}

func TestTheStoreIsGoneForTenSeconds(t *testing.T) {
	w, c, s := ready(t)
	l := start(func() *nodetest.Core { return c }, s, 8)
	l.proceed(t)
	closing, cancel := context.WithCancel(t.Context())
	cancel() // without waiting for anybody
	_ = w.Server.Close(closing)
	time.Sleep(10 * time.Second)
	w.Server = w.Files.Open(t)
	w.Proxy.Target(w.Server.Addr()) // the client knows the proxy; the port of before may be somebody else's
	l.proceed(t)
	l.end(t, 0)
	c.Stop() // before the store that was started last
}

func TestAPausedWriterWakesAfterATakeover(t *testing.T) {
	w, first, s := ready(t)
	firstsProxy := w.Proxy
	w.Proxy = storetest.NewProxy(t, w.Server.Addr())
	second := w.Open("b")
	var mu sync.Mutex
	asked := first
	now := func() *nodetest.Core { mu.Lock(); defer mu.Unlock(); return asked }
	l := start(now, s, 8)
	l.proceed(t)
	firstsProxy.HoldRequests() // what it sends now arrives when it wakes
	second.WaitLead()
	mu.Lock()
	asked = second
	mu.Unlock()
	l.proceed(t)
	firstsProxy.Release()
	l.proceed(t)
	for end := time.Now().Add(2 * time.Minute); first.Active() && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if first.Active() {
		t.Error("the old writer believes itself active")
	}
	if _, err := first.Core.SubmitInquiry(t.Context(), first.Inquiry("a", "b", s)); !errors.Is(err, sequencer.ErrNotWriter) {
		t.Errorf("the old writer answers %v", err)
	}
	l.end(t, 0)
	second.Stop() // in order: the first leads again
	first.WaitLead()
	mustInquire(t, first, first.Inquiry("a", "b", s))
	first.Verify()
}

func TestTheTokenIsTakenAwayAndComesBack(t *testing.T) {
	w, c, s := ready(t)
	mustInquire(t, c, c.Inquiry("a", "b", s))
	dir, away := w.Token.Dir(), filepath.Join(t.TempDir(), "away")
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	var failed error
	var lost commands.SubmitInquiry
	for end := time.Now().Add(2 * time.Minute); failed == nil && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		_ = c.HSM.Check(t.Context()) // as kiroku serve does at intervals
		lost = c.Inquiry("a", "b", s)
		_, failed = c.Core.SubmitInquiry(t.Context(), lost)
	}
	if !errors.Is(failed, sequencer.ErrUnavailable) {
		t.Errorf("without the token: %v", failed)
	}
	before := nodetest.Count(c.Verify(), event.TypeInquiryNotified)
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err = c.Core.SubmitInquiry(t.Context(), lost); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("with the token back: %v", err)
	}
	if n := nodetest.Count(c.Verify(), event.TypeInquiryNotified); n != before+1 {
		t.Errorf("%d events for the one command that was repeated", n-before)
	}
}

func TestAFullQueueIsRefusedAtOnce(t *testing.T) {
	w, c, s := ready(t, func(n *node.Config) { n.Shards, n.Queue, n.Batch = 1, 8, 4 })
	mustInquire(t, c, c.Inquiry("a", "b", s))
	w.Proxy.HoldResponses()
	var wg sync.WaitGroup
	var mu sync.Mutex
	overloaded, done := 0, 0
	for range 200 {
		cmd := c.Inquiry("a", "b", s)
		wg.Go(func() {
			_, err := c.Core.SubmitInquiry(t.Context(), cmd)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, sequencer.ErrOverloaded):
				overloaded++
			case err == nil:
				done++
			default:
				t.Errorf("%v", err)
			}
		})
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		mu.Lock()
		n := overloaded
		mu.Unlock()
		if n >= 100 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d of 200 were refused while the store did not answer", n)
		}
	}
	w.Proxy.Release()
	wg.Wait()
	if n := nodetest.Count(c.Verify(), event.TypeInquiryNotified); n != done+1 || done == 0 {
		t.Errorf("%d were answered and %d are in the ledger; %d were refused", done, n-1, overloaded)
	}
}

// TestACoreWhoseClockIsBackSaysSo: it cannot take over, and whoever gives it a command learns why, besides that they may
// repeat it at another.
func TestACoreWhoseClockIsBackSaysSo(t *testing.T) {
	w := nodetest.New(t)
	c := w.Lead("a")
	c.Register("a")
	c.Stop()
	w.Turn(-time.Hour)
	c = w.Open("a")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for c.TakeoverFailed() == nil {
		select {
		case <-ctx.Done():
			t.Fatalf("the takeover did not fail\n%s", w.Logs)
		case <-time.After(10 * time.Millisecond):
		}
	}
	_, err := c.Core.IssueSymbol(t.Context(), c.IssueCommand("a", 1))
	if !errors.Is(err, sequencer.ErrNotWriter) || !errors.Is(err, sequencer.ErrClockBack) {
		t.Errorf("a command: %v", err)
	}
	w.Turn(time.Hour)
	c.WaitLead()
	c.Issue("a", 1)
}
