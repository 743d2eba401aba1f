package state

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"netwatch"
)

// block is what the file's size is a multiple of, in bytes: a size that stays
// need not be written.
const block = 4096

const (
	// noSum stands in place of a text's sum while it is reckoned.
	noSum = "00000000"
	// sumKey is what stands before the sum.
	sumKey = `"sum":"`
)

// A text is the newest text of the state, each event on a line. Most events of it
// stood in the one before as well, and are not written anew: in a flood that is
// most of the work.
type text struct {
	bytes []byte
	// lines are the events in it, by their id.
	lines map[string][]byte
}

// of is the text of a state that comes after the one whose sum it has, good until
// the next is made. It gives the state its own sum.
func (t *text) of(s *State) ([]byte, error) {
	rest := *s
	rest.Runs, rest.Sum, rest.After = nil, noSum, s.Sum
	head, err := json.Marshal(&rest)
	if err != nil {
		return nil, err
	}
	before, after, _ := bytes.Cut(head, []byte(`"runs":null`))
	t.bytes = append(append(t.bytes[:0], before...), `"runs":{`...)
	if err := t.runs(s.Runs); err != nil {
		return nil, err
	}
	t.bytes = append(append(t.bytes, '}'), after...)
	s.Sum = t.seal()
	return t.bytes, nil
}

// runs adds the runs, without braces.
func (t *text) runs(runs map[string]Run) error {
	known := t.lines
	t.lines = make(map[string][]byte, len(known)+1)
	for _, rule := range slices.Sorted(maps.Keys(runs)) {
		name, err := json.Marshal(rule)
		if err != nil {
			return err
		}
		t.bytes = fmt.Appendf(t.bytes, `%s:{"changed":%t,"events":[`, name, runs[rule].Changed)
		for _, ev := range runs[rule].Events {
			if err := t.event(known, ev); err != nil {
				return err
			}
		}
		t.end("]},")
	}
	t.end("")
	return nil
}

// end ends a list with a text in place of the comma behind its last element.
func (t *text) end(with string) {
	t.bytes = append(bytes.TrimSuffix(t.bytes, []byte(",")), with...)
}

// event adds an event and a comma.
func (t *text) event(known map[string][]byte, ev netwatch.Event) (err error) {
	line, ok := known[ev.ID]
	if !ok {
		if line, err = json.Marshal(ev); err != nil {
			return err
		}
	}
	t.lines[ev.ID] = line
	t.bytes = append(append(append(t.bytes, '\n'), line...), ',')
	return nil
}

// seal puts the sum where it belongs, and fills the text up to whole blocks.
func (t *text) seal() string {
	is := sum(t.bytes)
	copy(t.bytes[bytes.Index(t.bytes, []byte(sumKey))+len(sumKey):], is)
	for len(t.bytes)%block != block-1 {
		t.bytes = append(t.bytes, ' ')
	}
	t.bytes = append(t.bytes, '\n')
	return is
}

// sum is the CRC-32 of a text in hexadecimal.
func sum(text []byte) string { return fmt.Sprintf("%0*x", len(noSum), crc32.ChecksumIEEE(text)) }

// sealed says that this is the sum of a text that has it in it.
func sealed(text []byte, has string) bool {
	text = bytes.TrimRight(text, " \n")
	return has == sum(bytes.Replace(text, []byte(sumKey+has), []byte(sumKey+noSum), 1))
}
