package lint_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// longest is the number of lines beyond which a file is taken to have more than
// one subject.
const longest = 500

// TestTopLevel keeps the top of the tree to the layers and what every
// repository has.
func TestTopLevel(t *testing.T) {
	allowed := []string{"LICENSE", "README.md", "go.mod", "go.sum"}
	for _, a := range arrows {
		allowed = append(allowed, a.layer)
	}
	var told []string
	for _, f := range tree(t) {
		top, _, _ := strings.Cut(f.path, "/")
		if strings.HasPrefix(top, ".") || slices.Contains(allowed, top) || slices.Contains(told, top) {
			continue
		}
		told = append(told, top)
		t.Errorf("%s stands at the top of the tree; put it into one of %s", top, strings.Join(allowed[4:], ", "))
	}
}

// TestFormatted spares reviewers the question.
func TestFormatted(t *testing.T) {
	for _, s := range sources(t, tree(t)) {
		formatted, err := format.Source(s.text)
		if err != nil {
			t.Errorf("%s: %v", s.path, err)
			continue
		}
		if !bytes.Equal(formatted, s.text) {
			t.Errorf("%s is not as gofmt writes it; run gofmt -w on it", s.path)
		}
	}
}

// TestPackagesIntroduceThemselves asks each package for a comment that begins
// as go doc expects.
func TestPackagesIntroduceThemselves(t *testing.T) {
	introduced := map[string]bool{}
	for _, s := range sources(t, tree(t)) {
		// An external test package speaks for its folder only if it is alone there.
		key := s.folder()
		introduced[key] = introduced[key] || introduces(s)
	}
	for folder, ok := range introduced {
		if !ok {
			t.Errorf("%s has no package comment saying what it promises and to whom", folder)
		}
	}
}

func introduces(s source) bool {
	if s.syntax.Doc == nil {
		return false
	}
	text := s.syntax.Doc.Text()
	name := s.syntax.Name.Name
	if name == "main" {
		return strings.HasPrefix(text, "Command "+path.Base(s.folder())+" ")
	}
	return strings.HasPrefix(text, "Package "+name+" ")
}

// TestPackageNames refuses names that say nothing about what is inside.
func TestPackageNames(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "shared", "base"}
	for _, s := range sources(t, tree(t)) {
		name := strings.TrimSuffix(s.syntax.Name.Name, "_test")
		if slices.Contains(empty, name) || slices.Contains(empty, path.Base(s.folder())) {
			t.Errorf("%s: package %s says nothing about its contents", s.path, name)
		}
	}
}

// TestFilesHaveOneSubject bounds the length of what is not a test.
func TestFilesHaveOneSubject(t *testing.T) {
	for _, s := range sources(t, tree(t)) {
		if s.test() || s.generated() {
			continue
		}
		if lines := bytes.Count(s.text, []byte("\n")); lines > longest {
			t.Errorf("%s has %d lines; over %d it has more than one subject", s.path, lines, longest)
		}
	}
}

// TestErrorsAreWrapped finds fmt.Errorf calls that flatten an error into text,
// after which errors.Is no longer finds it.
func TestErrorsAreWrapped(t *testing.T) {
	for _, s := range sources(t, tree(t)) {
		if s.test() || s.generated() {
			continue
		}
		ast.Inspect(s.syntax, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok && flattens(call) {
				t.Errorf("%s:%d: fmt.Errorf is given err but has no %%w", s.path, s.line(node))
			}
			return true
		})
	}
}

func flattens(call *ast.CallExpr) bool {
	function, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || function.Sel.Name != "Errorf" || len(call.Args) < 2 {
		return false
	}
	if pkg, ok := function.X.(*ast.Ident); !ok || pkg.Name != "fmt" {
		return false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return false
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil || strings.Contains(text, "%w") {
		return false
	}
	return slices.ContainsFunc(call.Args[1:], func(arg ast.Expr) bool {
		name, ok := arg.(*ast.Ident)
		return ok && name.Name == "err"
	})
}

// TestScripts asks that what names an interpreter can be run, and that shell
// scripts stop at the first failure.
func TestScripts(t *testing.T) {
	for _, f := range tree(t) {
		if !bytes.HasPrefix(f.text, []byte("#!")) {
			continue
		}
		if f.mode.Perm()&0o111 == 0 {
			t.Errorf("%s names an interpreter but is not executable; chmod +x it", f.path)
		}
		first, _, _ := bytes.Cut(f.text, []byte("\n"))
		if bytes.Contains(first, []byte("sh")) && !bytes.Contains(f.text, []byte("\nset -euo pipefail\n")) {
			t.Errorf("%s does not set -euo pipefail", f.path)
		}
	}
	for _, name := range []string{"ops/demo", "ops/test", "ops/setup", ".ci/run"} {
		if !slices.ContainsFunc(tree(t), func(f file) bool { return f.path == name }) {
			t.Errorf("%s is missing", name)
		}
	}
}
