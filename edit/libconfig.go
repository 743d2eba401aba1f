package edit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"netwatch"
)

// Libconfig is a file as the library of that name reads it. Its keys are names with a dot
// between; their values are strings.
var Libconfig = Form{
	Name: "libconfig", Check: checkLibconfig, Get: getLibconfig, Set: setLibconfig, Add: addLibconfig,
}

// settingPath is names as the library has them.
var settingPath = netwatch.Pattern(`^[A-Za-z*][A-Za-z0-9_*-]*(\.[A-Za-z*][A-Za-z0-9_*-]*)*$`)

func checkLibconfig(key string) error {
	if !settingPath().MatchString(key) {
		return fmt.Errorf("%q is no key: names are joined by dots", key)
	}
	return nil
}

// A setting is a name and what follows it.
type setting struct {
	// in is the setting whose group it is in, or outside.
	in int
	// name and value are the places of tokens: the value's first one.
	name, value int
}

// outside is where a setting is that is in no group.
const outside = -1

// A tokens is a text in pieces, less blanks and comments.
type tokens struct {
	text     []byte
	all      []span
	settings []setting
	includes bool
}

// scan finds the tokens of a text, and its settings.
func scan(text []byte) (*tokens, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	t := &tokens{text: text}
	for at := 0; ; {
		at = skipIdle(text, at)
		if at < 0 {
			return nil, errors.New("a comment is not closed")
		}
		if at == len(text) {
			return t, t.parse()
		}
		end := tokenEnd(text, at)
		if end == 0 {
			return nil, wrongAt(text, at, "a quote is not closed, or not in its line")
		}
		t.all = append(t.all, span{at, end})
		at = end
	}
}

// skipIdle is the next place with something that is no blank and no comment; -1 if a
// comment does not end.
func skipIdle(text []byte, at int) int {
	for at < len(text) {
		rest := text[at:]
		end := 1
		switch {
		case bytes.HasPrefix(rest, []byte("#")), bytes.HasPrefix(rest, []byte("//")):
			line, _, _ := bytes.Cut(rest, []byte("\n"))
			end = len(line)
		case bytes.HasPrefix(rest, []byte("/*")):
			if end = bytes.Index(rest[2:], []byte("*/")); end < 0 {
				return -1
			}
			end += 4
		case !strings.ContainsRune(" \t\r\n\f\v", rune(rest[0])):
			return at
		}
		at += end
	}
	return at
}

// punctuation are the tokens of one character.
const punctuation = "{}[](),;=:"

// isPunctuation says whether a character is one of these.
func isPunctuation(c byte) bool { return strings.ContainsRune(punctuation, rune(c)) }

// tokenEnd is where the token ends that begins at a place; 0 if it does not.
func tokenEnd(text []byte, at int) int {
	if isPunctuation(text[at]) {
		return at + 1
	}
	if text[at] == '"' {
		for i := at + 1; i < len(text) && text[i] != '\n'; i++ {
			if text[i] == '\\' {
				i++
			} else if text[i] == '"' {
				return i + 1
			}
		}
		return 0
	}
	end := at + 1
	for end < len(text) && !isPunctuation(text[end]) && !strings.ContainsRune("\"# \t\r\n\f\v/", rune(text[end])) {
		end++
	}
	return end
}

// is says whether the token at a place is one of a single character.
func (t *tokens) is(at int, c byte) bool {
	return at < len(t.all) && t.text[t.all[at].from] == c
}

// word is a token.
func (t *tokens) word(at int) string {
	if at >= len(t.all) {
		return ""
	}
	return string(t.text[t.all[at].from:t.all[at].to])
}

// maxDepth is how many brackets may be open at once: more than any file has.
const maxDepth = 64

// parse finds the settings, less those of groups in lists.
func (t *tokens) parse() error {
	type level struct {
		closes byte
		group  int
		list   bool
	}
	open := []level{{group: outside}}
	for i := range t.all {
		in := open[len(open)-1]
		switch c := t.text[t.all[i].from]; {
		case (t.is(i+1, '=') || t.is(i+1, ':')) && !in.list && c != '"' && !isPunctuation(c):
			t.settings = append(t.settings, setting{in.group, i, i + 2})
		case c == '{' || c == '[' || c == '(':
			next := level{"}])"[strings.IndexByte("{[(", c)], outside, in.list || c != '{'}
			if s := len(t.settings) - 1; s >= 0 && t.settings[s].value == i {
				next.group = s
			}
			if open = append(open, next); len(open) > maxDepth {
				return wrongAt(t.text, t.all[i].from, "more than %d brackets are open", maxDepth)
			}
		case c == '}' || c == ']' || c == ')':
			if in.closes != c {
				return wrongAt(t.text, t.all[i].from, "a bracket is closed that is not open")
			}
			open = open[:len(open)-1]
		case c == '@':
			t.includes = true
		}
	}
	if len(open) > 1 {
		return errors.New("a bracket is not closed")
	}
	return nil
}

