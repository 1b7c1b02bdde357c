package main

import (
	"bytes"
	"io"
	"sync"
)

// tailLines is how much of a log is kept for the case that it is needed.
const tailLines = 20

// tail keeps the last lines written to it.
type tail struct {
	mu    sync.Mutex // guards lines
	lines [][]byte
}

// Write keeps whole lines.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range bytes.Lines(p) {
		t.lines = append(t.lines, bytes.Clone(line))
	}
	if n := len(t.lines) - tailLines; n > 0 {
		t.lines = t.lines[n:]
	}
	return len(p), nil
}

func (t *tail) show(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range t.lines {
		_, _ = w.Write(line)
	}
}
