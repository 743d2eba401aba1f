package netwatch_test

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// oneLine is what a newcomer adds beside files of his own (testdata/house): a line in
// the table of each.
var oneLine = []struct{ file, table, line string }{
	{"sources/sources.go", "var Kinds = []Kind{", "\n\t{\"moon\", newMoon},"},
	{"actions/actions.go", "var Verbs = []Verb{", "\n\t{\"shout\", shoutUsage, newShout},"},
	{"servers/servers.go", "var All = []Server{", "acme, "},
	{"events.go", "var Events = []EventKind{", "\n\t{Name: \"moon-rose\", Fields: []string{\"phase\"}},"},
}

// A house is a copy of the sources with a source, an action, a server and an event
// more, and what was built from it.
type house struct{ dir, program string }

// TestHouse holds that a new source, action and server is one file and one line each,
// and a new event one line: everything else finds it there, and the documents are
// called incomplete.
func TestHouse(t *testing.T) {
	h := build(t)
	t.Run("check", h.check)
	t.Run("run", h.run)
	t.Run("grant", h.grant)
	t.Run("documents", h.documents)
}

// build makes the copy and its program.
func build(t *testing.T) house {
	t.Helper()
	h := house{dir: t.TempDir(), program: filepath.Join(t.TempDir(), "netwatch")}
	copyTree(t, ".", h.dir)
	copyTree(t, "testdata/house", h.dir)
	for _, add := range oneLine {
		file := filepath.Join(h.dir, add.file)
		text, err := os.ReadFile(file)
		if err != nil || strings.Count(string(text), add.table) != 1 {
			t.Fatalf("%s has not one %q: %v", add.file, add.table, err)
		}
		text = []byte(strings.Replace(string(text), add.table, add.table+add.line, 1))
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := h.goes("build", "-o", h.program, "./cmd/netwatch").CombinedOutput(); err != nil {
		t.Fatalf("building it: %v\n%s", err, out)
	}
	return h
}

// goes is the go command in the copy, which asks nobody for anything.
func (h house) goes(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = h.dir, append(os.Environ(), "GOFLAGS=-mod=readonly -buildvcs=false", "GOPROXY=off", "GOWORK=off")
	return cmd
}

// copyTree copies files, less what is made of them and what git keeps.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	made := []string{".git", "bin", "dist", "testdata/house"}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case slices.Contains(made, name) && d.IsDir():
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), text, 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatalf("copying the sources: %v", err)
	}
}

// tide is a configuration with one more of each.
const tide = `[daemon]
socket = "DIR/socket"
state = "DIR/state"
[source.moon]
calendar = "DIR/calendar"
[[rule]]
name = "tide"
on = ["moon-rose"]
from = ["moon"]
match = { phase = "full" }
do = ["probe moon", "shout x.service DIR/words", "exec /usr/bin/printenv NETWATCH_PHASE"]
[[rule]]
name = "neap"
on = ["moon-rose"]
match = { phase = "half" }
do = ["rotate acme DIR/acme.conf mood=well", "restart y.service"]
[[rule]]
name = "ebb"
on = ["started"]
do = ["exec /usr/bin/printenv NETWATCH_PHASE"]
`

// configure writes a configuration and what it names.
func configure(t *testing.T, text string) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "netwatch.toml")
	for name, text := range map[string]string{
		file:              strings.ReplaceAll(text, "DIR", dir),
		dir + "/calendar": "full\n", dir + "/words": "flood\n", dir + "/acme.conf": "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, file
}

// check wants all four to be known, and offered where a slip is made.
func (h house) check(t *testing.T) {
	_, file := configure(t, tide)
	if out, err := exec.Command(h.program, "--config", file, "check").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, slip := range []struct{ right, wrong, said string }{
		{"phase =", "phases =", "unknown field, did you mean `phase`? moon-rose has phase"},
		{`["moon-rose"]`, `["moon-rise"]`, "unknown event, did you mean `moon-rose`?"},
		{`"shout x`, `"shuot x`, "did you mean `shout`?"},
		{"[source.moon]", "[source.mooon]", "did you mean `moon`?"},
		{"calendar =", "calender =", "did you mean `calendar`?"},
		{"probe moon", "probe moom", "did you mean `moon`?"},
		{"rotate acme", "rotate acne", "only acme, coturn"},
		{"mood=well", "mode=well", `"mode=well" is not understood after the file`},
		{"mood=well", "mood=ill", "it must be well"},
	} {
		_, file := configure(t, strings.Replace(tide, slip.right, slip.wrong, 1))
		out, err := exec.Command(h.program, "--config", file, "check").CombinedOutput()
		if err == nil || !strings.Contains(string(out), slip.said) {
			t.Errorf("%s: %v, and no %q in\n%s", slip.wrong, err, slip.said, out)
		}
	}
}

