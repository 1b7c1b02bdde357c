package processes

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"kiroku/adapters/datadir"
	"kiroku/adapters/eventstore/storetest"
)

// world is a data directory with the processes on it, and the gateways' books.
type world struct {
	t     *testing.T
	data  string
	store *process // nil where kiroku serve runs it
	proxy *storetest.Proxy

	mu    sync.Mutex // guards what follows
	cores []*remote
	seq   int
	books map[uuid.UUID]acknowledged
	short int // inquiries of short validity, which nobody answers
}

// acknowledged is a command that was answered.
type acknowledged struct {
	request request
	answer  answer
}

// newWorld is a data directory with a token. The store is still to be started.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, data: filepath.Join(t.TempDir(), "data"), books: map[uuid.UUID]acknowledged{}}
	kiroku(t, "keys", "init", "--data", w.data, "--set", "hsm.juki_bits=2048").must(t)
	return w
}

// withStore is a world on which kiroku store runs.
func withStore(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.startStore()
	return w
}

func (w *world) startStore() {
	w.t.Helper()
	w.store = start(w.t, w.data, "store")
	w.store.says("event store ready on")
}

// endpoint is what a process of the data directory announced, zero if none did.
func (w *world) endpoint(name string) datadir.Endpoint {
	w.t.Helper()
	e, err := datadir.Dir(w.data).Find(name)
	if err != nil && !errors.Is(err, datadir.ErrNotRunning) {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) connection() string {
	w.t.Helper()
	connection, err := w.endpoint("store").StoreConnection("kiroku")
	if err != nil {
		w.t.Fatal(err)
	}
	if w.proxy != nil {
		return w.proxy.Through(w.t, connection)
	}
	return connection
}

// remote is a core behind a pipe.
type remote struct {
	*process
	w  *world
	in io.WriteCloser

	mu      sync.Mutex // guards waiting
	waiting map[int]chan answer
}

// start starts a core whose views lie in a folder of its own, or of one that was killed.
func (w *world) start(views string, change ...func(*settings)) *remote {
	w.t.Helper()
	s := settings{Connection: w.connection(), HSM: filepath.Join(w.data, "hsm"), Views: folder(w.data, "views-"+views), Anchors: folder(w.data, "anchors"),
		AnchorInterval: time.Second}
	for _, f := range change {
		f(&s)
	}
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(environment(), asCore+"=1")
	in, err := command.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	read, write, err := os.Pipe() // not StdoutPipe: Wait must not close it under the reader
	if err != nil {
		w.t.Fatal(err)
	}
	command.Stdout = write
	c := &remote{w: w, in: in, waiting: map[int]chan answer{}}
	c.process = run(w.t, "core "+views, command)
	write.Close()
	if err := json.NewEncoder(in).Encode(s); err != nil {
		w.t.Fatal(err)
	}
	go c.listen(read)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cores = append(w.cores, c)
	return c
}

func (c *remote) listen(out *os.File) {
	defer out.Close()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var a answer
		if json.Unmarshal(lines.Bytes(), &a) != nil {
			continue // cut off by its death
		}
		c.mu.Lock()
		if to := c.waiting[a.Seq]; to != nil {
			to <- a
			delete(c.waiting, a.Seq)
		}
		c.mu.Unlock()
	}
}

// errNoAnswer: the gateway stopped waiting, or the core is gone.
var errNoAnswer = errors.New("no answer")

// ask gives a request once.
func (c *remote) ask(r request, within time.Duration) (answer, error) {
	r.Seq = c.w.number()
	to := make(chan answer, 1)
	c.mu.Lock()
	c.waiting[r.Seq] = to
	line, err := json.Marshal(r)
	c.mu.Unlock()
	if err == nil {
		// A pipe takes lines of this size whole; a core that is paused has room in its for many.
		_, err = c.in.Write(append(line, '\n'))
	}
	if err != nil {
		return answer{}, errNoAnswer
	}
	select {
	case a := <-to:
		return a, nil
	case <-c.exited:
	case <-time.After(within):
	}
	return answer{}, errNoAnswer
}

func (w *world) number() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	return w.seq
}

// asked are the cores that may be asked.
func (w *world) asked() []*remote {
	w.mu.Lock()
	defer w.mu.Unlock()
	var alive []*remote
	for _, c := range w.cores {
		if !c.gone() {
			alive = append(alive, c)
		}
	}
	return alive
}

// active reports whether the core decides commands.
func (c *remote) active() bool {
	a, err := c.ask(request{Kind: asks}, within)
	return err == nil && a.Outcome == "active"
}

// leads waits until the core is active.
func (c *remote) leads() {
	c.t.Helper()
	eventually(c.t, c.name+" is active", func() bool {
		if c.gone() {
			c.t.Fatalf("%s ended with %d", c.name, c.ProcessState.ExitCode())
		}
		return c.active()
	})
}

// leader waits for an active core.
func (w *world) leader() *remote {
	w.t.Helper()
	var found *remote
	eventually(w.t, "a core is active", func() bool {
		for _, c := range w.asked() {
			if c.active() {
				found = c
				return true
			}
		}
		return false
	})
	return found
}

// id makes the id of a command made now (UUIDv7).
func id() uuid.UUID { return idAt(time.Now()) }

func idAt(at time.Time) uuid.UUID {
	made := uuid.New()
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(made[:6], ms[2:])
	made[6] = made[6]&0x0f | 0x70
	return made
}
