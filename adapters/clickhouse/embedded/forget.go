package embedded

import (
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// After a statement that drops a partition its own connection is closed for certain when forgetAfter has passed. What else
// was under way then, on a busy machine, is let go of some time later.
const (
	forgetAfter = 500 * time.Millisecond
	forgetAgain = 30 * time.Second
	forgetTimes = 5
)

// drops reports whether a statement is ALTER TABLE … DROP PARTITION, by which rows are removed that must not be kept.
func drops(statement string) bool {
	all := tokens(statement)
	return tokenOf(all, 0).is("ALTER") && slices.ContainsFunc(all, func(t token) bool { return t.is("PARTITION") })
}

// newForgets makes the timer by which the process lets go of what it read of rows that were dropped since: the heap keeps
// what was freed until it is collected. No connection keeps the end of what came through it: each serves one request, and
// its client is told so in the answer, so that nobody sends a second one into a connection that is being closed.
func (s *Server) newForgets() *time.Timer {
	return time.AfterFunc(math.MaxInt64, func() {
		runtime.GC() // pools let go of what they keep at the second
		debug.FreeOSMemory()
		if s.forgetting.Add(-1) > 0 {
			s.forgets.Reset(forgetAgain)
		}
	})
}

// forget begins to let go of what was dropped.
func (s *Server) forget() {
	s.forgetting.Store(forgetTimes)
	s.forgets.Reset(forgetAfter)
}
