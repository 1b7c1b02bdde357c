package lint_test

import (
	"bytes"
	"regexp"
	"testing"
)

// banned is text that must not be committed, each written so that it does not
// match itself.
var banned = []struct {
	pattern *regexp.Regexp
	because string
}{
	{regexp.MustCompile(`\b(TOD[O]|FIXM[E]|XX[X])\b`), "finish it, or leave it out"},
	{regexp.MustCompile(`(^|[\s"'=(:])/(wor[k]|roo[t])/`), "a path of one machine"},
	{regexp.MustCompile(`/tmp/(pla[n]|bash_job[s])`), "a path of one machine"},
	{regexp.MustCompile(`(prox[y]|su[m])\.golang\.org`), "which package registry is used is the builder's configuration"},
	{regexp.MustCompile(`registr[y]\.(npmjs|yarnpkg)\.|\bpyp[i]\.org\b|files\.pythonhoste[d]\.org|de[b]\.debian\.org`), "which package registry is used is the builder's configuration"},
	{regexp.MustCompile(`\b(PLA[N]|desig[n]|domai[n]|styl[e])\.md\b`), "a document that is not in the tree"},
	{regexp.MustCompile(`(?i)\b(this|next|later|previous|another) issu[e]\b|\bclosing not[e]\b|\bhouse rule[s]\b`), "the tree speaks of the product, not of how work on it is organised"},
	{regexp.MustCompile(`-----BEGIN ((RSA|EC|ENCRYPTED) )?PRIVAT[E] KEY-----`), "a private key"},
}

// TestBannedText reads every committed text for what must not be there.
func TestBannedText(t *testing.T) {
	for _, f := range tree(t) {
		if f.path == "go.sum" || f.path == "LICENSE" || binary(f.text) {
			continue
		}
		for number, line := range bytes.Split(f.text, []byte("\n")) {
			for _, b := range banned {
				if found := b.pattern.Find(line); found != nil {
					t.Errorf("%s:%d: %q: %s", f.path, number+1, bytes.TrimSpace(found), b.because)
				}
			}
		}
	}
}

// TestBannedPatterns shows that each pattern still matches what it is there for.
func TestBannedPatterns(t *testing.T) {
	for _, text := range []string{
		"// TO" + "DO: later", `"/wor` + `k/main"`, "/tmp/pla" + "n", "https://prox" + "y.golang.org",
		"https://registr" + "y.npmjs.org/x", "see desig" + "n.md", "in a later issu" + "e",
		"-----BEGIN EC PRIVAT" + "E KEY-----",
	} {
		matched := false
		for _, b := range banned {
			matched = matched || b.pattern.MatchString(text)
		}
		if !matched {
			t.Errorf("%q passes", text)
		}
	}
}
