package secret

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is what the kernel granted for a region.
type mapping struct {
	offHeap  bool // false: mmap failed and the region is Go memory
	locked   bool
	dumpable bool
}

// mapMemory returns size zero bytes outside the Go heap, locked, kept out of core dumps and wiped in forked
// children, each as far as the kernel allows. Where not even the mapping can be had it falls back to the Go heap,
// counted as unlocked and dumpable: a core that is short of mappings still answers, and Locked tells.
func mapMemory(size int) (unsafe.Pointer, mapping) {
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return unsafe.Pointer(unsafe.SliceData(make([]byte, size))), mapping{dumpable: true}
	}
	m := mapping{
		offHeap:  true,
		locked:   unix.Mlock(mem) == nil,
		dumpable: unix.Madvise(mem, unix.MADV_DONTDUMP) != nil,
	}
	_ = unix.Madvise(mem, unix.MADV_WIPEONFORK) // kernels before 4.14 do not know it
	return unsafe.Pointer(unsafe.SliceData(mem)), m
}

// unmapMemory gives a region of a single secret back to the kernel. The unlock is implied.
func unmapMemory(base unsafe.Pointer, size int, m mapping) {
	if m.offHeap {
		_ = unix.Munmap(unsafe.Slice((*byte)(base), size)) // it can only fail for what was never mapped
	}
}
