package embedded

import (
	"context"
)

// Scavenged says what a scavenge removed.
type Scavenged struct {
	Events uint64
}

// Scavenge removes for good, and rewrites the files that held, the events that stream
// metadata has truncated ($tb, $maxCount) and those of deleted streams. Reads, appends
// and subscriptions go on meanwhile. It may be repeated, and resumed after a crash.
//
// A file that an iterator still reads leaves the disk when the read ends, within
// moments; a file system may keep the blocks of a removed file until they are reused.
func (s *Server) Scavenge(ctx context.Context) (Scavenged, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the server's end ends it
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	s.log.Info("scavenge started")
	done, err := s.journal.Scavenge(ctx)
	if err != nil {
		s.log.Error("scavenge failed", "error", err)
		return Scavenged{Events: done.Events}, err
	}
	s.log.Info("scavenge done", "events", done.Events)
	return Scavenged{Events: done.Events}, nil
}
