package leaktest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// memoryPiece bounds what a scan of memory takes up at a time.
const memoryPiece = 1 << 20

// Memory scans the memory of another process, as a core dump of it would show it and more: every page that it has, in
// memory or swapped, of every mapping but those that only show a file as it is on the disk. Memory kept out of core dumps
// is scanned too. Stop the process before, so that the image is one moment's. The caller must be allowed to trace it.
func (s *Scanner) Memory(pid int) (found []Finding, n Scanned, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, n, fmt.Errorf("read the mappings of process %d: %w", pid, err)
	}
	m := image{scanner: s, buffer: make([]byte, memoryPiece)}
	if m.memory, err = os.Open(fmt.Sprintf("/proc/%d/mem", pid)); err != nil {
		return nil, n, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	defer m.memory.Close()
	if m.pages, err = os.Open(fmt.Sprintf("/proc/%d/pagemap", pid)); err != nil {
		return nil, n, fmt.Errorf("read the pages of process %d: %w", pid, err)
	}
	defer m.pages.Close()
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		if err := m.mapping(lines.Text()); err != nil {
			return nil, n, fmt.Errorf("memory of process %d: %w", pid, err)
		}
	}
	if m.read.Bytes == 0 {
		return nil, n, fmt.Errorf("process %d has no memory", pid)
	}
	return m.found, m.read, nil
}

// image is a process's memory while it is scanned.
type image struct {
	scanner       *Scanner
	memory, pages *os.File
	buffer        []byte
	found         []Finding
	read          Scanned // its files are mappings
}

// Bits of an entry of proc_pid_pagemap(5).
const (
	pagePresent = 1 << 63
	pageSwapped = 1 << 62
)

func (m *image) mapping(line string) error {
	var from, to uint64
	var flags, offset, device string
	var inode uint64
	if n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %d", &from, &to, &flags, &offset, &device, &inode); n != 6 {
		return fmt.Errorf("a mapping that cannot be read: %q", line)
	}
	if flags[0] != 'r' || inode != 0 && flags[1] != 'w' || strings.HasSuffix(line, "[vvar]") || strings.HasSuffix(line, "[vvar_vclock]") || strings.HasSuffix(line, "[vsyscall]") {
		return nil
	}
	page := uint64(os.Getpagesize())
	entries := make([]byte, (to-from)/page*8)
	if _, err := m.pages.ReadAt(entries, int64(from/page*8)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("pages of %x: %w", from, err)
	}
	m.read.Files++
	where := "memory, " + strings.TrimSpace(line[strings.Index(line, " "):])
	for at := from; at < to; at += page {
		if binary.NativeEndian.Uint64(entries[(at-from)/page*8:])&(pagePresent|pageSwapped) == 0 {
			continue
		}
		end := at
		for end < to && binary.NativeEndian.Uint64(entries[(end-from)/page*8:])&(pagePresent|pageSwapped) != 0 {
			end += page
		}
		m.run(where, at, end)
		at = end - page
	}
	return nil
}

// run scans pages that follow each other, piece by piece with an overlap as long as the longest needle.
func (m *image) run(where string, from, to uint64) {
	for at := from; at < to; {
		n, _ := m.memory.ReadAt(m.buffer[:min(uint64(len(m.buffer)), to-at)], int64(at))
		if n == 0 {
			return // the kernel's own
		}
		m.read.Bytes += int64(n)
		for _, f := range m.scanner.Scan(where, m.buffer[:n]) {
			f.Offset += int(at)
			m.found = append(m.found, f)
		}
		if at+uint64(n) >= to || n <= m.scanner.longest {
			return
		}
		at += uint64(n - m.scanner.longest)
	}
}