// one is the one setting with a path.
func (t *tokens) one(path string) (one setting, err error) {
	err = ErrMissing
	for _, s := range t.settings {
		switch {
		case !t.at(s, path):
		case err == nil:
			return one, wrongAt(t.text, t.all[s.name].from, "here is the key a second time")
		default:
			one, err = s, nil
		}
	}
	return one, err
}

// at says whether a path is the name of a setting behind those of the groups that it is
// in. None is put together for it: a file can have many in a group with a long name.
func (t *tokens) at(s setting, path string) bool {
	for {
		name := t.text[t.all[s.name].from:t.all[s.name].to]
		rest := len(path) - len(name)
		switch {
		case rest < 0 || path[rest:] != string(name):
			return false
		case s.in == outside:
			return rest == 0
		case rest == 0 || path[rest-1] != '.':
			return false
		}
		path, s = path[:rest-1], t.settings[s.in]
	}
}

// place is where the string of a setting stands, inside its quotes.
func (t *tokens) place(s setting) (at span, err error) {
	word := t.word(s.value)
	if !strings.HasPrefix(word, `"`) || strings.Contains(word, `\`) || t.is(s.value+1, '"') {
		return at, wrongAt(t.text, t.all[s.name].from, "the value of this key is not one string without escapes")
	}
	at = t.all[s.value]
	return span{at.from + 1, at.to - 1}, nil
}

// find is where the value of a key stands.
func (t *tokens) find(key string) (span, error) {
	s, err := t.one(key)
	if err != nil {
		return span{}, err
	}
	return t.place(s)
}

func getLibconfig(text []byte, key string) (Value, error) {
	t, err := scan(text)
	if err != nil {
		return Value{}, err
	}
	at, err := t.find(key)
	return valueAt(text, at), err
}

func setLibconfig(text []byte, key, value string) ([]byte, error) {
	t, err := scan(text)
	if err == nil {
		err = checkValue(value)
	}
	if err != nil {
		return nil, err
	}
	at, err := t.find(key)
	if err != nil {
		return nil, err
	}
	s, _ := t.one(key)
	return t.check(at.replace(text, value), s.value, []string{`"` + value + `"`}, 1)
}

// addLibconfig puts a key with a value right behind the brace of its group.
func addLibconfig(text []byte, key, value string) ([]byte, error) {
	t, err := scan(text)
	if err == nil {
		err = checkValue(value)
	}
	if err != nil {
		return nil, err
	}
	if _, err := t.one(key); !errors.Is(err, ErrMissing) {
		return nil, errors.New("the key is there already, or twice")
	}
	if t.includes {
		return nil, errors.New("it includes other files, and the key may be in one of them")
	}
	i := strings.LastIndexByte(key, '.')
	group, err := t.one(key[:max(0, i)])
	if err != nil || !t.is(group.value, '{') {
		return nil, fmt.Errorf("there is no group %s", key[:max(0, i)])
	}
	at, before, after := t.room(group.value)
	line := before + key[i+1:] + ` = "` + value + `";` + after
	return t.check(at.replace(text, line), group.value+1, []string{key[i+1:], "=", `"` + value + `"`, ";"}, 0)
}

// room is the place behind a brace, and what stands around a setting there: in a line of
// its own if nothing else follows in that of the brace.
func (t *tokens) room(brace int) (at span, before, after string) {
	from := t.all[brace].to
	line, rest, more := bytes.Cut(t.text[from:], []byte("\n"))
	if !more || skipIdle(line, 0) != len(line) {
		return span{from, from}, " ", ""
	}
	indent := rest[:len(rest)-len(bytes.TrimLeft(rest, " \t"))]
	if bytes.HasPrefix(rest[len(indent):], []byte("}")) || len(indent) == 0 {
		indent = append(slices.Clone(indent), '\t')
	}
	end := "\n"
	if bytes.HasSuffix(line, []byte("\r")) {
		end = "\r\n"
	}
	from += len(line) + 1
	return span{from, from}, string(indent), end
}

// check is the new text, if it has the tokens of the old one but for some at a place.
func (t *tokens) check(text []byte, at int, with []string, gone int) ([]byte, error) {
	now, err := scan(text)
	if err != nil {
		return nil, errElsewhere
	}
	want := slices.Concat(t.words()[:at], with, t.words()[at+gone:])
	if !slices.Equal(want, now.words()) {
		return nil, errElsewhere
	}
	return text, nil
}

// words are all tokens.
func (t *tokens) words() []string {
	all := make([]string, len(t.all))
	for i := range t.all {
		all[i] = t.word(i)
	}
	return all
}
