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

// setting is one that a process reads once, when it begins.
type setting struct{ variable, separator, name, assign, value string }

var (
	// ofRuntime has the garbage collector overwrite every object that it frees.
	ofRuntime = setting{"GODEBUG", ",", "clobberfree", "=", "1"}
	// ofEngine has the allocator in the embedded ClickHouse (jemalloc) do the same.
	ofEngine = setting{"JE_MALLOC_CONF", ",", "junk", ":", "free"}
)

// given is the value that the environment has for a setting.
func (s setting) given() (value string, ok bool) {
	for entry := range strings.SplitSeq(os.Getenv(s.variable), s.separator) {
		if name, v, _ := strings.Cut(entry, s.assign); name == s.name {
			value, ok = v, true // the last counts
		}
	}
	return value, ok
}

// give adds it to the environment.
func (s setting) give() error {
	text := s.name + s.assign + s.value
	if others := os.Getenv(s.variable); others != "" {
		text = others + s.separator + text
	}
	return os.Setenv(s.variable, text)
}

// Overwritten reports whether this process overwrites what it frees.
func Overwritten() bool { return overwritten }

var overwritten = func() bool {
	value, _ := ofRuntime.given()
	return value == ofRuntime.value
}() // as the environment was when the process began

// Overwrite begins the program anew, in the same process, so that it overwrites what it frees; it must be the first thing
// that a program does. It returns nil where that is so already, or the environment says otherwise, and an error where the
// program cannot be begun anew: it may go on.
func Overwrite() error {
	missing := false
	for _, s := range []setting{ofRuntime, ofEngine} {
		if _, ok := s.given(); ok {
			continue
		}
		missing = true
		if err := s.give(); err != nil {
			return fmt.Errorf("begin this program anew: %w", err)
		}
	}
	if !missing {
		return nil
	}
	program, err := os.Executable()
	if err == nil {
		err = syscall.Exec(program, os.Args, os.Environ())
	}
	return fmt.Errorf("begin this program anew: %w", err)
}

// Release frees, and so overwrites, everything that nothing refers to, what pools keep included, and gives the memory
// back to the system. It takes as long as two garbage collections.
func Release() {
	runtime.GC() // pools let go of what they keep at the second
	debug.FreeOSMemory()
}
