// Package freed sees to the memory that the program no longer uses. Records pass through it in clear, as text, while they
// are decided upon and shown, and Go leaves what is freed as it is until something else comes to lie there. It promises
// whoever takes a core dump to find no record in it that was done with before the last garbage collection.
//
// Keys and codes do not depend on it: they lie in the memory of package secret, and are wiped.
package freed

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
)

// The setting of the Go runtime that has every object overwritten when it is freed, and the variable in which settings
// are given. It is read only once, when a process begins.
const (
	variable = "GODEBUG"
	setting  = "clobberfree"
)

// Overwritten reports whether this process overwrites what it frees.
func Overwritten() bool {
	value, _ := given()
	return value == "1"
}

func given() (value string, ok bool) {
	for entry := range strings.SplitSeq(os.Getenv(variable), ",") {
		if name, v, _ := strings.Cut(entry, "="); name == setting {
			value, ok = v, true // the last counts
		}
	}
	return value, ok
}

// Overwrite begins the program anew, in the same process, so that it overwrites what it frees; it must be the first thing
// that a program does. It returns nil where that is so already, or the environment says otherwise, and an error where the
// program cannot be begun anew: it may go on.
func Overwrite() error {
	if _, ok := given(); ok {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program to begin it anew: %w", err)
	}
	before := os.Getenv(variable)
	settings := setting + "=1"
	if before != "" {
		settings = before + "," + settings
	}
	if err := os.Setenv(variable, settings); err != nil {
		return fmt.Errorf("begin this program anew: %w", err)
	}
	err = syscall.Exec(program, os.Args, os.Environ())
	_ = os.Setenv(variable, before) // this process does not
	return fmt.Errorf("begin this program anew: %w", err)
}

// Release frees, and so overwrites, everything that nothing refers to, what pools keep included, and gives the memory
// back to the system. It takes as long as two garbage collections.
func Release() {
	runtime.GC() // pools let go of what they keep at the second
	debug.FreeOSMemory()
}
