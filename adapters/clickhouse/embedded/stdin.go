package embedded

import (
	"fmt"
	"os"
	"syscall"
)

// MoveStandardInput opens the process's standard input elsewhere and leaves in its place one that is at its end. Call it
// before anything reads standard input and before Open: the engine is a command line client too, and once in some
// thousand inserts it looks there for more data. It would wait for ever at a terminal, or at the pipe that tells a child
// of the end of its parent, and nothing can kill a query that does.
func MoveStandardInput() (*os.File, error) {
	moved, err := syscall.Dup(0)
	if err != nil {
		return nil, fmt.Errorf("moving standard input: %w", err)
	}
	syscall.CloseOnExec(moved)
	nothing, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("moving standard input: %w", err)
	}
	defer nothing.Close()
	if err := syscall.Dup3(int(nothing.Fd()), 0, 0); err != nil {
		return nil, fmt.Errorf("moving standard input: %w", err)
	}
	return os.NewFile(uintptr(moved), "standard input"), nil
}
