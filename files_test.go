package netwatch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// A source is one Go file of ours.
type source struct {
	path string
	*ast.File
	fset *token.FileSet
}

// at is where something stands in it.
func (s source) at(pos token.Pos) token.Position { return s.fset.Position(pos) }

// sourcesOf parses all Go files of the module that are wanted. There must be some.
func sourcesOf(t *testing.T, wanted func(path string) bool) (all []source) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || !wanted(path) {
			return err
		}
		s := source{path: path, fset: token.NewFileSet()}
		s.File, err = parser.ParseFile(s.fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatalf("reading the sources: %v", err)
	}
	if len(all) == 0 {
		t.Fatal("there is nothing to read")
	}
	return all
}

// isTest says whether a file is one of tests.
func isTest(path string) bool { return strings.HasSuffix(path, "_test.go") }

// isProgram says whether a file is one of what is run.
func isProgram(path string) bool { return !isTest(path) }
