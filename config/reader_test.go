package config

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/actions"
	"netwatch/sources"
)

// A deaf source is of a kind that cannot be asked to look at once.
type deaf struct {
	Ears []string `toml:"ears"`
	Loud bool     `toml:"loud"`
}

func (d *deaf) Check() []sources.Mistake {
	return []sources.Mistake{
		{Key: "ears", Index: 0, Text: "is the left one"},
		{Key: "ears", Index: 1, Text: "is the right one"},
		{Key: "nose", Index: -1, Text: "is missing"},
	}[len(d.Ears)/3*3:]
}

func (d *deaf) Source(string, sources.Env) netwatch.Source            { return d }
func (d *deaf) Run(context.Context, func(netwatch.Event) error) error { return nil }
func (d *deaf) String() string                                        { return "deaf" }
func deafKind() sources.Settings                                      { return &deaf{} }
func (d *deaf) step(_ actions.Env, _ string, words []string) (netwatch.Step, error) {
	return netwatch.Step{Action: asker(strings.Join(words, ""))}, nil
}

// An asker is an action that asks a source.
type asker string

func (a asker) Needs() actions.Needs                           { return actions.Needs{Sources: []string{string(a)}} }
func (asker) Do(context.Context, netwatch.Job) netwatch.Result { return netwatch.Result{} }

// deafReader knows one kind of source and one verb.
func deafReader() *reader {
	return &reader{
		kinds: []sources.Kind{{Name: "deaf", Settings: deafKind}},
		verbs: []actions.Verb{{Name: "query", New: (&deaf{}).step}},
	}
}

func TestProbeOfWhatCannotBeAsked(t *testing.T) {
	const rule = "[[rule]]\non = ['started']\ndo = ['query deaf', 'query', 'query def']\n"
	_, err := deafReader().read("f", []byte("[source.deaf]\nears = ['a', 'b', 'c']\n"+rule))
	want := `f:5:7: rule[1].do[1]: no source can be asked to look at once
f:5:21: rule[1].do[2]: no source can be asked to look at once
f:5:30: rule[1].do[3]: no source can be asked to look at once`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("wanted (-) and found (+):\n%s", diff)
	}
	// One beside it that can be: a section with a mistake counts as such.
	_, err = deafReader().read("f", []byte("[source.deaf]\nears = ['a', 'b', 'c']\n[source.other]\n"+rule))
	want = "f:3:9: source.other: unknown kind of source: there are deaf\n" +
		"f:6:7: rule[1].do[1]: source `deaf` cannot be asked to look at once; these can: other\n" +
		"f:6:30: rule[1].do[3]: unknown source: there are other"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("wanted (-) and found (+):\n%s", diff)
	}
}

// TestCheckOfSettings wants each mistake of the settings at its element, at its
// key or, where that is absent, at the heading; and none for a key that could
// not be read.
func TestCheckOfSettings(t *testing.T) {
	const rule = "\n[[rule]]\non = ['started']\ndo = ['query']\n"
	for text, want := range map[string]string{
		"\n[source.deaf]\nears = ['a', 'b']": `f:2:9: source.deaf.nose: is missing
f:3:9: source.deaf.ears[1]: is the left one
f:3:14: source.deaf.ears[2]: is the right one`,
		"\n[source.deaf]\nears = ['a']": `f:2:9: source.deaf.nose: is missing
f:3:8: source.deaf.ears: is the right one
f:3:9: source.deaf.ears[1]: is the left one`,
		"\n[source.deaf]\nloud = 'no'\nears = ['a', 'b', 'c']": `f:3:8: source.deaf.loud: ` +
			`must be true or false, without quotes`,
		"\n[source.deaf]\nears = [1, 'b']": `f:2:9: source.deaf.nose: is missing
f:3:9: source.deaf.ears[1]: must be text in quotes`,
		// The line that cannot be read could be the one that is called missing.
		"\n[source.deaf]\nears = ['a', 'b']\nnose = red": `f:3:9: source.deaf.ears[1]: is the left one
f:3:14: source.deaf.ears[2]: is the right one
f:4:8: source.deaf.nose: text must be in quotes`,
	} {
		_, err := deafReader().read("f", []byte(text+rule))
		if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
			t.Errorf("%s\nwanted (-) and found (+):\n%s", text, diff)
		}
	}
}

// TestBoolean wants true and false to be told apart.
func TestBoolean(t *testing.T) {
	for _, loud := range []bool{true, false} {
		d := &deaf{Loud: !loud}
		r := newReport("f", nil)
		r.decode(&node{names: []string{"loud"}, members: map[string]*node{"loud": {form: boolean, text: fmt.Sprint(loud)}}},
			d)
		if d.Loud != loud || r.result() != nil {
			t.Errorf("%v is read as %v: %v", loud, d.Loud, r.result())
		}
	}
}

