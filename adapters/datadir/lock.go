package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// HeldError says that another process holds a folder.
type HeldError struct {
	Folder string
	PID    int // 0 if the holder has not written it yet
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is held by another process", e.Folder)
	}
	return fmt.Sprintf("%s is held by the process %d; stop that one first, or give this one another data directory", e.Folder, e.PID)
}

// LockFile is the name of the file by which a folder is held: not LOCK, which databases use, in any spelling.
const LockFile = "holder.lock"

// Lock is a folder held by this process. The system lets go of it when the
// process ends, however it ends.
type Lock struct{ file *os.File }

// Hold takes folder for this process, or fails with a *HeldError naming the
// one that has it. It does not wait.
func Hold(folder string) (*Lock, error) {
	path := filepath.Join(folder, LockFile)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("holding the folder %s: %w", folder, err)
	}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, exclusive()); err != nil {
		defer file.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, &HeldError{Folder: folder, PID: holder(path)}
		}
		return nil, fmt.Errorf("holding the folder %s: %w", folder, err)
	}
	if err := writePID(file); err != nil {
		file.Close()
		return nil, fmt.Errorf("holding the folder %s: %w", folder, err)
	}
	return &Lock{file}, nil
}

// Release lets go of the folder. The lock file stays: removing it would let a
// third process hold a new one while a second still waits on this.
func (l *Lock) Release() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("releasing %s: %w", l.file.Name(), err)
	}
	return nil
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder is the process a lock file names, 0 if it names none.
func holder(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// exclusive is the lock that one open file may have at a time. It is asked for anew each time: the system answers in it.
func exclusive() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK} }

// Held reports whether a process holds folder now. It takes nothing, not even for an instant, so that it is in nobody's
// way who holds the folder next.
func Held(folder string) (bool, error) {
	file, err := os.OpenFile(filepath.Join(folder, LockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking who holds the folder %s: %w", folder, err)
	}
	defer file.Close()
	lock := exclusive()
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, lock); err != nil {
		return false, fmt.Errorf("looking who holds the folder %s: %w", folder, err)
	}
	return lock.Type != unix.F_UNLCK, nil
}
