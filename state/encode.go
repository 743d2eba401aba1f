package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"

	"netwatch"
)

// version is the format's; a file of another one counts as damaged.
const version = 1

// A document is the text of the file. A person can read it.
type document struct {
	Version int `json:"version"`
	// Sum is the CRC-32 of the text in hexadecimal, reckoned with noSum in its
	// place. A text without one, as somebody wrote it by hand, is believed as it is.
	Sum string `json:"sum"`
	*State
}

// noSum stands in place of the sum while it is reckoned.
const noSum = "00000000"

// encode is the text of a state.
func encode(s *State) ([]byte, error) {
	text, err := json.MarshalIndent(document{version, noSum, s}, "", "\t")
	if err != nil {
		return nil, err
	}
	text = bytes.Replace(text, []byte(noSum), []byte(sum(text)), 1)
	return append(text, '\n'), nil
}

// decode is the state of a text, or nil if the text is none or is damaged.
func decode(text []byte) *State {
	d := document{State: empty()}
	if err := json.Unmarshal(text, &d); err != nil || d.Version != version || !d.whole() {
		return nil
	}
	if d.Sum != "" && d.Sum != sum(bytes.Replace(text, []byte(d.Sum), []byte(noSum), 1)) {
		return nil
	}
	return d.State
}

// sum is the CRC-32 of a text, whatever blanks are around it.
func sum(text []byte) string {
	return fmt.Sprintf("%0*x", len(noSum), crc32.ChecksumIEEE(bytes.TrimSpace(text)))
}

// whole says that no part is null, as JSON could make it, and that every
// address is one. It forgets runs of nothing.
func (s *State) whole() bool {
	for family, a := range s.Addresses {
		if !a.Address.IsValid() || netwatch.FamilyOf(a.Address) != family {
			return false
		}
	}
	// A run of nothing is of a rule that went while it ran.
	maps.DeleteFunc(s.Runs, func(_ string, r Run) bool { return len(r.Events) == 0 })
	return s.Addresses != nil && s.Runs != nil && s.Failures != nil && s.Seen != nil && s.Rewrites != nil && s.Starts != nil
}
