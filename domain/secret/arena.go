package secret

import (
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	smallestSlot = 32
	largestSlot  = 64 << 10
	classes      = 12       // 32, 64, … 65,536 bytes
	regionSize   = 64 << 10 // of a region of small slots; RLIMIT_MEMLOCK is 8 MiB on many systems
	maxShards    = 16
	shardedUpTo  = 1024 // larger slots are rare: one free list for all processors
)

// region is one mapping, cut into slots of one size.
type region struct {
	base     unsafe.Pointer // not a slice: what prints or walks fields by reflection finds an address, no content
	slotSize int
	home     *freeList       // nil: a mapping of its own for a secret above largestSlot
	slots    []atomic.Uint64 // generation of each slot: odd while in use, so a stale handle can be told
	mapped   int             // bytes
	mapping  mapping
}

func (r *region) holds(slot int, generation uint64) bool {
	return r.slots[slot].Load() == generation
}

func (r *region) bytes(slot, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(r.base, slot*r.slotSize)), n)
}

func newRegion(slotSize, count int, home *freeList) *region {
	size := slotSize * count
	base, m := mapMemory(size)
	return &region{base: base, slotSize: slotSize, home: home, slots: make([]atomic.Uint64, count), mapped: size, mapping: m}
}

type free struct {
	region *region
	slot   int
}

// freeList owns the free slots of one size on one shard. Slots in it are wiped.
type freeList struct {
	mu      sync.Mutex
	free    []free
	live    int
	regions []*region
	_       [32]byte // lists of neighbouring shards in different cache lines
}

func (l *freeList) take(slotSize int) (*region, int, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) == 0 {
		l.grow(slotSize)
	}
	last := len(l.free) - 1
	f := l.free[last]
	l.free = l.free[:last]
	l.live++
	return f.region, f.slot, f.region.slots[f.slot].Add(1)
}

func (l *freeList) grow(slotSize int) {
	r := newRegion(slotSize, max(regionSize/slotSize, 4), l)
	l.regions = append(l.regions, r)
	for slot := range r.slots {
		l.free = append(l.free, free{r, slot})
	}
}

func (l *freeList) put(r *region, slot int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, free{r, slot})
	l.live--
}

// memory is all the process's secret memory. Regions are kept for reuse until the process ends.
type memory struct {
	shards uint32 // a power of two
	lists  [maxShards][classes]freeList

	mu    sync.Mutex // owns large
	large map[*region]struct{}
}

var arena = newMemory()

func newMemory() *memory {
	shards := uint32(1)
	for shards < maxShards && int(shards) < runtime.GOMAXPROCS(0) {
		shards *= 2
	}
	return &memory{shards: shards, large: map[*region]struct{}{}}
}

func class(n int) int {
	if n <= smallestSlot {
		return 0
	}
	return bits.Len(uint(n-1)) - bits.Len(uint(smallestSlot-1))
}

// take returns a wiped slot of at least n bytes and its generation.
func (m *memory) take(n int) (*region, int, uint64) {
	if n > largestSlot {
		return m.takeLarge(n)
	}
	c := class(n)
	size := smallestSlot << c
	shard := uint32(0)
	if size <= shardedUpTo {
		shard = rand.Uint32() & (m.shards - 1)
	}
	return m.lists[shard][c].take(size)
}

func (m *memory) takeLarge(n int) (*region, int, uint64) {
	r := newRegion(n, 1, nil)
	m.mu.Lock()
	m.large[r] = struct{}{}
	m.mu.Unlock()
	return r, 0, r.slots[0].Add(1)
}

// release ends the secret of that generation in the slot, wiping its n bytes before anybody else can have them.
// It does nothing if that secret has already been ended.
func (m *memory) release(r *region, slot int, generation uint64, n int) {
	if !r.slots[slot].CompareAndSwap(generation, generation+1) {
		return
	}
	Wipe(r.bytes(slot, n))
	if r.home != nil {
		r.home.put(r, slot)
		return
	}
	m.mu.Lock()
	delete(m.large, r)
	m.mu.Unlock()
	unmapMemory(r.base, r.mapped, r.mapping)
}

// Usage is the state of the process's secret memory, for metrics and for the operators.
type Usage struct {
	Live          int   // secrets not yet destroyed; a number that only grows is a leak
	LockedBytes   int64 // memory the kernel promised to keep out of swap
	UnlockedBytes int64 // memory it did not: raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK)
	DumpableBytes int64 // memory that a core dump would contain; other than 0 only on kernels without MADV_DONTDUMP
}

// CurrentUsage counts the secret memory in use. It takes every lock of the arena in turn: seconds apart, not per call.
func CurrentUsage() Usage { return arena.usage() }

// Locked reports whether all secret memory of the process is locked against swapping.
func Locked() bool { return arena.usage().UnlockedBytes == 0 }

func (m *memory) usage() Usage {
	var u Usage
	for shard := range m.lists {
		for c := range m.lists[shard] {
			l := &m.lists[shard][c]
			l.mu.Lock()
			u.Live += l.live
			for _, r := range l.regions {
				u.count(r)
			}
			l.mu.Unlock()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for r := range m.large {
		u.Live++
		u.count(r)
	}
	return u
}

func (u *Usage) count(r *region) {
	if r.mapping.locked {
		u.LockedBytes += int64(r.mapped)
	} else {
		u.UnlockedBytes += int64(r.mapped)
	}
	if r.mapping.dumpable {
		u.DumpableBytes += int64(r.mapped)
	}
}
