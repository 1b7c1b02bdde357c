package node

import (
	"fmt"
	"time"

	"kiroku/commands"
)

// steady compares the clock with the machine's monotonic one, which nobody can move, since the node began. A machine that
// slept looks as if its clock had been moved: better a restart than a wrong time in the record.
func steady(now func() time.Time, most time.Duration) func() error {
	if most < 0 {
		return nil
	}
	wall, monotonic := now().Round(0), time.Now()
	return func() error {
		off := now().Round(0).Sub(wall) - time.Since(monotonic)
		if off.Abs() > most {
			return fmt.Errorf("by %s: %w", off.Round(time.Second), commands.ErrClockMoved)
		}
		return nil
	}
}
