package scope

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"kiroku/domain/agency"
)

// MaxFile is how many bytes of a file are read.
const MaxFile = 64 << 20

// columns are those of a rules file, in the order in which WriteCSV gives them.
var columns = []string{"id", "inquirer_class", "affair", "provider_class", "information", "legal_basis", "valid_from", "valid_to"}

func (r Row) cells() []string {
	return []string{r.ID, r.InquirerClass, r.Affair, r.ProviderClass, r.Information, r.LegalBasis, r.ValidFrom, r.ValidTo}
}

// ParseCSV reads a rules file: CSV (RFC 4180) in UTF-8, with or without a byte
// order mark, lines ending in CR LF or LF; a first line that names the eight
// columns in any order; then one rule a line. Only valid_to may be empty. With
// any Problem there is no Set. known may be the zero Classes; then the names
// of classes are not checked against a list.
func ParseCSV(r io.Reader, known Classes) (Set, []Problem) {
	var p problems
	c := newCollection(&p)
	readTable(r, columns, []string{"valid_to"}, &p, func(at int, cell func(string) string) {
		rule, faults := parseRow(Row{
			cell("id"), cell("inquirer_class"), cell("affair"), cell("provider_class"),
			cell("information"), cell("legal_basis"), cell("valid_from"), cell("valid_to"),
		})
		for _, f := range faults {
			p.add(at, f.column, "%s", f.message)
		}
		if len(faults) == 0 {
			known.check(at, rule, &p)
			c.add(at, rule)
		}
	})
	if len(p.list) == 0 && len(c.rules) == 0 {
		p.add(0, "", "holds no rule; a set without rules would refuse every inquiry")
	}
	if len(p.list) > 0 {
		return Set{}, p.sorted()
	}
	return Set{build(c.rules)}, nil
}

// Check reads a rules file as ParseCSV does and gives what is wrong with it for
// a person to read, one line for each problem, "FILE:LINE: column: problem",
// without line ends. Nothing wrong gives none.
func Check(file string, r io.Reader, known Classes) []string {
	_, found := ParseCSV(r, known)
	var out []string
	for _, p := range found {
		if p.Line > 0 {
			out = append(out, file+":"+p.String())
		} else {
			out = append(out, file+": "+p.String())
		}
	}
	return out
}

// WriteCSV writes a set as a rules file in the order of All: UTF-8 without a
// byte order mark, lines ending in LF. ParseCSV gives the same set back.
func WriteCSV(w io.Writer, s Set) error {
	out := csv.NewWriter(w)
	if err := out.Write(columns); err != nil {
		return fmt.Errorf("write scope rules: %w", err)
	}
	for r := range s.All() {
		if err := out.Write(r.Row().cells()); err != nil {
			return fmt.Errorf("write scope rule %s: %w", r.ID, err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write scope rules: %w", err)
	}
	return nil
}

// readTable reads a CSV file with named columns and gives each line whose cells
// are all there to take, with the line number and a look-up by column.
func readTable(r io.Reader, columns, optional []string, p *problems, take func(line int, cell func(string) string)) {
	in, ok := open(r, p)
	if !ok {
		return
	}
	var places map[string]int
	header := false
	for !p.full() {
		record, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil && !recoverable(err, p) {
			return
		}
		if err != nil {
			continue
		}
		at, _ := in.FieldPos(0)
		if !header {
			header = true
			if places, ok = readHeader(record, at, columns, p); !ok {
				return
			}
			continue
		}
		if complete(record, at, places, columns, optional, p) {
			take(at, func(c string) string { return record[places[c]] })
		}
	}
	if p.full() {
		p.list = append(p.list, Problem{0, "", fmt.Sprintf("more than %d problems; only the first are listed", maxProblems-1)})
	} else if !header {
		p.add(0, "", "is empty; the first line names the columns %s", strings.Join(columns, ","))
	}
}

// open takes off a byte order mark and tells early when the bytes are no
// UTF-8: then every line would be a riddle.
func open(r io.Reader, p *problems) (*csv.Reader, bool) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		p.add(0, "", "cannot be read: %v", err)
		return nil, false
	}
	if len(data) > MaxFile {
		p.add(0, "", "is larger than %d MiB", MaxFile>>20)
		return nil, false
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		p.add(lineOfInvalid(data), "", "is not UTF-8; if a spreadsheet saved it as Shift_JIS or UTF-16, save it again as CSV UTF-8")
		return nil, false
	}
	in := csv.NewReader(bufio.NewReader(bytes.NewReader(data)))
	in.FieldsPerRecord = -1
	return in, true
}

func lineOfInvalid(data []byte) int {
	line := 1
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			return line
		}
		if r == '\n' {
			line++
		}
		data = data[n:]
	}
	return line
}

// recoverable notes a line that is no CSV and reports whether reading can go on.
func recoverable(err error, p *problems) bool {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		p.add(0, "", "cannot be read: %v", err)
		return false
	}
	p.add(parse.StartLine, "", "quotation marks are wrong: a cell with \" in it is written \"…\", and \" inside as \"\"")
	return true
}

func readHeader(record []string, at int, columns []string, p *problems) (map[string]int, bool) {
	places := make(map[string]int)
	before := len(p.list)
	for i, name := range record {
		switch _, twice := places[name]; {
		case !slices.Contains(columns, name):
			p.add(at, shorten(name), "is an unknown column; the columns are %s", strings.Join(columns, ","))
		case twice:
			p.add(at, name, "column is there twice")
		default:
			places[name] = i
		}
	}
	for _, name := range columns {
		if _, ok := places[name]; !ok {
			p.add(at, name, "column is missing")
		}
	}
	return places, len(p.list) == before
}

func complete(record []string, at int, places map[string]int, columns, optional []string, p *problems) bool {
	if len(record) != len(columns) {
		p.add(at, "", "has %d cells, the first line has %d", len(record), len(columns))
		return false
	}
	ok := true
	for _, c := range columns {
		if record[places[c]] == "" && !slices.Contains(optional, c) {
			p.add(at, c, "is empty")
			ok = false
		}
	}
	return ok
}

// shorten makes an unknown column name fit to print.
func shorten(name string) string {
	c, err := agency.ParseClass(name)
	if err != nil {
		return "(unprintable)"
	}
	return c.String()
}
