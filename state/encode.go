package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	"netwatch"
)

// version is the version of the format. A file of a newer one, as after a downgrade, is read
// all the same: a name keeps its meaning for ever, and what needs another has another name.
const version = 1

// A document is the text of the file. A person can read it.
type document struct {
	Version int `json:"version"`
	// Sum is the CRC-32 of the text in hexadecimal, computed with noSum in its place.
	// A text without a sum, which somebody wrote by hand, is believed as it is.
	Sum string `json:"sum"`
	*State
}

// noSum stands in place of the sum while the sum is computed.
const noSum = "00000000"

// encode makes the text of a state.
func encode(s *State) ([]byte, error) {
	text, err := json.Marshal(document{version, noSum, s})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Others)) {
		member, err := json.Marshal(map[string]json.RawMessage{name: s.Others[name]})
		if err != nil {
			return nil, err
		}
		text = append(append(text[:len(text)-1], ','), member[1:]...)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "\t"); err != nil {
		return nil, err
	}
	text = bytes.Replace(indented.Bytes(), []byte(noSum), []byte(sum(indented.Bytes())), 1)
	return append(text, '\n'), nil
}

// others are the members of a text that have none of our names.
func others(text []byte) (all map[string]json.RawMessage) {
	var ours map[string]json.RawMessage
	own, _ := json.Marshal(document{State: empty()}) // It has nothing that JSON cannot hold
	if json.Unmarshal(own, &ours) != nil || json.Unmarshal(text, &all) != nil {
		return nil
	}
	for name := range ours {
		maps.DeleteFunc(all, func(other string, _ json.RawMessage) bool { return strings.EqualFold(name, other) })
	}
	return all
}

// decode reads the state from a text. It returns nil if the text is none or is
// damaged.
func decode(text []byte) *State {
	d := document{State: empty()}
	if err := json.Unmarshal(text, &d); err != nil || d.Version < 1 || !d.whole() {
		return nil
	}
	if d.Sum != "" && d.Sum != sum(bytes.Replace(text, []byte(d.Sum), []byte(noSum), 1)) {
		return nil
	}
	d.Others = others(text)
	return d.State
}

// sum is the CRC-32 of a text, without the blanks around it.
func sum(text []byte) string {
	return fmt.Sprintf("%0*x", len(noSum), crc32.ChecksumIEEE(bytes.TrimSpace(text)))
}

// whole says whether no part is null, which JSON allows, and every address is valid.
// It removes runs without events.
func (s *State) whole() bool {
	for family, a := range s.Addresses {
		if !a.Address.IsValid() || netwatch.FamilyOf(a.Address) != family {
			return false
		}
	}
	// A run of nothing is of a rule that went while it ran.
	maps.DeleteFunc(s.Runs, func(_ string, r Run) bool { return len(r.Events) == 0 })
	return s.Addresses != nil && s.Runs != nil && s.Failures != nil && s.Seen != nil &&
		s.Replaced != nil && s.Starts != nil && s.Dead != nil && s.Left != nil
}
