package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tests are the names of the tests that each package has, fuzz targets among them, by
// their functions. (To ask the tests themselves would run their TestMain.) What
// cannot be read has none here; go test then says what is wrong with it.
func tests(args []string, dir string) map[string][]string {
	all := map[string][]string{}
	wanted := wantedNames(args)
	cmd := exec.Command("go", listing(args)...)
	cmd.Dir = dir
	out, _ := cmd.Output()
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Dir           string
			TestGoFiles, XTestGoFiles []string
		}
		if d.Decode(&p) != nil {
			return all
		}
		for _, file := range append(p.TestGoFiles, p.XTestGoFiles...) {
			all[p.ImportPath] = append(all[p.ImportPath], testsOf(filepath.Join(p.Dir, file), wanted)...)
		}
	}
}

// listing are the words for go list that mean the packages and files of a go test.
func listing(args []string) []string {
	words := []string{"list", "-e", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles", "-tags", value(args, "-tags")}
	if slices.Contains(args, "-race") {
		words = append(words, "-race")
	}
	for _, word := range args {
		if isPackage(word) {
			words = append(words, word)
		}
	}
	return words
}

// value is the word after a flag, or empty.
func value(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// subtest is what -run wants of the tests within a test.
var subtest = regexp.MustCompile(`/[^|]*`)

// wantedNames matches the tests that -run asks for. An expression that is none
// matches all, and go test says so.
func wantedNames(args []string) *regexp.Regexp {
	wanted, err := regexp.Compile(subtest.ReplaceAllString(value(args, "-run"), ""))
	if err != nil {
		return regexp.MustCompile("")
	}
	return wanted
}

func testsOf(path string, wanted *regexp.Regexp) (names []string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil
	}
	for _, d := range file.Decls {
		if f, is := d.(*ast.FuncDecl); is && f.Recv == nil && isTest(f.Name.Name) && wanted.MatchString(f.Name.Name) {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

// isTest says whether a function of that name in a test file is run by go test,
// and is a test or a fuzz target.
func isTest(name string) bool {
	for _, prefix := range []string{"Test", "Fuzz"} {
		if rest, is := strings.CutPrefix(name, prefix); is && name != "TestMain" {
			r, _ := utf8.DecodeRuneInString(rest)
			return !unicode.IsLower(r)
		}
	}
	return false
}
