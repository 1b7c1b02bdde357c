//go:build unix && !linux

package supervise

import "syscall"

// attributes put the child into a process group of its own, so that an
// interrupt typed at the terminal reaches the parent only. The parent's death
// reaches the child as the end of its standard input.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
