package edit

import (
	"bytes"
	"net/netip"
	"strings"
)

// A line is one line of a text in which each holds a key and a value.
type line struct {
	// text[from:to] is the line without its end.
	from, to int
	// section is the one that the line stands in, and key what it gives a value; empty in
	// a line that gives none.
	section, key string
	// value is where the value stands, inside its quotes.
	value span
	// doubt is what some readers see in the line that others do not, or empty.
	doubt string
}

// linesOf are the lines of a text.
func linesOf(text []byte) (all []line) {
	for from := 0; from < len(text); {
		to, next := len(text), len(text)
		if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
			to, next = from+i, from+i+1
		}
		if to > from && text[to-1] == '\r' {
			to--
		}
		all = append(all, line{from: from, to: to})
		from = next
	}
	return all
}

// trim is a span without the blanks around.
func trim(text []byte, s span) span {
	for s.from < s.to && (text[s.from] == ' ' || text[s.from] == '\t') {
		s.from++
	}
	for s.to > s.from && (text[s.to-1] == ' ' || text[s.to-1] == '\t') {
		s.to--
	}
	return s
}

// quotes are what values may stand in.
const quotes = `"'`

// inside is a span without the quotes around it.
func inside(text []byte, s span) span {
	if s.to-s.from >= 2 && strings.IndexByte(quotes, text[s.from]) >= 0 && text[s.to-1] == text[s.from] {
		return span{s.from + 1, s.to - 1}
	}
	return s
}

// reading is how a form reads lines.
type reading func(text []byte) ([]line, error)

// get is the value of the one line that gives a key a value.
func (read reading) get(text []byte, section, key string) (Value, error) {
	l, err := read.one(text, section, key)
	if err != nil {
		return Value{}, err
	}
	return valueAt(text, l.value), nil
}

// one is the one line that gives a key a value.
func (read reading) one(text []byte, section, key string) (one line, err error) {
	all, err := read(text)
	if err != nil {
		return one, err
	}
	there := false
	for _, l := range all {
		switch {
		case l.key == "" || !strings.EqualFold(l.section, section) || !strings.EqualFold(l.key, key):
		case there:
			return one, wrongAt(text, l.from, "here is the key a second time: it is not certain which one counts")
		default:
			one, there = l, true
		}
	}
	switch {
	case !there || one.key != key || one.section != section:
		return one, ErrMissing
	case one.doubt != "":
		return one, wrongAt(text, one.from, "%s", one.doubt)
	}
	return one, nil
}

// set gives a key another value.
func (read reading) set(text []byte, section, key, value string) ([]byte, error) {
	if err := checkValue(value); err != nil {
		return nil, err
	}
	l, err := read.one(text, section, key)
	if err != nil {
		return nil, err
	}
	out := l.value.replace(text, value)
	return out, read.check(text, out, l, value)
}

// check wants the new text to say the value in the line of the old one, and everything
// else as before.
func (read reading) check(was, is []byte, at line, value string) error {
	before, _ := read(was)
	after, err := read(is)
	if err != nil || len(before) != len(after) {
		return errElsewhere
	}
	for i, l := range before {
		now := after[i]
		want := string(was[l.value.from:l.value.to])
		if l == at {
			want = value
		}
		if l.section != now.section || l.key != now.key || string(is[now.value.from:now.value.to]) != want {
			return errElsewhere
		}
	}
	return nil
}

// addresses says whether a text is an address, or some with commas between. A zone can be
// any text, and is none.
func addresses(text string) bool {
	for word := range strings.SplitSeq(text, ",") {
		if a, err := netip.ParseAddr(word); err != nil || a.Zone() != "" {
			return false
		}
	}
	return true
}
