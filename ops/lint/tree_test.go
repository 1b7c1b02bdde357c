// Package lint_test holds the tree to its own rules: which way imports point,
// what may stand at the top, how packages are named and introduced, and what
// committed text must not contain. It promises whoever reads the tree that the
// architecture described in the README is the one that compiles.
package lint_test

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// module is the import path everything in the tree begins with.
const module = "kiroku"

// file is one file of the tree, by its slash-separated path from the top.
type file struct {
	path string
	mode fs.FileMode
	text []byte
}

// source is a Go file with its syntax.
type source struct {
	file
	set    *token.FileSet
	syntax *ast.File
}

// folder is the package's folder from the top, "." for the top itself.
func (s source) folder() string { return path.Dir(s.path) }

// test reports whether only tests use the file: it is one, or it belongs to a
// package that gives tests something, named so after what it stands beside
// (hsmtest, as httptest).
func (s source) test() bool {
	return strings.HasSuffix(s.path, "_test.go") || forTests(s.folder())
}

func forTests(folder string) bool { return strings.HasSuffix(path.Base(folder), "test") }

// generated reports whether the file was written by a program; such files keep
// their generator's habits.
func (s source) generated() bool { return ast.IsGenerated(s.syntax) }

// line is the line on which node begins.
func (s source) line(node ast.Node) int { return s.set.Position(node.Pos()).Line }

// tree reads every file that is, or is about to be, committed. Outside of a
// repository (an unpacked archive) it is every file there is.
func tree(t *testing.T) []file {
	t.Helper()
	top, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	var files []file
	for _, name := range names(t, top) {
		full := filepath.Join(top, filepath.FromSlash(name))
		info, err := os.Lstat(full)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and the deletion not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if !info.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{path: name, mode: info.Mode(), text: text})
	}
	if len(files) == 0 {
		t.Fatalf("no file found under %s", top)
	}
	return files
}

// names lists the paths of the tree under top.
func names(t *testing.T, top string) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(top, ".git")); err == nil {
		list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
		list.Dir = top
		out, err := list.Output()
		if err == nil {
			return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
		}
	}
	var found []string
	err := filepath.WalkDir(top, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == ".git" {
				return fs.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(top, p)
		found = append(found, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sources parses the Go files among files.
func sources(t *testing.T, files []file) []source {
	t.Helper()
	set := token.NewFileSet()
	var parsed []source
	for _, f := range files {
		if !strings.HasSuffix(f.path, ".go") {
			continue
		}
		syntax, err := parser.ParseFile(set, f.path, f.text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		parsed = append(parsed, source{file: f, set: set, syntax: syntax})
	}
	return parsed
}

// binary reports whether a file is no text; such files are not read for words.
func binary(text []byte) bool {
	return bytes.IndexByte(text[:min(len(text), 8000)], 0) >= 0
}
