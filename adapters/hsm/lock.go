package hsm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockPause is how often a lock that another process holds is tried.
const lockPause = 5 * time.Millisecond

// lockFile takes the lock that keeps the processes of a machine from changing
// keys at the same time, and returns what gives it back. An empty path is no
// lock: the token orders changes itself.
//
// SoftHSM does not: two processes that make an object in the same moment write
// the same generation number into its directory, and each goes on without ever
// seeing the other's object.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: taking the lock for changing keys: %w", ErrUnavailable, err)
	}
	for {
		// A lock ends with its process, however that ends.
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("%w: taking the lock %s for changing keys: %w", ErrUnavailable, path, err)
		}
		if err := sleep(ctx, lockPause); err != nil {
			f.Close()
			return nil, fmt.Errorf("waiting for another process to change keys: %w", err)
		}
	}
}
