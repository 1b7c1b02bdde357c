package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kiroku/cmd/kiroku/internal/node"
	ends "kiroku/commands/retention"
	"kiroku/domain/calendar"
	"kiroku/projections"
)

// TestTheRecordingOfALossIsKilledAnywhere: before and after each call of a port; the next pass, of the same core or of one
// that begins anew, finishes it, and all is as if nothing had happened. It destroys no key.
func TestTheRecordingOfALossIsKilledAnywhere(t *testing.T) {
	o, know := officials(t)
	run := func(t *testing.T, strike int, after, restart bool) (string, []string) {
		f := &faults{at: -1}
		k := newKeeping(t, brief, know, func(c *node.Config) { c.RetentionPorts, c.Shards = f.ports, 1 })
		first := k.today()
		k.live(3)
		k.approve(k.proposedLost(first), o[:]...)
		ctx, kill := context.WithCancel(t.Context())
		defer kill()
		f.arm(strike, after, kill)
		_, _ = k.core.RetentionProcess.Run(ctx, nil)
		calls := f.seen()
		f.disarm()
		if slices.Contains(calls, "destroy") {
			t.Errorf("a key was to be destroyed: %v", calls)
		}
		if len(k.certificates()) > len(k.destructions()) {
			t.Errorf("killed at %d, %d certificates of %d losses", strike, len(k.certificates()), len(k.destructions()))
		}
		if restart {
			k.reopen()
		}
		if _, err := k.try(); !errors.Is(err, ends.ErrLostEarly) || errors.Is(err, ends.ErrKeyLost) {
			t.Errorf("the pass after it: %v", err)
		}
		said := k.destructions()[first.String()]
		if len(said) != 1 || !said[0].Lost || !said[0].Premature || !k.hasKey(first.AddDays(1)) {
			t.Errorf("the registry says %+v", said)
		}
		if c := k.certificate(first); !c.Lost || !c.Premature || len(c.Flaws) > 0 {
			t.Errorf("an auditor finds %+v", c)
		}
		return relative(k.ended(first, 3), first), calls
	}
	undisturbed, calls := run(t, -1, false, false)
	for i, name := range calls {
		for _, after := range []bool{false, true} {
			if after && (name == "list keys" || name == "name the token") {
				continue // nothing was changed: the next call, before it is done, is the same
			}
			t.Run(fmt.Sprintf("%02d %s, done %v", i, name, after), func(t *testing.T) {
				if got, _ := run(t, i, after, (i+len(name))%2 == 0); got != undisturbed {
					t.Errorf("it ends otherwise than undisturbed:\n%s\nwant\n%s", got, undisturbed)
				}
			})
		}
	}
}

// unwritten is a read model whose files cannot be written anew as long as it is broken.
type unwritten struct {
	slow
	broken atomic.Bool
}

var errCompaction = errors.New("the files cannot be written anew")

func (u *unwritten) Compact(context.Context) error {
	if u.broken.Load() {
		return errCompaction
	}
	return nil
}

// TestACertificateWaitsForTheCompaction: as long as the old files of one read model may hold rows of the day there is no
// certificate, in this pass, the next, or after a restart; and somebody is told.
func TestACertificateWaitsForTheCompaction(t *testing.T) {
	k := newKeeping(t, brief)
	first := k.ready(1)
	files := &unwritten{slow: slow{at: map[string]projections.Checkpoint{}}}
	files.broken.Store(true)
	follow := func() (stop func()) {
		runner, err := k.core.Follow(projections.Limits{MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}, quiet{}, files)
		if err != nil {
			t.Fatal(err)
		}
		running, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { runner.Run(running); close(done) }()
		return func() { cancel(); <-done; k.core.Unfollow(runner) }
	}
	stop := follow()
	for i := range 3 {
		r, err := k.try()
		if !errors.Is(err, errCompaction) || (len(r.Destroyed) == 1) != (i == 0) || len(r.Certified)+len(r.Truncated) > 0 || len(k.certificates()) > 0 {
			t.Errorf("pass %d: %+v, %v", i, r, err)
		}
		k.alarmed(errCompaction)
		if s := k.stands(first); s.Stage != ends.Destroyed || s.Key {
			t.Errorf("pass %d: %+v", i, s)
		}
		if i == 1 {
			stop()
			k.reopen()
			stop = follow()
		}
	}
	if !strings.Contains(k.Logs.String(), "the key of a day was destroyed") {
		t.Error("the log does not say that the key is gone")
	}
	files.broken.Store(false)
	r := k.pass()
	if !slices.Equal(r.Certified, []calendar.Day{first}) {
		t.Errorf("%+v", r)
	}
	k.finishes(first)
	stop()
}