// run wants the daemon to run the source, match its event by the new field, and a
// program to be told of it: empty, but there, also of an event that has no such field,
// or printenv fails.
func (h house) run(t *testing.T) {
	_, file := configure(t, tide)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.program, "--config", file, "run")
	log, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	var said []string
	wanted := []string{`"it is there"`, `"x.service heard it"`, `"full"`, `"rule":"ebb","outcome":"changed"`}
	for lines := bufio.NewScanner(log); lines.Scan() && len(wanted) > 0; said = append(said, lines.Text()) {
		wanted = slices.DeleteFunc(wanted, func(words string) bool { return strings.Contains(lines.Text(), words) })
	}
	if len(wanted) > 0 {
		t.Errorf("it did not say %q:\n%s", wanted, strings.Join(said, "\n"))
	}
	cancel()
}

// grant wants the unit and the file to rewrite in what would be written, and all that
// is needed in what is granted.
func (h house) grant(t *testing.T) {
	dir, file := configure(t, tide)
	const systemctl = `#!/bin/sh
printf 'Id=%s\nFragmentPath=/x\nUser=me\nExecStart=/bin/acme DIR/acme.conf\n' "$4"
`
	if err := os.WriteFile(dir+"/systemctl", []byte(strings.ReplaceAll(systemctl, "DIR", dir)), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(h.program, "--config", file, "grant", "--dry-run")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	for _, want := range []string{
		`["x.service","restart"]`, `["y.service","restart"]`, `ReadWritePaths="-` + dir + `"`,
		strings.ReplaceAll(`{"server":"acme","file":"`+dir+`/acme.conf","options":{"mood":"well"},`+
			`"readers":[{"unit":"y.service","user":"me"`, `"`, `\"`),
	} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, and no %s in\n%s", err, want, out)
		}
	}
	test := h.goes("test", "-count=1", "-run", "^TestHouse$", "./grant")
	test.Env = append(test.Env, "HOUSE_CONFIG="+file, fmt.Sprintf(
		"HOUSE_NEEDS=[{x.service restart} {y.service restart} {netwatch-reopen.service start}] "+
			"[{%s/calendar true} {%[1]s/words false}] [{{acme %[1]s/acme.conf map[mood:well]} [y.service]}]", dir))
	if out, err := test.CombinedOutput(); err != nil || strings.Contains(string(out), "no tests") {
		t.Errorf("what is granted: %v\n%s", err, out)
	}
}

// documents wants the tests to say what is missing from each document, and no other
// test to be in a newcomer's way.
func (h house) documents(t *testing.T) {
	rooms := []string{".", "./config", "./servers", "./grant", "./setup"}
	out, err := h.goes(append([]string{"test", "-count=1", "-skip", "^TestHouse$"}, rooms...)...).CombinedOutput()
	if err == nil {
		t.Error("nobody misses anything")
	}
	said := strings.Join(strings.Fields(string(out)), " ")
	for _, want := range []string{
		`- "moon",`, `- "shout",`, `- "moon-rose",`, "the grammar of netwatch.toml(5) lacks shout",
		"moon-rose is not there, or not with all of phase", "netwatch.toml(5) has no step, or no grammar, of acme",
		"netwatch.toml(5) lacks mood= of acme",
		"there is no [source.moon]", "there is no calendar", "there is no line for moon-rose",
		"there is no step with shout", "reference.toml does not say what follows rotate acme",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	for _, failed := range regexp.MustCompile(`--- FAIL: (\w+)`).FindAllStringSubmatch(said, -1) {
		if name := failed[1]; !strings.HasPrefix(name, "TestManual") && name != "TestReferenceIsWhole" {
			t.Errorf("%s fails:\n%s", name, out)
		}
	}
}
