package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netwatch"
	"netwatch/actions"
	"netwatch/sources"
)

// said is all mistakes of a text, a line each.
func said(text string) string {
	_, err := Parse("f", []byte(text), actions.Env{})
	return fmt.Sprint(err)
}

// The path of the socket may be as long as one beside it that the kernel takes, and no longer.
func TestLongestSocket(t *testing.T) {
	for length, well := range map[int]bool{maxSocket: true, maxSocket + 1: false} {
		text := said("[daemon]\nsocket = \"/" + strings.Repeat("s", length-1) + "\"\n")
		if long := strings.Contains(text, "the path of this socket may have"); long == well {
			t.Errorf("%d bytes: %s", length, text)
		}
	}
}

// A mistake in a part of a value is one of the value, and one of another key with a longer
// name is not.
func TestBlame(t *testing.T) {
	for key, want := range map[string]bool{"a.b": true, "a.b.c": true, "a.b[1]": true, "a.bc": false, "a": false} {
		if got := (Mistakes{{Key: key}}).blame("a.b"); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
}

// What is no TOML is said of its own line, also behind empty ones and comments.
func TestRecoverBehindEmptyLines(t *testing.T) {
	for text, want := range map[string]string{
		"[daemon]\nlog = \"info\"\n\n# x\nstate /x\n": "f:5:",
		"\n\n# x\nstate /x\n":                         "f:4:",
		"[daemon]\nlog = ":                            "f:2:",
	} {
		if got := said(text); !strings.HasPrefix(got, want) || strings.Contains(got, "in what begins in line") {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// A name of six letters may have two wrong ones to be meant, and a shorter one only one.
func TestSlipOfShortNames(t *testing.T) {
	for _, c := range []struct{ name, known, want string }{
		{"abxyef", "abcdef", "abcdef"}, {"abxye", "abcde", ""}, {"abxde", "abcde", "abcde"},
	} {
		if got := slip(c.name, []string{c.known}); got != c.want {
			t.Errorf("%s is taken for %q", c.name, got)
		}
	}
}

// That a kind is missing is the remedy where it is, and not where it is wrong.
func TestHintOfKind(t *testing.T) {
	for text, want := range map[string]bool{"[source.moon]\n": true, "[source.moon]\nkind = \"sun\"\n": false} {
		_, err := deafReader().read("f", []byte(text))
		var all Mistakes
		if !errors.As(err, &all) {
			t.Fatal(err)
		}
		hints := ""
		for _, m := range all {
			hints += m.Hint + "\n"
		}
		if got := strings.Contains(hints, "needs its kind"); got != want {
			t.Errorf("%q: %v, hints: %s", text, all, hints)
		}
	}
}

// The sources that can do something are told in their order.
func TestAbleInOrder(t *testing.T) {
	r := &reader{report: &report{}, sections: map[string]section{"z": {}}}
	for _, name := range []string{"e", "d", "c", "b", "a"} {
		r.sections[name] = section{wrong: true}
	}
	err := r.able([]string{"z"}, func(sources.Settings) bool { return false }, "hear", "[source.x]")
	if err == nil || !strings.HasSuffix(err.Error(), "source `z` cannot hear; these can: a, b, c, d, e") {
		t.Errorf("it says %v", err)
	}
}

// Of [daemon] a command takes a path, whatever else is wrong in the file; what is none counts
// as not there.
func TestPathsOfDaemon(t *testing.T) {
	file := filepath.Join(t.TempDir(), "netwatch.toml")
	for text, want := range map[string]netwatch.Path{
		"[daemon]\nstate = \"/x\"\nnonsense = 1\n": "/x",
		"[daemon]\nstate = \"x\"\n":                defaultDaemon.State, "": defaultDaemon.State,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := State(file); got != want || err != nil {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	if _, err := State(file + "s"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of none it says %v", err)
	}
	if _, err := Socket(file + "s"); !errors.Is(err, fs.ErrNotExist) || netwatch.Hint(err) == "" {
		t.Errorf("of none it says %v", err)
	}
}

// The addresses that the files of rules name are found as far as these can be read; an empty
// one is being written.
func TestRelaysOfRules(t *testing.T) {
	cfg, err := Parse("f", []byte("[[rule]]\non = [\"x\"]\n"+
		"do = [\"rotate coturn /a\", \"rotate coturn /b\", \"rotate coturn /c\", "+
		"\"rotate yaml /d k\"]\n"), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := cfg.RelaysBy(func(file string, _ int64) ([]byte, error) {
		switch file {
		case "/a":
			return []byte("relay-ip=192.0.2.1\n"), nil
		case "/b":
			return nil, nil
		}
		return nil, fs.ErrPermission
	})
	if len(got) == 0 || got[0] != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("they are %v", got)
	}
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "/b is empty") ||
		strings.Contains(err.Error(), "/d") {
		t.Errorf("it says %v", err)
	}
}
