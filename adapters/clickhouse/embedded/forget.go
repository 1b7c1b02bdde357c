package embedded

import (
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// forgetAfter is how long after a statement that drops a partition its own connection is closed for certain.
const forgetAfter = 500 * time.Millisecond

// drops reports whether a statement is ALTER TABLE … DROP PARTITION, by which rows are removed that must not be kept.
func drops(statement string) bool {
	all := tokens(statement)
	return tokenOf(all, 0).is("ALTER") && slices.ContainsFunc(all, func(t token) bool { return t.is("PARTITION") })
}

// newForgets makes the timer by which the process lets go of what it read of rows that were dropped since: a connection
// keeps the end of what was inserted through it until more comes, and the heap what was freed until it is collected.
func (s *Server) newForgets() *time.Timer {
	return time.AfterFunc(math.MaxInt64, func() {
		s.http.SetKeepAlivesEnabled(false) // closes those that are idle, and the others after their answer
		s.http.SetKeepAlivesEnabled(true)
		runtime.GC() // pools let go of what they keep at the second
		debug.FreeOSMemory()
	})
}
