// Package leaktest searches what a core leaves behind for what must not be in it: thousands of secrets, in every form in
// which software writes bytes, in one pass. It promises the tests that a finding names the secret without showing
// it, and that a secret which is there is found, also by half.
package leaktest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sort"
)

// Secret is a value to look for, under a name that may be shown.
type Secret struct {
	Name  string // e.g. "salt of person 3"
	Value []byte // at least Shortest bytes
}

// Shortest is the least length of a secret: shorter ones would be found by chance.
const Shortest = 8

// piece is how much of a long binary secret counts as the secret.
const piece = 16

// Finding says that a secret was found.
type Finding struct {
	Secret, Form, Where string
	Offset              int
}

// String names the finding; it does not show the secret.
func (f Finding) String() string {
	return fmt.Sprintf("%s, %s, in %s at %d", f.Secret, f.Form, f.Where, f.Offset)
}

type needle struct {
	secret int32
	form   uint8
	bytes  []byte
}

// Scanner looks for a set of secrets. It is safe for concurrent use.
type Scanner struct {
	secrets []string
	forms   []string
	needles []needle
	byHead  map[uint64][]int32 // by the first eight bytes
	filter  []uint64           // bits, by a hash of those
	shift   uint
	longest int // of the needles
}

// New prepares a scan. It fails for a secret that is too short or all of one byte.
func New(secrets ...Secret) (*Scanner, error) {
	s := &Scanner{byHead: map[uint64][]int32{}}
	formAt := map[string]uint8{}
	seen := map[string]bool{}
	for i, x := range secrets {
		s.secrets = append(s.secrets, x.Name)
		if len(x.Value) < Shortest || bytes.Count(x.Value, x.Value[:1]) == len(x.Value) {
			return nil, fmt.Errorf("%s cannot be looked for: it has %d bytes, or all are the same", x.Name, len(x.Value))
		}
		for _, part := range pieces(x.Value) {
			for _, f := range Forms(part) {
				if len(f.Bytes) < Shortest || seen[string(f.Bytes)] {
					continue
				}
				seen[string(f.Bytes)] = true
				at, known := formAt[f.Name]
				if !known {
					at = uint8(len(s.forms))
					formAt[f.Name] = at
					s.forms = append(s.forms, f.Name)
				}
				head := binary.LittleEndian.Uint64(f.Bytes)
				s.byHead[head] = append(s.byHead[head], int32(len(s.needles)))
				s.needles = append(s.needles, needle{int32(i), at, f.Bytes})
				s.longest = max(s.longest, len(f.Bytes))
			}
		}
	}
	s.shift = uint(64 - max(10, bits.Len(uint(len(s.needles)))+5))
	s.filter = make([]uint64, 1<<(64-s.shift)/64)
	for head := range s.byHead {
		h := s.hash(head)
		s.filter[h/64] |= 1 << (h % 64)
	}
	return s, nil
}

func (s *Scanner) hash(head uint64) uint64 { return head * 0x9e3779b97f4a7c15 >> s.shift }

// pieces also cuts long binary secrets, so that half of one is found; text stays whole.
func pieces(b []byte) [][]byte {
	out := [][]byte{b}
	if len(textForms(b)) > 0 || len(b) < 2*piece {
		return out
	}
	for len(b) >= 2*piece {
		out, b = append(out, b[:piece]), b[piece:]
	}
	return append(out, b)
}

// Secrets returns how many secrets are looked for, and in how many forms altogether.
func (s *Scanner) Secrets() (secrets, forms int) { return len(s.secrets), len(s.needles) }

// Scan returns every occurrence of a secret in data.
func (s *Scanner) Scan(where string, data []byte) []Finding {
	if len(data) < 8 {
		return nil
	}
	var found []Finding
	filter, shift := s.filter, s.shift
	head := binary.LittleEndian.Uint64(data) << 8
	for at, last := range data[7:] {
		head = head>>8 | uint64(last)<<56
		h := head * 0x9e3779b97f4a7c15 >> shift
		if filter[h/64]&(1<<(h%64)) != 0 {
			found = s.match(found, where, data, at, head)
		}
	}
	return found
}

func (s *Scanner) match(found []Finding, where string, data []byte, at int, head uint64) []Finding {
	for _, i := range s.byHead[head] {
		n := &s.needles[i]
		if bytes.HasPrefix(data[at:], n.bytes) {
			found = append(found, Finding{s.secrets[n.secret], s.forms[n.form], where, at})
		}
	}
	return found
}

// Allow returns the findings that ok does not accept.
func Allow(found []Finding, ok func(Finding) bool) []Finding {
	var out []Finding
	for _, f := range found {
		if !ok(f) {
			out = append(out, f)
		}
	}
	return out
}

// Summary shortens findings to one line for each secret's kind, form and place, without numbers of persons.
func Summary(found []Finding) []string {
	counts := map[string]int{}
	for _, f := range found {
		counts[f.Secret+", "+f.Form+", in "+f.Where]++
	}
	out := make([]string, 0, len(counts))
	for line, n := range counts {
		out = append(out, fmt.Sprintf("%s (%d times)", line, n))
	}
	sort.Strings(out)
	return out
}