// TestEnvReachesVerbs wants the verbs to be given what Parse is given.
func TestEnvReachesVerbs(t *testing.T) {
	asked := ""
	r := deafReader()
	r.kinds = nil
	r.env.Probe = func(_ context.Context, name string, _ bool) netwatch.Result {
		asked = name
		return netwatch.Result{}
	}
	r.verbs = []actions.Verb{{Name: "ask", New: func(env actions.Env, verb string, words []string) (netwatch.Step, error) {
		env.Probe(t.Context(), verb+" "+strings.Join(words, "+"), false)
		return netwatch.Step{Gate: true, Text: "not the line"}, nil
	}}}
	cfg, err := r.read("f", []byte("[[rule]]\non = ['started']\ndo = [\" ask 'a b' c \"]"))
	if err != nil {
		t.Fatal(err)
	}
	if step := cfg.Rules[0].Do[0]; asked != "ask a b+c" || !step.Gate || step.Text != "ask 'a b' c" {
		t.Errorf("asked for %q, and the step is %+v", asked, step)
	}
}

// TestNearest wants slips to be found and other words to be left alone.
func TestNearest(t *testing.T) {
	known := []string{"restart", "try-restart", "reload", "on", "do", "from", "every"}
	for word, want := range map[string]string{
		"restrat": "restart", "restart": "restart", "tryrestart": "try-restart", "relaod": "reload",
		"form": "from", "om": "on", "evry": "every",
		"weather": "", "x": "", "": "", "settle": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest to %q is %q, not %q", word, got, want)
		}
	}
}

// TestLoad wants a file to be refused that is none, or that others may write.
func TestLoad(t *testing.T) {
	right := []byte("[[rule]]\non = ['started']\ndo = ['restart coturn.service']\n")
	file := func(name string, text []byte, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	full := slices.Concat(right, bytes.Repeat([]byte("#"), maxSize-len(right)))
	for path, want := range map[string]string{
		file("right", right, 0o640):                               "",
		file("full", full, 0o600):                                 "",
		file("overfull", slices.Concat(full, []byte("#")), 0o600): "overfull: it is larger than 1 MiB",
		file("everybody", right, 0o646): "everybody can be written by every user, " +
			"who could have any program run",
		filepath.Join(t.TempDir(), "none"): "no such file or directory",
		t.TempDir():                        "it is not a regular file (a directory)",
		pipe:                               "pipe: it is not a regular file (a pipe)",
	} {
		cfg, err := Load(path, actions.Env{})
		if want == "" {
			if err != nil || cfg.File != path || len(cfg.Rules) != 1 {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), "reading the configuration: ") ||
			!strings.HasSuffix(err.Error(), want) {
			t.Errorf("wanted %q and found %v", want, err)
		} else if netwatch.Hint(err) == "" {
			t.Errorf("%v: there is no hint", err)
		}
	}
}

// A file is what Stat says of one.
type file struct {
	fs.FileInfo
	mode     fs.FileMode
	uid, gid int
}

func (f file) Mode() fs.FileMode { return f.mode }
func (f file) Sys() any          { return &syscall.Stat_t{Uid: uint32(f.uid), Gid: uint32(f.gid)} }

// TestCheckFile wants root and the user who runs netwatch to be the only ones
// who may write a configuration.
func TestCheckFile(t *testing.T) {
	uid, gid := os.Geteuid(), os.Getegid()
	for _, c := range []struct {
		file
		want string
	}{
		{file{mode: 0o644, uid: 0, gid: 0}, ""},
		{file{mode: 0o664, uid: 0, gid: 0}, ""},
		{file{mode: 0o664, uid: uid, gid: gid}, ""},
		{file{mode: 0o640, uid: uid, gid: gid + 1}, ""},
		{file{mode: 0o600, uid: uid + 1, gid: gid}, "belongs to user"},
		{file{mode: 0o660, uid: uid, gid: gid + 1}, "can be written by group"},
		{file{mode: 0o602, uid: uid, gid: gid}, "can be written by every user"},
	} {
		err := checkFile("f", c.file)
		if c.want == "" && err != nil || c.want != "" &&
			(err == nil || !strings.Contains(err.Error(), c.want) || netwatch.Hint(err) == "") {
			t.Errorf("%v of %d:%d: wanted %q and found %v", c.mode, c.uid, c.gid, c.want, err)
		}
	}
}
