// Package projections keeps the read models of the core: it follows the streams
// of the ledger, proves every event before anybody sees it, opens the payload
// and hands the plaintext to each projection that wants the stream.
//
// It promises to commands, and to whoever asks a read model, that nothing
// unverified enters a view; that a view and the position it stands at change in
// one commit; and that a view which was stopped, killed or rebuilt from nothing
// ends with the same rows. A stream in which verification finds something is
// halted, by itself, and says at which revision.
//
// Views hold no symbol, no resident code and no management information in
// clear, only keyed indexes of them; payloads stay sealed in them. When the key of a day is destroyed, what came of the
// day goes from them, and nothing that comes late brings it back.
package projections

import (
	"context"
	"errors"

	"kiroku/domain/ledger"
	"kiroku/domain/register"
)

// Opened is an event that was verified and whose payload was opened.
type Opened struct {
	Event       ledger.Event
	Header      ledger.Header
	HeaderBytes []byte // the header as signed; with Event.Data it is a register.Sealed
	Payload     []byte // plaintext, deterministic CBOR; wiped after Apply returns: keep no slice of it
	Unreadable  bool   // the key was destroyed: no payload, for ever
	Begins      bool   // what came before it was destroyed and truncated, as the registry says: no projection gets it any more

	decoded any // pointer to the payload struct, for Decoded; nil: not decoded yet
}

// Sealed returns the event as a view may keep it: under its key.
func (o *Opened) Sealed() register.Sealed {
	return register.Sealed{Header: o.HeaderBytes, Data: o.Event.Data}
}

// Checkpoint is how far a projection has followed a stream. The zero
// Checkpoint is the beginning.
type Checkpoint struct {
	Next  uint64      // revision of the next event, which is the number applied in a stream that was never truncated
	Leaf  ledger.Hash // leaf hash of the event before it, zero at the beginning
	Epoch uint64      // writer epoch of that event
}

// Projection is a read model. Apply may be called for different streams at the
// same time, never for one stream twice at a time.
type Projection interface {
	// Name is unique among the projections of a runner.
	Name() string
	// Wants reports whether the stream concerns the projection.
	Wants(stream string) bool
	// Checkpoint returns the position committed last for the stream.
	Checkpoint(stream string) (Checkpoint, error)
	// Apply commits the rows of the batch and the checkpoint after it, together
	// or not at all. Events below its checkpoint it skips, so the same batch
	// again changes nothing. The batch, and all bytes in it, are the caller's
	// again when it returns.
	//
	// An error that wraps event.ErrMalformed or ErrGap is final for the stream,
	// after ErrStartOver the stream is given again from the checkpoint on;
	// after any other the same batch is tried again.
	Apply(stream string, batch []Opened, to Checkpoint) error
	// Reset empties the projection: every checkpoint is the beginning again.
	Reset() error
}

// Shadowing is a projection that can be rebuilt beside itself, answering all
// the while.
type Shadowing interface {
	Projection
	// Shadow returns an empty projection of the same kind and name. A shadow
	// made earlier and not promoted is dropped.
	Shadow() (Projection, error)
	// Promote puts the rows of the shadow in the place of its own, which are
	// deleted. Nobody applies to either meanwhile.
	Promote(shadow Projection) error
}

// ErrGap is wrapped by the error of a batch that does not begin where the
// projection stands.
var ErrGap = errors.New("events are missing")

// ErrStartOver is wrapped by the error of a projection that lost what it had,
// and has to be given it again.
var ErrStartOver = errors.New("it stands further back than before")

// Opener opens payloads; the keyring is one. keyring.ErrShredded is final and
// makes the event unreadable, keyring.ErrWrongKey is evidence of tampering and
// halts the stream, anything else is tried again.
type Opener interface {
	Open(ctx context.Context, h ledger.Header, data []byte) (plaintext []byte, err error)
}

// Source is the event store.
type Source interface {
	// Subscribe calls handler with the events of the stream from revision from
	// on, in order and without a gap, until ctx ends or an error occurs; then it
	// returns. A stream that does not exist yet is waited for. The handler keeps
	// the events. caughtUp is called, between calls of handler, whenever the
	// end of the stream has been reached after being away from it.
	Subscribe(ctx context.Context, stream string, from uint64,
		handler func(ctx context.Context, events []ledger.Event) error, caughtUp func()) error
}

// Counter is a Source that also knows how long a stream is. With it the lag of
// a projection is known while it is still catching up.
type Counter interface {
	// Count returns the revision that the next event of the stream will have.
	Count(ctx context.Context, stream string) (uint64, error)
}

// Indexer makes the keys under which views find what they must not hold.
// The keyring is one. It is safe for concurrent use.
type Indexer interface {
	Index(kind string, parts ...[]byte) register.Key
}
