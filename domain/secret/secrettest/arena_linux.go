package secrettest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
)

// InArena counts the places at which needle lies in the secret memory of this process: in the mappings that the kernel
// keeps out of core dumps (VmFlags "dd", proc_pid_smaps(5)), read as the kernel sees them.
func InArena(needle []byte) (int, error) {
	return inMemory(needle, func(flags []string) bool { return slices.Contains(flags, "dd") })
}

// OutsideArena counts the places in all other memory that this process may write. The needle itself is one of them, and
// so is every copy of it that the caller has.
func OutsideArena(needle []byte) (int, error) {
	return inMemory(needle, func(flags []string) bool {
		return slices.Contains(flags, "wr") && !slices.Contains(flags, "dd") && !slices.Contains(flags, "io")
	})
}

func inMemory(needle []byte, wanted func(flags []string) bool) (int, error) {
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0, fmt.Errorf("read the mappings of this process: %w", err)
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		return 0, fmt.Errorf("read the memory of this process: %w", err)
	}
	defer memory.Close()
	found, read := 0, 0
	var from, to uint64
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var lower, upper uint64
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &lower, &upper); n == 2 {
			from, to = lower, upper
		}
		flags, ok := strings.CutPrefix(lines.Text(), "VmFlags:")
		if !ok || !wanted(strings.Fields(flags)) {
			continue
		}
		n, err := inMapping(memory, from, to, needle)
		if err == nil {
			read++
		}
		found += n
	}
	if read == 0 {
		return 0, fmt.Errorf("no mapping of this process could be read")
	}
	return found, nil
}

// scanPiece bounds what a scan takes up itself.
const scanPiece = 1 << 20

func inMapping(memory *os.File, from, to uint64, needle []byte) (found int, err error) {
	piece := make([]byte, scanPiece+len(needle)-1)
	defer clear(piece)
	for ; from < to; from += scanPiece {
		n, err := memory.ReadAt(piece[:min(uint64(len(piece)), to-from)], int64(from))
		if n == 0 {
			return found, err // gone since, or the kernel's own
		}
		found += bytes.Count(piece[:n], needle)
	}
	return found, nil
}
