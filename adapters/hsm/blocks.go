package hsm

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/miekg/pkcs11"
)

const (
	blockSize = 16
	// MaxBlocks is how many blocks one call to the token carries at most.
	MaxBlocks = 4096

	gatherTurns = 64
)

// EncryptBlocks replaces each block by its AES-256 encryption under the key of
// a label, each block by itself. The blocks of concurrent callers go to the
// token in one call. On an error no block has changed.
//
// Errors: as HMAC.
func (h *HSM) EncryptBlocks(ctx context.Context, label string, blocks [][16]byte) error {
	return h.transform(ctx, label, blocks, false, kindEncrypt, kindPair)
}

// DecryptBlocks is the inverse of EncryptBlocks, for the agency keys only.
func (h *HSM) DecryptBlocks(ctx context.Context, label string, blocks [][16]byte) error {
	return h.transform(ctx, label, blocks, true, kindPair)
}

func (h *HSM) transform(ctx context.Context, label string, blocks [][16]byte, inverse bool, serves ...kind) error {
	t, k, err := h.route(label, serves...)
	if err != nil {
		return fmt.Errorf("transforming blocks: %w", err)
	}
	if len(blocks) == 0 {
		return nil
	}
	flat := unsafe.Slice(&blocks[0][0], len(blocks)*blockSize)
	m := h.merger(t, mergeKey{label, inverse}, k)
	if err := m.submit(ctx, flat); err != nil {
		return fmt.Errorf("transforming %d blocks under %q: %w", len(blocks), label, err)
	}
	return nil
}

// mergeKey names the calls that may be merged.
type mergeKey struct {
	label   string
	inverse bool
}

// merger gathers the blocks of concurrent callers: while one call runs, what
// arrives waits for the next one.
type merger struct {
	hsm     *HSM
	token   *token
	key     mergeKey
	kind    kind
	mu      sync.Mutex
	queue   []*portion // guarded by mu
	running bool       // guarded by mu: a goroutine empties the queue
}

// portion is at most MaxBlocks blocks of one caller. The buffer is the
// merger's from submit until done is closed, and nobody else's: a caller that
// stops waiting leaves it behind.
type portion struct {
	buffer []byte
	done   chan struct{}
	err    error // set before done is closed
	// left is set by a caller that stopped waiting, or by the merger when it is
	// done; who comes second wipes the buffer.
	left atomic.Bool
}

func (h *HSM) merger(t *token, key mergeKey, k kind) *merger {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.merges[key]
	if m == nil {
		m = &merger{hsm: h, token: t, key: key, kind: k}
		h.merges[key] = m
	}
	return m
}

// submit transforms flat in place, wholly or not at all.
func (m *merger) submit(ctx context.Context, flat []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var portions []*portion
	for rest := flat; len(rest) > 0; {
		n := min(len(rest), MaxBlocks*blockSize)
		portions = append(portions, &portion{buffer: append([]byte(nil), rest[:n]...), done: make(chan struct{})})
		rest = rest[n:]
	}
	if err := m.enqueue(portions); err != nil {
		return err
	}
	var first error
	for _, p := range portions {
		if first == nil {
			first = p.wait(ctx)
		}
	}
	if first == nil {
		for i, p := range portions {
			copy(flat[i*MaxBlocks*blockSize:], p.buffer)
		}
	}
	for _, p := range portions {
		p.part()
	}
	return first
}

func (p *portion) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// part is called once by the caller and once by the merger.
func (p *portion) part() {
	if p.left.Swap(true) {
		clear(p.buffer)
	}
}

func (m *merger) enqueue(portions []*portion) error {
	m.hsm.mu.Lock()
	if m.hsm.closed {
		m.hsm.mu.Unlock()
		return ErrClosed
	}
	m.hsm.busy.Add(1)
	m.hsm.mu.Unlock()

	m.mu.Lock()
	m.queue = append(m.queue, portions...)
	start := !m.running
	m.running = true
	m.mu.Unlock()
	if start {
		go m.run()
	} else {
		m.hsm.busy.Done()
	}
	return nil
}

// run empties the queue and ends; the next submit starts it again.
func (m *merger) run() {
	defer m.hsm.busy.Done()
	for {
		m.gather()
		batch := m.next()
		if batch == nil {
			return
		}
		err := m.transform(batch)
		for _, p := range batch {
			p.err = err
			close(p.done)
			p.part()
		}
	}
}

// gather lets callers that are about to submit do so first: those who were answered together come back together, and
// a call for each of them would take far longer than waiting for their turns on the processors. A caller who
// is alone waits for nobody. The bound keeps a crowd that goes on for ever from holding up the first.
func (m *merger) gather() {
	for before, turns := 0, 0; turns < gatherTurns; turns++ {
		m.mu.Lock()
		waiting := len(m.queue)
		m.mu.Unlock()
		if waiting == before || waiting >= MaxBlocks {
			return
		}
		before = waiting
		runtime.Gosched()
	}
}

// next takes as many portions as one call carries, or ends the run.
func (m *merger) next() []*portion {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, size := 0, 0
	for n < len(m.queue) && size+len(m.queue[n].buffer) <= MaxBlocks*blockSize {
		size += len(m.queue[n].buffer)
		n++
	}
	if n == 0 {
		m.running, m.queue = false, nil
		return nil
	}
	batch := m.queue[:n:n]
	m.queue = m.queue[n:]
	return batch
}

func (m *merger) transform(batch []*portion) error {
	input := batch[0].buffer
	if len(batch) > 1 {
		input = nil
		for _, p := range batch {
			input = append(input, p.buffer...)
		}
		defer clear(input)
	}
	var output []byte
	defer func() { clear(output) }()
	err := m.token.use(m.hsm.life, func(s *session) (err error) {
		key, err := s.key(m.key.label, m.kind)
		if err != nil {
			return err
		}
		output, err = s.blocks(key, input, m.key.inverse)
		return err
	})
	if ended(err) {
		return ErrClosed // the only context in play is the HSM's own
	}
	if err != nil {
		return err
	}
	rest := output
	for _, p := range batch {
		rest = rest[copy(p.buffer, rest):]
	}
	return nil
}

// blocks transforms whole blocks, each by itself.
func (s *session) blocks(key pkcs11.ObjectHandle, input []byte, inverse bool) (output []byte, err error) {
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}
	if inverse {
		s.calls.decrypt.Add(1)
		if err := s.api.DecryptInit(s.handle, mechanism, key); err != nil {
			return nil, call("C_DecryptInit", err)
		}
		output, err = s.api.Decrypt(s.handle, input)
		err = call("C_Decrypt", err)
	} else {
		s.calls.encrypt.Add(1)
		if err := s.api.EncryptInit(s.handle, mechanism, key); err != nil {
			return nil, call("C_EncryptInit", err)
		}
		output, err = s.api.Encrypt(s.handle, input)
		err = call("C_Encrypt", err)
	}
	if err == nil && len(output) != len(input) {
		clear(output)
		return nil, fmt.Errorf("the token gave %d bytes for %d bytes of blocks", len(output), len(input))
	}
	return output, err
}
