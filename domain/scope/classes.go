package scope

import (
	"io"
	"slices"
	"strings"

	"kiroku/domain/agency"
)

// Classes is the list of agency classes that a rule may name, and for each
// whether it is one of the statute or one made for by-law affairs. A by-law
// affair belongs to the municipality that filed it and to no other, so a rule
// on Act 19(9) must have an inquirer class of its own, which only that agency
// holds; a class of the statute, which a thousand agencies hold, is refused
// there. The zero Classes knows no list and checks neither.
type Classes struct{ kinds map[agency.Class]Kind }

// NewClasses makes a list in code. Later entries win.
func NewClasses(statutory, byLaw []agency.Class) Classes {
	c := Classes{make(map[agency.Class]Kind)}
	for _, x := range statutory {
		c.kinds[x] = Statutory
	}
	for _, x := range byLaw {
		c.kinds[x] = ByLaw
	}
	return c
}

var classColumns = []string{"class", "kind", "held_by"}

// ParseClasses reads a CSV file with the columns class, kind ("statutory" or
// "by-law") and held_by (who holds it, for the reader only).
func ParseClasses(r io.Reader) (Classes, []Problem) {
	var p problems
	c := Classes{make(map[agency.Class]Kind)}
	lines := make(map[agency.Class]int)
	readTable(r, classColumns, []string{"held_by"}, &p, func(at int, cell func(string) string) {
		class, err := agency.ParseClass(cell("class"))
		if err != nil {
			p.add(at, "class", "%s", plain(err))
			return
		}
		if first, taken := lines[class]; taken {
			p.add(at, "class", "%s is on line %d already", class, first)
			return
		}
		lines[class] = at
		switch cell("kind") {
		case Statutory.String():
			c.kinds[class] = Statutory
		case ByLaw.String():
			c.kinds[class] = ByLaw
		default:
			p.add(at, "kind", "is neither statutory nor by-law")
		}
	})
	if len(p.list) > 0 {
		return Classes{}, p.sorted()
	}
	return c, nil
}

// Knows reports whether the list names a class.
func (c Classes) Knows(x agency.Class) bool { return c.kinds[x] != 0 }

// List gives the classes, sorted by their bytes.
func (c Classes) List() []agency.Class {
	var out []agency.Class
	for x := range c.kinds {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b agency.Class) int { return strings.Compare(a.String(), b.String()) })
	return out
}

func (c Classes) check(at int, r Rule, p *problems) {
	if c.kinds == nil {
		return
	}
	for _, x := range []struct {
		column string
		class  agency.Class
	}{{"inquirer_class", r.InquirerClass}, {"provider_class", r.ProviderClass}} {
		if !c.Knows(x.class) {
			p.add(at, x.column, "%s is not a known agency class; correct it or add it to the list of classes", x.class)
		}
	}
	switch kind := c.kinds[r.InquirerClass]; {
	case kind == Statutory && r.Kind() == ByLaw:
		p.add(at, "inquirer_class", "%s is a class of the statute, but a by-law affair belongs to the one agency that filed it; give it a by-law class of its own", r.InquirerClass)
	case kind == ByLaw && r.Kind() == Statutory:
		p.add(at, "inquirer_class", "%s is a by-law class, but the legal basis is the statute's", r.InquirerClass)
	}
}
