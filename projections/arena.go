package projections

// arena gives out memory that is taken back all at once and then given out again: the rows of a batch are copied by
// Commit, and a rebuild that left them to the garbage collector would leave it as much as it reads.
type arena struct {
	chunks [][]byte
	at     int // chunk in use
	used   int // of it
}

const (
	arenaChunk = 256 << 10
	arenaKept  = 16 // chunks kept from batch to batch
)

// room returns an empty slice with capacity n.
func (a *arena) room(n int) []byte {
	if n > arenaChunk/4 {
		return make([]byte, 0, n)
	}
	if len(a.chunks) > 0 && a.used+n > arenaChunk {
		a.at, a.used = a.at+1, 0
	}
	if a.at == len(a.chunks) {
		a.chunks = append(a.chunks, make([]byte, arenaChunk))
	}
	b := a.chunks[a.at][a.used : a.used : a.used+n]
	a.used += n
	return b
}

// reset takes everything back.
func (a *arena) reset() {
	if len(a.chunks) > arenaKept {
		a.chunks = append([][]byte(nil), a.chunks[:arenaKept]...)
	}
	a.at, a.used = 0, 0
}
