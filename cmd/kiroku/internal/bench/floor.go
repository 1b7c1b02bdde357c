package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kiroku/adapters/hsm"
)

// floorBatch is how many events one bare write holds.
const floorBatch = 256

// bareDisk writes events of so many bytes to a file of the measured disk, floorBatch at a time, each batch followed by
// fdatasync, for about as long as a second.
func bareDisk(dir string, eventBytes int) (Floor, error) {
	path := filepath.Join(dir, "floor")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return Floor{}, fmt.Errorf("measure the bare disk: %w", err)
	}
	defer os.Remove(path) //nolint:errcheck // in a folder that is removed
	defer f.Close()
	batch := make([]byte, floorBatch*eventBytes)
	_, _ = rand.Read(batch)
	began, n := time.Now(), 0
	for time.Since(began) < time.Second {
		if _, err := f.Write(batch); err != nil {
			return Floor{}, fmt.Errorf("measure the bare disk: %w", err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return Floor{}, fmt.Errorf("measure the bare disk: %w", err)
		}
		n += floorBatch
	}
	return Floor{What: fmt.Sprintf("bare write and fdatasync of %d such events of %d bytes at a time on the same disk", floorBatch, eventBytes),
		Rate: float64(n) / time.Since(began).Seconds()}, nil
}

// bareTime is how long one call takes, found by repeating it for a while from as many callers.
func bareTime(callers int, do func() error) (time.Duration, error) {
	const enough = 250 * time.Millisecond
	counts, errs := make([]int, callers), make([]error, callers)
	began := time.Now()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for errs[c] == nil && time.Since(began) < enough {
				errs[c] = do()
				counts[c]++
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	total := 0
	for c := range callers {
		if errs[c] != nil {
			return 0, fmt.Errorf("measure the bare token: %w", errs[c])
		}
		total += counts[c]
	}
	return took / time.Duration(max(total, 1)), nil
}

// bareCalls is how long the token takes for these calls with nothing else to do: the faster of one caller and of one for
// each session. blocks is how many blocks the encrypting and decrypting calls carried together.
func bareCalls(ctx context.Context, h *hsm.HSM, made HSM, blocks int) (time.Duration, error) {
	message := make([]byte, 32)
	perCall := max(1, blocks/int(max(1, made.Encrypt+made.Decrypt)))
	kinds := []struct {
		n  uint64
		do func() error
	}{
		{made.HMAC, func() error {
			mac, err := h.HMAC(ctx, hsm.LabelIndex, message)
			mac.Destroy()
			return err
		}},
		{made.Encrypt, func() error { return h.EncryptBlocks(ctx, hsm.LabelAgency, make([][16]byte, perCall)) }},
		{made.Decrypt, func() error { return h.DecryptBlocks(ctx, hsm.LabelAgency, make([][16]byte, perCall)) }},
		{made.Sign, func() error {
			_, err := h.Sign(ctx, hsm.LabelSign, [32]byte{1})
			return err
		}},
	}
	var sum time.Duration
	for i, k := range kinds {
		if k.n == 0 {
			continue
		}
		best, err := bareTime(1, k.do)
		if err != nil {
			return 0, err
		}
		if i == 0 || i == 3 { // calls with blocks would merge, and be others than those made
			several, err := bareTime(hsm.DefaultSessions, k.do)
			if err != nil {
				return 0, err
			}
			best = min(best, several)
		}
		sum += time.Duration(k.n) * best
	}
	return sum, nil
}
