package embedded

import (
	"syscall"
	"unsafe"
)

// taken are the signals that the engine sets to their default, of those whose
// handlers Go's runtime needs.
var taken = []syscall.Signal{syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGILL, syscall.SIGBUS, syscall.SIGSYS, syscall.SIGFPE, syscall.SIGTSTP, syscall.SIGTRAP}

// disposition is a kernel's struct sigaction, whatever is in it.
type disposition [8]uint64

// signalSetSize is the length of a set of signals, in bytes.
const signalSetSize = 8

// dispositions are what the process does about the signals taken.
type dispositions []disposition

func currentSignals() dispositions {
	found := make(dispositions, len(taken))
	for i, signal := range taken {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal), 0, uintptr(unsafe.Pointer(&found[i])), signalSetSize, 0, 0)
	}
	return found
}

func (d dispositions) restore() {
	for i, signal := range taken {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&d[i])), 0, signalSetSize, 0, 0)
	}
}
