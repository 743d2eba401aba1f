package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// openDisk is a disk on a directory.
func openDisk(t *testing.T, dir string) *disk {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return &disk{dir: d}
}

// with is a state with runs of these rules, on one event each.
func with(rules ...string) *State {
	s := empty()
	for _, r := range rules {
		s.Accept(event(), []string{r})
	}
	return s
}

// rulesOf are the rules that have runs in the state of a directory.
func rulesOf(t *testing.T, dir string) []string {
	t.Helper()
	s, aside, err := openDisk(t, dir).load()
	if err != nil || aside != "" {
		t.Fatalf("loading: %v, set aside as %q", err, aside)
	}
	return rulesIn(s)
}

func rulesIn(s *State) []string { return slices.Sorted(maps.Keys(s.Runs)) }

// What a crash can leave: the next file is whole and did not get its name, or it
// is not whole, or it is what the file was before, or of another day.
func TestCrashBetweenTwoNames(t *testing.T) {
	dir := t.TempDir()
	d := openDisk(t, dir)
	texts := map[string][]byte{}
	for serial, name := range []string{"before", "file", "next", "later"} {
		s := with(name)
		s.Serial = uint64(serial)
		text, err := d.text.of(s)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = bytes.Clone(text)
	}
	next := texts["next"]
	other := bytes.Replace(next, []byte(`"changed":false`), []byte(`"changed":true `), 1)
	for name, c := range map[string]struct {
		next []byte
		want string
	}{
		"whole":                  {next, "next"},
		"whole, other blanks":    {append(bytes.TrimSpace(next), "\n\n"...), "next"},
		"none":                   {nil, "file"},
		"torn":                   {next[:len(bytes.TrimSpace(next))/2], "file"},
		"partly the one before":  {slices.Concat(next[:100], texts["before"][100:]), "file"},
		"JSON, but another sum":  {other, "file"},
		"the one before":         {texts["before"], "file"},
		"the same":               {texts["file"], "file"},
		"one that does not fit":  {texts["later"], "file"},
		"something of another's": {[]byte(`{"version":1,"serial":3}`), "file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := os.WriteFile(filepath.Join(dir, fileName), texts["file"], 0o600)
			if c.next != nil {
				err = errors.Join(err, os.WriteFile(filepath.Join(dir, nextName), c.next, 0o600))
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{c.want}, rulesOf(t, dir)); diff != "" {
				t.Error(diff)
			}
			s := open(t, dir)
			change(t, s, "zzz")
			shut(t, s)
			if diff := cmp.Diff([]string{c.want, "zzz"}, rulesOf(t, dir)); diff != "" {
				t.Errorf("after a write: %s", diff)
			}
		})
	}
}

func change(t *testing.T, s *Store, rule string) {
	t.Helper()
	if err := s.Update(func(st *State) { st.Accept(event(), []string{rule}) }); err != nil {
		t.Fatal(err)
	}
}

// A damaged file is not replaced by what it was before, which is out of date.
func TestDamagedBesideAWholeOne(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	change(t, s, "r")
	shut(t, s)
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, aside, err := Open(dir)
	if err != nil || aside == "" || len(s.Get().Runs) != 0 {
		t.Errorf("set aside as %q: %v; runs: %v", aside, err, s.Get().Runs)
	}
	change(t, s, "q")
	shut(t, s)
	if diff := cmp.Diff([]string{"q"}, rulesOf(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// The next file is in the way of the user who writes: a directory, or one that is
// not his.
func TestNextInTheWay(t *testing.T) {
	dir := t.TempDir()
	next := filepath.Join(dir, nextName)
	if err := os.Mkdir(next, 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	change(t, s, "r")
	shut(t, s)
	if err := errors.Join(os.RemoveAll(next), os.MkdirAll(filepath.Join(next, "full"), 0o700)); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if err := s.Update(func(*State) {}); err == nil || netwatch.Hint(err) == "" {
		t.Errorf("with a directory in the way: %v, hint %q", err, netwatch.Hint(err))
	}
	if err := os.RemoveAll(next); err != nil {
		t.Fatal(err)
	}
	change(t, s, "q")
	shut(t, s)
	if diff := cmp.Diff([]string{"q", "r"}, rulesOf(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// The text is JSON that says the same as the state, whatever is in it.
func TestTextIsTheState(t *testing.T) {
	var d text
	s := with("a", "b", `q"uote`, "gerät\n", noSum)
	s.Accept(netwatch.NewEvent("x", noSum, map[string]string{"new": `"runs":null`, "sum": noSum, "old": "<\u2028>"}), []string{"a", "c"})
	s.Change("a")
	s.Failures[`"runs":null`] = Failure{Step: noSum}
	for round := range 3 {
		s.Serial++
		bytes, err := d.of(s)
		if err != nil {
			t.Fatal(err)
		}
		got := parse(bytes)
		if got == nil || len(bytes)%block != 0 || !sealed(bytes, got.Sum) {
			t.Fatalf("%d bytes that are no sealed state:\n%s", len(bytes), bytes)
		}
		got.Sum = ""
		want, _ := json.Marshal(s)
		if has, _ := json.Marshal(got); string(has) != string(want) {
			t.Errorf("it has\n%s\nand should\n%s", has, want)
		}
		s.End("b", ids(s.Runs["b"].Events))
		s.Accept(event(), []string{fmt.Sprint(round)})
	}
	if n := len(d.lines); n != 7 {
		t.Errorf("%d events are remembered", n)
	}
}
