package netwatch_test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// testName is the name of a test as documents give it.
var testName = regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*\b`)

// documents are the lines of those for people, by their files.
func documents(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "contrib/*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[file] = strings.Split(string(text), "\n")
		}
	}
	return all
}

// A document that says which test holds a promise is wrong once the test has
// another name, or is gone.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	there := testNames(t)
	named := 0
	for file, lines := range documents(t) {
		for number, line := range lines {
			for _, name := range testName.FindAllString(line, -1) {
				if named++; !there[name] {
					t.Errorf("%s:%d: there is no %s", file, number+1, name)
				}
			}
		}
	}
	if named == 0 {
		t.Error("no document names any test")
	}
}

// A table without its head, or behind a blank line, is shown as one long line of bars.
func TestTablesAreShown(t *testing.T) {
	seen := 0
	for file, lines := range documents(t) {
		for i, line := range lines {
			begins := strings.HasPrefix(line, "|") && (i == 0 || !strings.HasPrefix(lines[i-1], "|"))
			if begins && !strings.HasPrefix(lines[i+1], "|--") {
				t.Errorf("%s:%d: a table begins without a head", file, i+1)
			} else if begins {
				seen++
			}
		}
	}
	if seen < 10 {
		t.Errorf("there are only %d tables to look at", seen)
	}
}

// A manual that leaves out an event or a field leaves people to guess.
func TestManualHasEvents(t *testing.T) {
	text, err := os.ReadFile("docs/netwatch.toml.5")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n.Sh EVENTS\n")
	events, _, _ := strings.Cut(rest, "\n.Sh ")
	for _, event := range netwatch.Events {
		_, rest, found := strings.Cut(events, "\n.It Cm "+event.Name+"\n")
		item, _, _ := strings.Cut(rest, "\n.It Cm ")
		for _, field := range event.Fields {
			found = found && regexp.MustCompile(`(?m)^\.Li .*\b`+field+`\b`).MatchString(item)
		}
		if !found {
			t.Errorf("%s is not there, or not with all of %s", event.Name, strings.Join(event.Fields, ", "))
		}
	}
}

// testNames are the functions of all test files, with those of the lab.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	for _, file := range sourcesOf(t, isTest) {
		for _, d := range file.Decls {
			if f, is := d.(*ast.FuncDecl); is && f.Recv == nil {
				there[f.Name.Name] = true
			}
		}
	}
	return there
}

// Who changes one README and forgets the other leaves some readers with what is
// no longer so. Words cannot be compared; everything else can.
func TestREADMEsAgree(t *testing.T) {
	english := outlineOf(t, "README.md", "En français\u00a0: [README.fr.md](README.fr.md)")
	french := outlineOf(t, "README.fr.md", "In English: [README.md](README.md)")
	if diff := cmp.Diff(english, french); diff != "" {
		t.Errorf("README.md (-) and README.fr.md (+) are not the same but for the language:\n%s", diff)
	}
	if english.Sections == 0 || len(english.Code) == 0 || len(english.Links) == 0 || len(english.Commands) == 0 {
		t.Errorf("a part of README.md was not found: %+v", english)
	}
}

// outline is what a document has in common with itself in another language.
type outline struct {
	Sections int
	Code     []string // the blocks, without comments
	Links    []string // where they lead
	Commands []string // what each row of a table has in backquotes in its first column
}

var (
	codeBlock   = regexp.MustCompile("(?ms)^```.*?^```$")
	codeComment = regexp.MustCompile(`(?m)[ \t]*#.*$`)
	section     = regexp.MustCompile(`(?m)^## `)
	link        = regexp.MustCompile(`\]\(([^)]*)\)`)
	firstColumn = regexp.MustCompile(`(?m)^\|([^|]*)\|`)
	command     = regexp.MustCompile("`[^`]*`")
)

// outlineOf reads a document that begins with its title and the line that leads
// to the other language.
func outlineOf(t *testing.T, file, other string) outline {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	prose, found := strings.CutPrefix(string(text), "# netwatch\n\n"+other+"\n\n")
	if !found {
		t.Errorf("%s: the first line under the title is not %q", file, other)
	}
	var o outline
	for _, block := range codeBlock.FindAllString(prose, -1) {
		o.Code = append(o.Code, codeComment.ReplaceAllString(block, ""))
	}
	prose = codeBlock.ReplaceAllString(prose, "")
	o.Sections = len(section.FindAllString(prose, -1))
	for _, match := range link.FindAllStringSubmatch(prose, -1) {
		o.Links = append(o.Links, match[1])
	}
	for _, match := range firstColumn.FindAllStringSubmatch(prose, -1) {
		o.Commands = append(o.Commands, strings.Join(command.FindAllString(match[1], -1), " "))
	}
	return o
}
