package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The engine notes the tokens of an insert in a log beside the table, and only then keeps the rows. Killed in between it
// would know the tokens at its next start, take the same insert for kept when it comes again, and lose it for ever. So
// before the engine starts, what was noted and not kept is struck from the log: from then on a token that is known is a
// token whose rows are there.

// Lines of a log: an operation, a part of the table and a token, which the engine has hashed, between tabs.
const (
	noted  = "1" // the token came with the part
	struck = "2" // it may come again
)

// part is a part of a table, as the folder that holds it is named.
type part struct {
	partition       string
	first, last     uint64 // blocks in it; each insert makes one in each partition that it has rows for
	level, mutation uint64
}

func parsePart(name string) (p part, ok bool) {
	fields := strings.Split(name, "_")
	if len(fields) != 4 && len(fields) != 5 {
		return p, false
	}
	numbers := make([]uint64, 4)
	for i, field := range fields[1:] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return p, false
		}
		numbers[i] = n
	}
	return part{fields[0], numbers[0], numbers[1], numbers[2], numbers[3]}, fields[0] != ""
}

// replaces reports whether the engine reads p instead of another part that holds the same block.
func (p part) replaces(other part) bool {
	if a, b := p.last-p.first, other.last-other.first; a != b {
		return a > b
	}
	return p.level > other.level || p.level == other.level && p.mutation > other.mutation
}

// strikeUnkept strikes from the logs of all tables below the engine's data what was noted and not kept. It returns how
// many inserts that were. The engine must not be running.
func strikeUnkept(data string) (unkept int, err error) {
	folders, err := filepath.Glob(filepath.Join(data, "store", "*", "*", "deduplication_logs"))
	if err != nil {
		return 0, fmt.Errorf("looking for the tokens of inserts: %w", err)
	}
	for _, folder := range folders {
		n, err := strikeInTable(filepath.Dir(folder), folder)
		if err != nil {
			return unkept, fmt.Errorf("comparing the tokens of inserts with what was kept: %w", err)
		}
		unkept += n
	}
	return unkept, nil
}

func strikeInTable(table, logs string) (int, error) {
	files, err := logFiles(logs)
	if err != nil || len(files) == 0 {
		return 0, err
	}
	newest := files[len(files)-1]
	if err := endLine(newest); err != nil {
		return 0, err
	}
	known, err := readLogs(files)
	if err != nil {
		return 0, err
	}
	k, err := keptIn(table)
	if err != nil {
		return 0, err
	}
	var lines bytes.Buffer
	unkept := map[string]bool{}
	for token, name := range known {
		p, ok := parsePart(name)
		if !ok {
			return 0, fmt.Errorf("%s names %q, which is no part of a table; the engine is not of version %s", newest, name, Version)
		}
		there, err := k.holds(p)
		if err != nil {
			return 0, err
		}
		if !there {
			unkept[name] = true
			fmt.Fprintf(&lines, "%s\t%s\t%s\n", struck, name, token)
		}
	}
	return len(unkept), appendTo(newest, lines.Bytes())
}

// logFiles are a table's logs, the newest last.
func logFiles(folder string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "deduplication_log_*.txt"))
	number := func(path string) int {
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "deduplication_log_"), ".txt"))
		return n
	}
	slices.SortFunc(files, func(a, b string) int { return number(a) - number(b) })
	return files, err
}

// endLine cuts off a line that was not written to its end: the next one would be written behind it, and the engine reads
// no further than the first line that it does not understand.
func endLine(path string) error {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 || text[len(text)-1] == '\n' {
		return err
	}
	return os.Truncate(path, int64(bytes.LastIndexByte(text, '\n')+1))
}

// readLogs gives the tokens that the engine would know, and the parts they came with.
func readLogs(files []string) (map[string]string, error) {
	known := map[string]string{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			switch {
			case len(fields) == 3 && fields[0] == noted:
				known[fields[2]] = fields[1]
			case len(fields) == 3 && fields[0] == struck:
				delete(known, fields[2])
			default:
				return nil, fmt.Errorf("%s has a line that is no token; the engine is not of version %s", path, Version)
			}
		}
	}
	return known, nil
}

func appendTo(path string, lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(lines)
	return errors.Join(err, file.Sync(), file.Close())
}

// kept are the parts of a table, by partition.
type kept struct {
	table string
	parts map[string][]string // names
	empty map[string]bool     // by name, of those that were looked into
}

func keptIn(table string) (*kept, error) {
	entries, err := os.ReadDir(table)
	if err != nil {
		return nil, err
	}
	k := &kept{table: table, parts: map[string][]string{}, empty: map[string]bool{}}
	for _, e := range entries {
		if p, ok := parsePart(e.Name()); ok && e.IsDir() {
			k.parts[p.partition] = append(k.parts[p.partition], e.Name())
		}
	}
	return k, nil
}

// holds reports whether what came with a part is in the table, there or merged into another part. Where a partition was
// dropped an empty part lies in place of the others for a while.
func (k *kept) holds(p part) (bool, error) {
	var in part
	name := ""
	for _, candidate := range k.parts[p.partition] {
		c, _ := parsePart(candidate)
		if c.first <= p.first && p.last <= c.last && (name == "" || c.replaces(in)) {
			in, name = c, candidate
		}
	}
	if name == "" {
		return false, nil
	}
	empty, looked := k.empty[name]
	if !looked {
		rows, err := os.ReadFile(filepath.Join(k.table, name, "count.txt"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		empty = strings.TrimSpace(string(rows)) == "0"
		k.empty[name] = empty
	}
	return !empty, nil
}
