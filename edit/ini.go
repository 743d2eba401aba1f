package edit

import (
	"bytes"
	"fmt"
	"strings"
)

// INI is a file of lines KEY = VALUE below lines [SECTION]. Its keys are SECTION.KEY; the
// last dot divides them, and without one it is a key above all sections.
var INI = Form{Name: "ini", Check: checkINI, Get: getINI, Set: setINI}

// checkINI says why something is no key.
func checkINI(key string) error {
	_, name := cutINI(key)
	if name == "" || strings.ContainsAny(key, "=:#;[]\r\n\x00") || strings.TrimSpace(name) != name {
		return fmt.Errorf("%q is no key: write SECTION.KEY", key)
	}
	return nil
}

// cutINI divides a key at its last dot.
func cutINI(key string) (section, name string) {
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		return key[:i], key[i+1:]
	}
	return "", key
}

func getINI(text []byte, key string) (Value, error) {
	section, name := cutINI(key)
	return reading(readINI).get(text, section, name)
}

func setINI(text []byte, key, value string) ([]byte, error) {
	section, name := cutINI(key)
	out, err := reading(readINI).set(text, section, name, value)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// readINI reads a text line by line.
func readINI(text []byte) ([]line, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	all, section := linesOf(text), ""
	for i := range all {
		l := &all[i]
		said := trim(text, span{l.from, l.to})
		at := text[said.from:said.to]
		if from := blockComment(at); from >= 0 {
			return nil, wrongAt(text, said.from+from, "to some readers a comment of several lines begins here")
		}
		if len(at) == 0 || at[0] == '#' || at[0] == ';' {
			continue
		}
		if at[0] == '[' {
			name, _, closed := bytes.Cut(at[1:], []byte("]"))
			if !closed {
				return nil, wrongAt(text, said.from, "a bracket is not closed")
			}
			section = string(name)
			continue
		}
		l.section = section
		l.assign(text, said)
	}
	markSeveral(text, all)
	return all, nil
}

// blockComment is where a comment of several lines begins, as Asterisk has them; -1 if
// none does.
func blockComment(at []byte) int {
	for from := 0; ; {
		i := bytes.Index(at[from:], []byte(";--"))
		if i < 0 {
			return -1
		}
		if from += i + len(";--"); from == len(at) || at[from] != '-' {
			return from - len(";--")
		}
		from += len(at[from:]) - len(bytes.TrimLeft(at[from:], "-"))
	}
}

// assign reads KEY = VALUE, with a colon or an arrow as well, and a comment behind an
// address.
func (l *line) assign(text []byte, said span) {
	at := text[said.from:said.to]
	sign := bytes.IndexAny(at, "=:")
	if sign < 0 {
		return
	}
	if at[sign] == ':' && bytes.ContainsRune(at, '=') {
		l.doubt = "to some readers the name goes on up to the ="
	}
	l.key = string(bytes.TrimRight(at[:sign], " \t"))
	l.value = span{said.from + sign + 1, said.to}
	if at[sign] == '=' && bytes.HasPrefix(at[sign+1:], []byte(">")) {
		l.value.from++
	}
	l.value = trim(text, l.value)
	for _, mark := range []string{" ;", " #", "\t;", "\t#"} {
		if whole, _, is := bytes.Cut(text[l.value.from:l.value.to], []byte(mark)); is {
			head := trim(text, span{l.value.from, l.value.from + len(whole)})
			if bare := inside(text, head); addresses(string(text[bare.from:bare.to])) {
				l.value = head
			}
		}
	}
	if l.value.from == l.value.to && l.value.to < l.to {
		l.value = span{l.value.from + 1, l.value.to + 1} // Behind the blank that is there
	}
	l.value = inside(text, l.value)
}

// several is the doubt about a line that is not one line to everybody.
const several = "to some readers this is a part of the line before, or goes on in the next one"

// markSeveral finds such lines: of two with more indent
// the second one, and of those with a backslash at the end both.
func markSeveral(text []byte, all []line) {
	last := -1 // The last line that says something
	indent := func(l line) int { return trim(text, span{l.from, l.to}).from - l.from }
	for i := range all {
		l := &all[i]
		if at := text[l.from:l.to]; bytes.HasSuffix(at, []byte(`\`)) {
			l.doubt = several
			if i+1 < len(all) {
				all[i+1].doubt = several
			}
		}
		if l.key == "" {
			if at := trim(text, span{l.from, l.to}); at.from < at.to && text[at.from] == '[' {
				last = -1
			}
			continue
		}
		if last >= 0 && indent(*l) > indent(all[last]) {
			l.doubt, all[last].doubt = several, several
		}
		last = i
	}
}
