package embedded

import "strings"

// kind of a token.
type kind int

const (
	word     kind = iota // keyword or name, as it stands
	quoted               // name in backquotes or double quotes, without them
	text                 // string literal
	number               //
	sign                 // any other character
	unclosed             // something that does not end
)

// token is a piece of a statement.
type token struct {
	kind  kind
	value string // of a word, a quoted name or a sign
	start int    // byte in the statement
	depth int    // of brackets around it
}

// is reports whether the token is the keyword, given in capitals.
func (t token) is(keyword string) bool { return t.kind == word && strings.EqualFold(t.value, keyword) }

// name is what the token names, in lower case; empty if it names nothing.
func (t token) name() string {
	if t.kind == word || t.kind == quoted {
		return strings.ToLower(t.value)
	}
	return ""
}

func (t token) sign(character string) bool { return t.kind == sign && t.value == character }

// tokens cuts a statement as ClickHouse does, without comments and spaces.
func tokens(statement string) []token {
	var found []token
	depth := 0
	for at := 0; at < len(statement); {
		t, next := tokenAt(statement, at)
		switch {
		case t.sign("(") || t.sign("["):
			t.depth = depth
			depth++
		case t.sign(")") || t.sign("]"):
			depth--
			t.depth = depth
		default:
			t.depth = depth
		}
		if next > at && t.kind >= 0 {
			found = append(found, t)
		}
		at = next
	}
	return found
}

// none marks spaces and comments.
const none kind = -1

func tokenAt(s string, at int) (token, int) {
	c := s[at]
	switch {
	case c == ' ' || c >= '\t' && c <= '\r' || c == 0:
		return token{kind: none}, at + 1
	case strings.HasPrefix(s[at:], "--"), strings.HasPrefix(s[at:], "#!"), strings.HasPrefix(s[at:], "# "):
		return token{kind: none}, after(s, at, "\n", len(s))
	case strings.HasPrefix(s[at:], "/*"):
		return token{kind: none}, after(s, at+2, "*/", len(s))
	case c == '\'':
		return quotedAt(s, at, text)
	case c == '`' || c == '"':
		return quotedAt(s, at, quoted)
	case c == '$':
		if end := heredoc(s, at); end > 0 {
			return token{kind: text, start: at}, end
		}
	case digit(c):
		return token{kind: number, start: at}, span(s, at, func(c byte) bool { return letter(c) || digit(c) || c == '.' })
	case letter(c):
		end := span(s, at, func(c byte) bool { return letter(c) || digit(c) || c == '$' })
		return token{kind: word, value: s[at:end], start: at}, end
	}
	return token{kind: sign, value: s[at : at+1], start: at}, at + 1
}

func letter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
func digit(c byte) bool { return c >= '0' && c <= '9' }

func span(s string, at int, in func(byte) bool) int {
	for at < len(s) && in(s[at]) {
		at++
	}
	return at
}

func after(s string, at int, mark string, otherwise int) int {
	if found := strings.Index(s[at:], mark); found >= 0 {
		return at + found + len(mark)
	}
	return otherwise
}

// quotedAt reads what stands in quotes: a backslash escapes, and so does
// doubling the quote.
func quotedAt(s string, at int, of kind) (token, int) {
	quote := s[at]
	var value strings.Builder
	for i := at + 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			value.WriteByte(s[i])
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
			value.WriteByte(quote)
		case s[i] == quote:
			return token{kind: of, value: value.String(), start: at}, i + 1
		default:
			value.WriteByte(s[i])
		}
	}
	return token{kind: unclosed, start: at}, len(s)
}

// heredoc is the end of $tag$…$tag$, 0 if there is none at that place.
func heredoc(s string, at int) int {
	end := span(s, at+1, func(c byte) bool { return letter(c) || digit(c) })
	if end >= len(s) || s[end] != '$' {
		return 0
	}
	return after(s, end+1, s[at:end+1], 0)
}

// formatOf is the format that a statement itself names for its result.
func formatOf(statement string) string {
	all := tokens(statement)
	for i := len(all) - 2; i >= 0; i-- {
		if all[i].is("FORMAT") && all[i].depth == 0 && all[i+1].kind == word {
			if len(all) == i+2 || all[i+2].is("SETTINGS") || all[i+2].sign(";") {
				return all[i+1].value
			}
		}
	}
	return ""
}
