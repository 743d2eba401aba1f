package state

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newer is what a later netwatch may write: another version, and things that this one does
// not know beside and in those that it knows.
const newer = `{
	"version": 7, "sum": "00000000",
	"addresses": {"ipv4": {"address": "203.0.113.5", "colour": "blue"}},
	"moons": {"b": [1, "two", null], "a": 1.50},
	"runs": {"r": {"events": [{"id": "one", "event": "x", "phase": "full"}], "tries": 3}},
	"failures": {}, "seen": {}, "rewrites": {}, "starts": {}, "dead": {},
	"Zones": null
}`

// Gone back from a later netwatch, nothing that is pending is lost, and what this one does
// not know stands in the file still when the later one is there again.
func TestNewerStateIsKept(t *testing.T) {
	text := []byte(newer)
	text = bytes.Replace(text, []byte(noSum), []byte(sum(text)), 1)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{"q", "p"} { // The second reads what the first has written
		s := open(t, dir)
		if got := s.Known()["ipv4"].Address.String(); got != "203.0.113.5" {
			t.Errorf("the address is %s", got)
		}
		if diff := cmp.Diff([]string{"one"}, ids(s.Get().Runs["r"].Events)); diff != "" {
			t.Error(diff)
		}
		change(t, s, rule)
		shut(t, s)
	}
	if diff := cmp.Diff([]string{"p", "q", "r"}, rulesOf(t, dir)); diff != "" {
		t.Error(diff)
	}
	var got map[string]json.RawMessage
	text, err := os.ReadFile(filepath.Join(dir, fileName))
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"moons": `{"b":[1,"two",null],"a":1.50}`, "Zones": "null"} {
		var is bytes.Buffer
		if err := json.Compact(&is, got[name]); err != nil || is.String() != want {
			t.Errorf("%s is %s, want %s: %v", name, is.String(), want, err)
		}
	}
}

// A name in other letters, which the reader of JSON takes for ours, is not kept beside ours:
// it would bring back runs that have ended.
func TestOtherLettersAreOurs(t *testing.T) {
	dir := t.TempDir()
	text := `{"version": 1, "Runs": {"r": {"events": [{"id": "one", "event": "x"}]}}}`
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if err := s.Update(func(st *State) { st.End("r", []string{"one"}) }); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	if rules := rulesOf(t, dir); len(rules) > 0 {
		t.Errorf("it has runs of %v", rules)
	}
}

// All that this netwatch writes is its own, and is read as that: kept as another's too, it
// would stand in the file twice.
func TestOursIsNotOthers(t *testing.T) {
	s := empty()
	s.Leave("ipv4", "r")
	text, err := encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(text).Others; len(got) > 0 {
		t.Errorf("kept as a newer one's: %s", got)
	}
}
