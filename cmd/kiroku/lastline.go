package main

import (
	"strings"
	"sync"

	"kiroku/adapters/clickhouse"
)

// lastLine keeps the last line that is written to it, for whoever has to say why something ended.
type lastLine struct {
	mu         sync.Mutex // guards the rest
	line, part string
}

// longestLine bounds what is kept, in bytes.
const longestLine = 2000

func (l *lastLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text := range strings.Lines(l.part + string(p)) {
		l.part = text
		if strings.HasSuffix(text, "\n") {
			l.part = ""
			if text = strings.TrimSpace(text); text != "" {
				l.line = text[:min(len(text), longestLine)]
			}
		}
	}
	l.part = l.part[:min(len(l.part), longestLine)]
	return len(p), nil
}

// String is fit for a terminal.
func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return clickhouse.Text(l.line)
}
