package netwatch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryRoomIsTold holds that CONTRIBUTING.md says of each folder what it holds.
func TestEveryRoomIsTold(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## What lies where\n")
	rooms, _, _ := strings.Cut(rest, "\n## ")
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		made := e.Name() == "bin" || e.Name() == "dist" || strings.HasPrefix(e.Name(), ".")
		if e.IsDir() && !made && !regexp.MustCompile("(?m)^\\|.*`"+e.Name()+"/[a-z]*/?`.*\\|").MatchString(rooms) {
			t.Errorf("CONTRIBUTING.md does not say what %s/ holds", e.Name())
		}
	}
}

// TestTheWayIsTrue holds that each function on the way of an event is where
// CONTRIBUTING.md says.
func TestTheWayIsTrue(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	way := regexp.MustCompile(`(?m)^[0-9]+\. .*$`).FindAllString(string(text), -1)
	if len(way) != 10 {
		t.Errorf("the way has %d lines, not ten", len(way))
	}
	station := regexp.MustCompile("`([a-z_/]+\\.go)` `([A-Za-z]+)`")
	for _, line := range way {
		stations := station.FindAllStringSubmatch(line, -1)
		if len(stations) == 0 {
			t.Errorf("it says nothing of where: %s", line)
		}
		for _, s := range stations {
			if !declares(t, s[1], s[2]) {
				t.Errorf("%s has no function %s: %s", s[1], s[2], line)
			}
		}
	}
}

// declares says whether a file has a function or method of that name.
func declares(t *testing.T, file, name string) bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return false
	}
	for _, d := range parsed.Decls {
		if f, is := d.(*ast.FuncDecl); is && f.Name.Name == name {
			return true
		}
	}
	return false
}

// TestLinksLeadSomewhere holds that what documents lead to is there.
func TestLinksLeadSomewhere(t *testing.T) {
	documents, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"docs/*.md", "contrib/*/*.md"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, more...)
	}
	for _, file := range documents {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			path, _, _ := strings.Cut(match[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), path)); err != nil {
				t.Errorf("%s leads to %s, which is not there", file, match[1])
			}
		}
	}
}
