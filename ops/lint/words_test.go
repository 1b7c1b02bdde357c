package lint_test

import (
	"bytes"
	"regexp"
	"slices"
	"testing"
)

// banned is text that must not be committed, each written so that it does not
// match itself. What matches a pattern holds one of its words, in lower case:
// they are looked for first, because they are found much faster.
var banned = []struct {
	pattern *regexp.Regexp
	words   []string
	because string
}{
	{regexp.MustCompile(`\b(TOD[O]|FIXM[E]|XX[X])\b`), []string{"tod" + "o", "fixm" + "e", "xx" + "x"}, "finish it, or leave it out"},
	{regexp.MustCompile(`(^|[\s"'=(:])/(wor[k]|roo[t])/`), []string{"/wor" + "k/", "/roo" + "t/"}, "a path of one machine"},
	{regexp.MustCompile(`/tmp/(pla[n]|bash_job[s])`), []string{"/tmp" + "/pla", "/tmp" + "/bash"}, "a path of one machine"},
	{regexp.MustCompile(`(prox[y]|su[m])\.golang\.org`), []string{"prox" + "y.golang", "su" + "m.golang"}, "which package registry is used is the builder's configuration"},
	{regexp.MustCompile(`registr[y]\.(npmjs|yarnpkg)\.|\bpyp[i]\.org\b|files\.pythonhoste[d]\.org|de[b]\.debian\.org`),
		[]string{"registr" + "y.", "pyp" + "i.", "pythonhoste" + "d", "de" + "b.debian"}, "which package registry is used is the builder's configuration"},
	{regexp.MustCompile(`\b(PLA[N]|desig[n]|domai[n]|styl[e])\.md\b`), []string{"n" + ".md", "e" + ".md"}, "a document that is not in the tree"},
	{regexp.MustCompile(`(?i)\b(this|next|later|previous|another) issu[e]\b|\bclosing not[e]\b|\bhouse rule[s]\b`), []string{" issu" + "e", "closing" + " not", "house" + " rule"},
		"the tree speaks of the product, not of how work on it is organised"},
	{regexp.MustCompile(`-----BEGIN ((RSA|EC|ENCRYPTED) )?PRIVAT[E] KEY-----`), []string{"privat" + "e key"}, "a private key"},
}

// bans calls found with whatever is banned in a text and the line that it is on.
func bans(text []byte, found func(line int, what []byte, because string)) {
	low := bytes.ToLower(text)
	for _, b := range banned {
		holds := func(word string) bool { return bytes.Contains(low, []byte(word)) }
		if !slices.ContainsFunc(b.words, holds) {
			continue
		}
		for number, line := range bytes.Split(text, []byte("\n")) {
			if what := b.pattern.Find(line); what != nil {
				found(number+1, bytes.TrimSpace(what), b.because)
			}
		}
	}
}

// TestBannedText reads every committed text for what must not be there.
func TestBannedText(t *testing.T) {
	for _, f := range tree(t) {
		if f.path == "go.sum" || f.path == "LICENSE" || binary(f.text) {
			continue
		}
		bans(f.text, func(line int, what []byte, because string) {
			t.Errorf("%s:%d: %q: %s", f.path, line, what, because)
		})
	}
}

// TestBannedPatterns shows that each pattern still matches what it is there for.
func TestBannedPatterns(t *testing.T) {
	for _, text := range []string{
		"// TO" + "DO: later", `"/wor` + `k/main"`, "/tmp/pla" + "n", "https://prox" + "y.golang.org",
		"https://registr" + "y.npmjs.org/x", "see desig" + "n.md", "in a later issu" + "e",
		"-----BEGIN EC PRIVAT" + "E KEY-----", "FIXM" + "E", "XX" + "X", "x=/roo" + "t/y", "/tmp/bash_job" + "s", "su" + "m.golang.org",
		"registr" + "y.yarnpkg.com", "pyp" + "i.org", "files.pythonhoste" + "d.org", "de" + "b.debian.org", "PLA" + "N.md", "domai" + "n.md", "styl" + "e.md",
		"This issu" + "e", "the closing not" + "e", "a House Rule" + "s",
	} {
		matched := false
		bans([]byte("first\n"+text+"\nlast"), func(line int, _ []byte, _ string) { matched = matched || line == 2 })
		if !matched {
			t.Errorf("%q passes", text)
		}
	}
}
