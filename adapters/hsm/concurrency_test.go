package hsm_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"kiroku/adapters/hsm"
	"kiroku/adapters/hsm/hsmtest"

	"pgregory.net/rapid"
)

// gate holds the calls of a name until it is opened.
type gate struct {
	reached chan struct{}
	open    chan struct{}
	once    sync.Once
}

func hold(f *faulty, name string) *gate {
	g := &gate{reached: make(chan struct{}, 1000), open: make(chan struct{})}
	f.hook(name, func() {
		g.reached <- struct{}{}
		<-g.open
	})
	return g
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

func openFaulty(t *testing.T, sessions int) (*hsm.HSM, *faulty) {
	t.Helper()
	f := newFaulty()
	token := hsmtest.New(t)
	token.Config.Sessions = sessions
	token.Config = hsm.Through(token.Config, f.wrap)
	return hsmtest.Reopen(t, token), f
}

// While one call runs, the blocks of a thousand callers gather and go in the
// next; each gets its own back.
func TestBlocksAreMerged(t *testing.T) {
	h, f := openFaulty(t, 4)
	ctx := t.Context()
	want := make([][16]byte, 1000)
	for i := range want {
		want[i] = [16]byte{byte(i), byte(i >> 8)}
	}
	if err := h.EncryptBlocks(ctx, hsm.LabelAgency, want); err != nil {
		t.Fatal(err)
	}
	g := hold(f, "Encrypt")
	before := h.Calls()
	results := make(chan error, len(want))
	ask := func(i int) {
		blocks := [][16]byte{{byte(i), byte(i >> 8)}}
		err := h.EncryptBlocks(ctx, hsm.LabelAgency, blocks)
		if err == nil && blocks[0] != want[i] {
			err = fmt.Errorf("caller %d got another's block", i)
		}
		results <- err
	}
	go ask(0)
	<-g.reached
	for i := 1; i < len(want); i++ {
		go ask(i)
	}
	for h.Waiting(hsm.LabelAgency) < len(want)-1 {
		time.Sleep(time.Millisecond)
	}
	g.release()
	for range want {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := h.Calls().Sub(before).Encrypt; n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

// A caller that stops waiting keeps its blocks as they were, and the others
// get theirs.
func TestCancelledCallerOfMergedBlocks(t *testing.T) {
	h, f := openFaulty(t, 4)
	g := hold(f, "Encrypt")
	defer g.release()
	ctx, cancel := context.WithCancel(t.Context())
	mine, other := [][16]byte{{1}}, [][16]byte{{2}}
	answers := make(chan error, 1)
	left := make(chan error, 1)
	go func() { left <- h.EncryptBlocks(ctx, hsm.LabelAgency, mine) }()
	<-g.reached
	go func() { answers <- h.EncryptBlocks(t.Context(), hsm.LabelAgency, other) }()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	g.release()
	if err := <-answers; err != nil {
		t.Error(err)
	}
	if mine[0] != [16]byte{1} || other[0] == [16]byte{2} {
		t.Error("the cancelled caller's block changed, or the other's did not")
	}
	if err := h.DecryptBlocks(t.Context(), hsm.LabelAgency, other); err != nil || other[0] != [16]byte{2} {
		t.Errorf("the other's block does not come back: %v", err)
	}
}

// However callers are cut and mixed, each block is what it is alone.
func TestMergedEqualsAlone(t *testing.T) {
	h := hsmtest.Open(t)
	ctx := t.Context()
	alone := map[byte][16]byte{}
	for i := range 256 {
		b := [][16]byte{{byte(i)}}
		if err := h.EncryptBlocks(ctx, hsm.LabelRecordSymbol, b); err != nil {
			t.Fatal(err)
		}
		alone[byte(i)] = b[0]
	}
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 5000), 1, 6).Draw(rt, "sizes")
		var wg sync.WaitGroup
		for caller, n := range sizes {
			wg.Go(func() {
				blocks := make([][16]byte, n)
				for i := range blocks {
					blocks[i][0] = byte(i * (caller + 1))
				}
				if err := h.EncryptBlocks(ctx, hsm.LabelRecordSymbol, blocks); err != nil {
					t.Error(err)
					return
				}
				for i := range blocks {
					if blocks[i] != alone[byte(i*(caller+1))] {
						t.Errorf("caller %d of %v: block %d is wrong", caller, sizes, i)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// With all sessions in use a caller waits as long as its context lives.
func TestPoolIsBoundedAndCancellable(t *testing.T) {
	h, f := openFaulty(t, 2)
	g := hold(f, "Sign")
	defer g.release()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := make(chan error, 10)
	ask := func() {
		code, err := h.HMAC(ctx, hsm.LabelIndex, nil)
		code.Destroy()
		answers <- err
	}
	for range 10 {
		go ask()
	}
	<-g.reached
	<-g.reached
	cancel()
	for range 8 {
		if err := <-answers; !errors.Is(err, context.Canceled) {
			t.Errorf("a waiting caller got %v", err)
		}
	}
	if n := len(g.reached); n != 0 {
		t.Errorf("%d calls beyond the limit of 2", n)
	}
	g.release()
	for range 2 {
		if err := <-answers; err != nil {
			t.Errorf("a caller that had its session got %v", err)
		}
	}
}

func TestClose(t *testing.T) {
	h, f := openFaulty(t, 4)
	g := hold(f, "Encrypt")
	running := make(chan error, 1)
	go func() { running <- h.EncryptBlocks(t.Context(), hsm.LabelAgency, make([][16]byte, 1)) }()
	<-g.reached
	closed := make(chan struct{})
	go func() { h.Close(); close(closed) }()
	g.release()
	<-closed
	if err := <-running; err != nil {
		t.Errorf("the call that was running: %v", err)
	}
	withJukiErr := h.EnsureKey(t.Context(), hsm.LabelJuki)
	if !errors.Is(withJukiErr, hsm.ErrClosed) {
		t.Errorf("making a key after Close: %v", withJukiErr)
	}
	for op, run := range operations() {
		if err := run(t.Context(), h); !errors.Is(err, hsm.ErrClosed) && op != "export" {
			t.Errorf("%s after Close: %v, want ErrClosed", op, err)
		}
	}
	h.Close()
}

// childDays is how many days two processes race for.
const childDays = 40

// Two processes make the keys of the same days at the same moments: each day
// gets one key, and both use it.
func TestTwoProcessesMakeDayKeys(t *testing.T) {
	token := hsmtest.New(t)
	h := hsmtest.Reopen(t, token)
	child, lines, step := startChild(t, token)
	for i := range childDays {
		label := childDay(i)
		fmt.Fprintln(step, label)
		if err := h.EnsureDayKey(t.Context(), label); err != nil {
			t.Errorf("%s here: %v", label, err)
		}
		mine := answer(t, h, label)
		if !lines.Scan() {
			t.Fatal("the other process ended early")
		}
		if theirs := lines.Text(); theirs != hex.EncodeToString(mine[:]) {
			t.Errorf("%s: the two processes use different keys, or %q", label, theirs)
		}
	}
	// What one process destroys is gone for the other, which still holds a handle.
	if err := h.Destroy(t.Context(), childDay(0)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(step, "ask "+childDay(0))
	if lines.Scan(); lines.Text() != "no key" {
		t.Errorf("the other process still has the destroyed key: %q", lines.Text())
	}
	step.Close()
	if err := child.Wait(); err != nil {
		t.Errorf("the other process: %v", err)
	}
	keys, err := h.Keys(t.Context())
	if err != nil || len(keys) != 10+childDays-1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func childDay(i int) string {
	return "record/" + time.Date(2026, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// startChild runs this test binary as the other process.
func startChild(t *testing.T, token hsmtest.Token) (*exec.Cmd, *bufio.Scanner, interface {
	Write([]byte) (int, error)
	Close() error
}) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestOtherProcess$", "-test.v=false")
	c := token.Config.Token
	child.Env = append(os.Environ(), "HSM_OTHER_PROCESS="+strings.Join([]string{c.Module, c.Label, c.PINFile, token.Config.LockFile}, "\n"))
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the other process begins with %q", lines.Text())
	}
	return child, lines, in
}

// TestOtherProcess is the other process of TestTwoProcessesMakeDayKeys, and
// does nothing otherwise.
func TestOtherProcess(t *testing.T) {
	place := strings.Split(os.Getenv("HSM_OTHER_PROCESS"), "\n")
	if len(place) != 4 {
		return
	}
	h, err := hsm.Open(t.Context(), hsm.Config{
		Token:    hsm.TokenConfig{Module: place[0], Label: place[1], PINFile: place[2]},
		LockFile: place[3],
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if label, ask := strings.CutPrefix(in.Text(), "ask "); ask {
			if _, err := h.HMAC(t.Context(), label, nil); errors.Is(err, hsm.ErrNoKey) {
				fmt.Println("no key")
			} else {
				fmt.Println("answered:", err)
			}
			continue
		}
		if err := h.EnsureDayKey(t.Context(), in.Text()); err != nil {
			fmt.Println(err)
			continue
		}
		mine := answer(t, h, in.Text())
		fmt.Println(hex.EncodeToString(mine[:]))
	}
}

// A process that keeps to no lock makes the same key in the same moment: ours,
// which nobody has used yet, is taken back.
func TestSecondKeyIsTakenBack(t *testing.T) {
	f := newFaulty()
	token := hsmtest.New(t)
	other := hsmtest.Reopen(t, token)
	token.Config.LockFile = ""
	token.Config = hsm.Through(token.Config, f.wrap)
	h := hsmtest.Reopen(t, token)
	var theirs [32]byte
	f.hook("GenerateKey", func() {
		f.hook("GenerateKey", nil)
		forge(t, other, day, 0, false)
		theirs = answer(t, other, day)
	})
	if err := h.EnsureDayKey(t.Context(), day); err != nil {
		t.Fatal(err)
	}
	if answer(t, h, day) != theirs || answer(t, other, day) != theirs {
		t.Error("the key that was in use already is not the one that stayed")
	}
}
