package supervise

import "syscall"

// attributes put the child into a process group of its own, so that an
// interrupt typed at the terminal reaches the parent only, which then stops
// the child in its turn; and let the kernel end it when the parent dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
