package ledger

import (
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// DefaultFindings is how many findings a verification keeps unless told
// otherwise; it counts all of them.
const DefaultFindings = 100

// TrustedStart is a beginning of a stream after revision 0 that the caller
// knows to be rightful, from an anchored fact outside this run. Truncation
// events in the registry say the same to every verifier and need no repeating
// here.
type TrustedStart struct {
	Stream string
	First  uint64 // first revision that is there
	Prev   Hash   // leaf hash of the event at First-1
}

// Options of a verification. The zero value checks everything there is to
// check without knowledge from outside.
type Options struct {
	Heads       []Heads        // heads files kept outside the ledger
	Starts      []TrustedStart // beginnings known to be rightful
	AnyStart    bool           // streams may begin anywhere: for checking a tail
	MaxFindings int            // findings kept; 0: [DefaultFindings]
	Workers     int            // goroutines; 0: one per core
}

// Result is what a verification found.
type Result struct {
	Events     uint64 // looked at
	Batches    uint64 // begun in what was looked at
	Signatures uint64 // verified; a batch that two workers share counts twice
	Anchors    uint64 // good anchors in the registry
	// HeadsChecked were written down in anchors and heads files and found in
	// place; HeadsUnchecked lie before a rightful beginning or among events
	// already reported.
	HeadsChecked, HeadsUnchecked uint64

	Ledger  string // id of the ledger, empty if registry/0 was not among the events
	Streams []Head // last good event of each stream, sorted by stream

	Findings      []Finding // sorted by stream, revision, kind; may repeat
	FindingsTotal uint64    // including those above MaxFindings
}

// OK reports whether nothing was found wrong.
func (r Result) OK() bool { return r.FindingsTotal == 0 }

// Verifier checks a whole ledger, or part of one, as its events stream by. The
// streams may be interleaved in any way; within each, events are added by
// rising revision. Memory grows with the batches of a stream since its last
// anchor: feed the events in the order of appending, or the registry first.
//
// A Verifier belongs to one goroutine. It checks events on others, so the
// slices of an added event must not change before Finish returns, and Finish
// must be called.
type Verifier struct {
	workers    sync.WaitGroup
	serial     sync.WaitGroup
	open       []Event
	todo       chan *chunk // to the workers, any order
	ordered    chan *chunk // to the serial part, in order of adding
	signatures atomic.Uint64
	book       *book // owned by the serial goroutine until Finish
	finished   bool
	result     Result
}

// chunkSize is how many events a worker takes at a time: long enough that
// handing over costs nothing, short enough to keep all workers busy.
const chunkSize = 512

type chunk struct {
	events   []Event
	verdicts []verdict
	done     chan struct{}
}

// verdict is the result of checking an event alone, without the parts that are
// no longer needed.
type verdict struct {
	finding *Finding
	prev    Hash
	leaf    Hash
	head    Head
	sealed  bool
	starts  bool // is an epoch-started event
	index   uint64
	batch   statement
}

// NewVerifier starts a verification with these public keys.
func NewVerifier(keys KeySet, options Options) *Verifier {
	n := options.Workers
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	v := &Verifier{
		todo:    make(chan *chunk, 2*n),
		ordered: make(chan *chunk, 2*n),
		book:    newBook(options),
	}
	for range n {
		v.workers.Go(func() { v.work(keys) })
	}
	v.serial.Go(v.readInOrder)
	return v
}

// Verify adds all events and finishes. It fails only with an error of the
// sequence; the result then covers the events before it.
func Verify(keys KeySet, options Options, events iter.Seq2[Event, error]) (Result, error) {
	v := NewVerifier(keys, options)
	for e, err := range events {
		if err != nil {
			return v.Finish(), err
		}
		v.Add(e)
	}
	return v.Finish(), nil
}

// Add takes the next event. It blocks while the workers are behind. After Finish
// it does nothing.
func (v *Verifier) Add(e Event) {
	if v.finished {
		return
	}
	if v.open == nil {
		v.open = make([]Event, 0, chunkSize)
	}
	v.open = append(v.open, e)
	if len(v.open) == chunkSize {
		v.dispatch()
	}
}

func (v *Verifier) dispatch() {
	if len(v.open) == 0 {
		return
	}
	c := &chunk{events: v.open, done: make(chan struct{})}
	v.open = nil
	v.ordered <- c
	v.todo <- c
}

// Finish waits for the checks of all added events, makes those that need the
// whole ledger, and returns the result. Further calls return the same.
func (v *Verifier) Finish() Result {
	if v.finished {
		return v.result
	}
	v.dispatch()
	v.finished = true
	close(v.todo)
	close(v.ordered)
	v.workers.Wait()
	v.serial.Wait()
	v.book.close()
	v.result = v.book.result
	v.result.Signatures = v.signatures.Load()
	slices.SortStableFunc(v.result.Findings, compareFindings)
	return v.result
}

func (v *Verifier) work(keys KeySet) {
	check := checker{keys: keys}
	for c := range v.todo {
		c.verdicts = make([]verdict, len(c.events))
		for i := range c.events {
			c.verdicts[i] = judge(&check, &c.events[i])
		}
		close(c.done)
	}
	v.signatures.Add(check.signatures)
}

func judge(check *checker, e *Event) verdict {
	checked, finding := check.check(e)
	if finding != nil {
		return verdict{finding: finding}
	}
	return verdict{
		prev: checked.Header.Prev, leaf: checked.Leaf, head: checked.Head(), sealed: checked.Header.Sealed(),
		starts: checked.Header.Type == TypeEpochStarted,
		index:  checked.Receipt.Index, batch: checked.statement(),
	}
}

func (v *Verifier) readInOrder() {
	for c := range v.ordered {
		<-c.done
		for i := range c.events {
			v.book.enter(&c.events[i], &c.verdicts[i])
		}
	}
}
