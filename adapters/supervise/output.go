package supervise

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// longestLine bounds a line of the child's output; the rest of a longer one is
// passed on as a line of its own.
const longestLine = 64 << 10

// firstLine calls then when a first whole line was written, and drops the
// output.
type firstLine struct{ then func() }

func (f *firstLine) Write(p []byte) (int, error) {
	if bytes.IndexByte(p, '\n') >= 0 {
		f.then()
	}
	return len(p), nil
}

// lines passes the child's standard error on line by line: what is a log
// record goes through as it is; anything else (a crash report of the runtime,
// a complaint of a library) becomes a record of the parent's log, so that the
// stream stays JSON.
type lines struct {
	logs  io.Writer
	log   *slog.Logger
	child string
	words *tail
	rest  []byte // a line that has not ended yet
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 && len(l.rest) < longestLine {
			return len(p), nil
		}
		next := end + 1
		if end < 0 {
			end, next = longestLine, longestLine
		}
		l.pass(bytes.TrimRight(l.rest[:end], "\r\n"))
		l.rest = append(l.rest[:0], l.rest[next:]...)
	}
}

func (l *lines) pass(line []byte) {
	if len(line) == 0 {
		return
	}
	if line[0] == '{' && json.Valid(line) {
		// One write per record, as log/slog does: lines of two processes on
		// one terminal do not mix.
		_, _ = l.logs.Write(append(line[:len(line):len(line)], '\n'))
		return
	}
	l.words.add(string(line))
	l.log.Error("child said", "child", l.child, "line", string(line))
}

// tail keeps the end of what was said.
type tail struct {
	mu   sync.Mutex // guards said
	said []string
	size int
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line = line[:min(len(line), lastWords)]
	t.said = append(t.said, line)
	for t.size += len(line); t.size > lastWords; t.said = t.said[1:] {
		t.size -= len(t.said[0])
	}
}

// String is what was said last, on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.said, "; ")
}
