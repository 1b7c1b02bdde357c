package scope

import (
	"fmt"
	"slices"
	"strings"

	"kiroku/domain/agency"
	"kiroku/domain/text"
)

// Problem is one thing wrong in a file. Messages never end in a full stop and
// speak to the person who has the file open.
type Problem struct {
	Line    int    // from 1, as an editor counts; 0: the file as a whole
	Column  string // name of the column; "" where it is the whole line
	Message string
}

// String gives "line: column: message" without the parts that are absent.
func (p Problem) String() string {
	var parts []string
	if p.Line > 0 {
		parts = append(parts, fmt.Sprint(p.Line))
	}
	if p.Column != "" {
		parts = append(parts, p.Column)
	}
	return strings.Join(append(parts, p.Message), ": ")
}

// maxProblems is how many problems are told before giving up on a file.
const maxProblems = 1000

type problems struct{ list []Problem }

func (p *problems) add(line int, column, format string, args ...any) {
	if len(p.list) < maxProblems {
		p.list = append(p.list, Problem{line, column, fmt.Sprintf(format, args...)})
	}
}

func (p *problems) full() bool { return len(p.list) >= maxProblems }

// sorted gives the problems by line, those of one line as they were found.
func (p *problems) sorted() []Problem {
	slices.SortStableFunc(p.list, func(a, b Problem) int { return a.Line - b.Line })
	return p.list
}

// plain takes the prefixes of wrapped sentinels off a message: beside a line
// and a column they would only be in the way.
func plain(err error) string {
	s := err.Error()
	for _, sentinel := range []error{ErrInvalid, agency.ErrInvalid, text.ErrInvalid} {
		s = strings.ReplaceAll(s, sentinel.Error()+": ", "")
	}
	return s
}

// collection gathers rules and finds what contradicts what went before.
type collection struct {
	problems *problems
	rules    []Rule
	ids      map[string]int      // id → line
	tuples   map[tuple][]located // the rules of one tuple
}

type tuple struct {
	inquirer    agency.Class
	affair      string
	provider    agency.Class
	information string
}

type located struct {
	rule Rule
	line int
}

func newCollection(p *problems) *collection {
	return &collection{problems: p, ids: make(map[string]int), tuples: make(map[tuple][]located)}
}

// add takes a rule that was checked alone.
func (c *collection) add(line int, r Rule) {
	if len(c.rules) >= MaxRules {
		if len(c.rules) == MaxRules {
			c.problems.add(line, "", "more than %d rules; a set holds no more", MaxRules)
		}
		return
	}
	if r.Basis == (Basis{}) || r.ID == "" {
		c.problems.add(line, "", "rule was not made by ParseRow")
		return
	}
	if first, taken := c.ids[r.ID]; taken {
		c.problems.add(line, "id", "%s is the id of line %d already", r.ID, first)
		return
	}
	c.ids[r.ID] = line
	t := tuple{r.InquirerClass, r.Affair, r.ProviderClass, r.Information}
	for _, o := range c.tuples[t] {
		if r.overlaps(o.rule) {
			c.problems.add(line, "valid_from", "overlaps line %d (%s), which permits the same exchange from %s%s", o.line, o.rule.ID, o.rule.ValidFrom, until(o.rule))
			return
		}
	}
	c.tuples[t] = append(c.tuples[t], located{r, line})
	c.rules = append(c.rules, r)
}

func until(r Rule) string {
	if r.open() {
		return " on"
	}
	return " to " + r.ValidTo.String()
}
