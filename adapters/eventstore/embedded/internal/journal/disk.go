package journal

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	dto "github.com/prometheus/client_model/go"
)

// diskCheckEvery bounds how stale the knowledge of free space may be.
const diskCheckEvery = 250 * time.Millisecond

// checkDisk refuses an append while free space is short, before anything of it is
// written: a write-ahead log that hits the end of the disk cannot be continued.
func (j *Journal) checkDisk() error {
	w := &j.writer
	if now := time.Now(); now.After(w.diskCheck) {
		w.diskCheck = now.Add(diskCheckEvery)
		usage, err := j.opts.FS.GetDiskUsage(j.opts.Dir)
		w.diskFull = err == nil && usage.AvailBytes < j.opts.MinFreeBytes
	}
	if w.diskFull {
		w.diskCheck = time.Time{} // look again at the next append
		return ErrDiskFull
	}
	return nil
}

// failureLogger stops the journal where Pebble would stop the process.
type failureLogger struct{ j *Journal }

func (l failureLogger) Infof(string, ...any) {}

func (l failureLogger) Errorf(format string, args ...any) {
	l.j.opts.Logger.Error("event journal storage", "error", fmt.Sprintf(format, args...))
}

// Fatalf never returns: Pebble's state is undefined after it, so the goroutine that got
// there must not go on.
func (l failureLogger) Fatalf(format string, args ...any) {
	l.j.fail(fmt.Errorf(format, args...))
	select {}
}

// complainEvery bounds the log: Pebble tries its background work again without a pause.
const complainEvery = 10 * time.Second

func (j *Journal) listener() *pebble.EventListener {
	var complained atomic.Int64 // when, in Unix nanoseconds
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			last, now := complained.Load(), time.Now().UnixNano()
			if errors.Is(err, pebble.ErrCancelledCompaction) || now-last < int64(complainEvery) || !complained.CompareAndSwap(last, now) {
				return
			}
			// As text: formatted as a value it would bring a stack trace.
			j.opts.Logger.Warn("event journal background work failed and is retried until it succeeds", "error", err.Error())
		},
	}
}

// walSyncs counts the syncs of the write-ahead log since Open.
func (j *Journal) walSyncs() uint64 {
	h := j.db.Metrics().LogWriter.FsyncLatency
	var m dto.Metric
	if h == nil || h.Write(&m) != nil {
		return 0
	}
	n := m.GetHistogram().GetSampleCount()
	j.syncs.Store(n)
	return n
}
