package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// tailLines is how much of a log is kept for the case that it is needed.
const tailLines = 20

// When what is kept is also shown at once: a command that repeats something which fails must not stand still without a
// word.
const (
	troubleLasts = 10 * time.Second // warnings for so long are shown, and then one every so often
	troubleEnds  = 30 * time.Second // without a warning
)

// tail keeps the last lines written to it. Warnings that go on are shown as they come.
type tail struct {
	to io.Writer // for warnings; nil: standard error

	mu    sync.Mutex // guards what follows
	lines [][]byte
	began time.Time // first warning of those that go on
	last  time.Time // warning
	shown time.Time // warning
}

// Write keeps whole lines.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(p) {
		t.lines = append(t.lines, bytes.Clone(line))
		t.warn(line)
	}
	if n := len(t.lines) - tailLines; n > 0 {
		t.lines = t.lines[n:]
	}
	return len(p), nil
}

// warn shows a line if it is one of warnings that go on.
func (t *tail) warn(line []byte) {
	var said struct {
		Level              slog.Level
		Msg, Stream, Error string
		Err                string // as the parts of the store call it
	}
	if json.Unmarshal(line, &said) != nil || said.Level < slog.LevelWarn {
		return
	}
	now := time.Now()
	if now.Sub(t.last) > troubleEnds {
		t.began = now
	}
	t.last = now
	if now.Sub(t.began) < troubleLasts || now.Sub(t.shown) < troubleLasts {
		return
	}
	t.shown = now
	to := t.to
	if to == nil {
		to = os.Stderr
	}
	of := ""
	if said.Stream != "" {
		of = " (stream " + said.Stream + ")"
	}
	fmt.Fprintf(to, "kiroku: for %s: %s%s: %s%s\n", now.Sub(t.began).Round(time.Second), said.Msg, of, said.Error, said.Err)
}

func (t *tail) show(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range t.lines {
		_, _ = w.Write(line)
	}
}
