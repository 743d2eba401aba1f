package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"netwatch"
)

var (
	anyHeading = netwatch.Pattern(`^[ \t]*\[{1,2}[ \t]*[A-Za-z][A-Za-z0-9_."' \t-]*\]{0,2}[ \t]*(#.*)?\r?$`)
	anyKey     = netwatch.Pattern(`^[ \t]*([A-Za-z0-9_."'-]+)[ \t]*=`)
)

// recover reports a line that is no TOML. It returns the offset of the next line that
// looks like the beginning of something new, so that mistakes after it are seen as
// well. After a broken heading that is the next heading: nobody knows which section
// the keys between belong to.
func (b *builder) recover(err error) int {
	at := b.end
	if e := (*unstable.ParserError)(nil); errors.As(err, &e) {
		at = b.base + int(b.parser.Range(e.Highlight).Offset)
	}
	wrong := b.line(min(at, len(b.data)-1))
	first := min(b.firstLine(), wrong)
	key := anyKey().FindSubmatch(b.lineText(first))
	b.add(at, b.keyOf(key), complaint(err, first, wrong))
	heading := key == nil && bytes.HasPrefix(bytes.TrimLeft(b.lineText(first), " \t"), []byte("["))
	return b.next(max(wrong, first+1), heading)
}

// slips are the words of the library for common slips, and ours.
var slips = []struct{ theirs, ours string }{
	{"strings must be quoted", `must be in quotes, as in "15s"`},
	{"character U+000A at start of value", "a value is missing"},
	{"character U+000D at start of value", "a value is missing"},
	{"cannot have new lines", "a quotation mark is not closed in this line"},
}

// bareWord is how the library names text without quotes.
var bareWord = netwatch.Pattern(`^unexpected character .* '[A-Za-z/]' at start of value$|^expected keyword|` +
	`^expected newline but got .* '[A-Za-z]'$`)

// complaint says what is wrong in our words. first is the line in which the value
// begins, and wrong the line in which it stops being one.
func complaint(err error, first, wrong int) error {
	what := err.Error()
	if first == wrong && bareWord().MatchString(what) {
		return errors.New("text must be in quotes")
	}
	for _, slip := range slips {
		if strings.Contains(what, slip.theirs) {
			return errors.New(slip.ours)
		}
	}
	if first != wrong {
		return fmt.Errorf("this is not TOML: %s, in what begins in line %d", what, first+1)
	}
	return fmt.Errorf("this is not TOML: %s", what)
}

// keyOf is the full name of a key that stands at the beginning of a line.
func (b *builder) keyOf(match [][]byte) string {
	if match == nil || b.section == nil {
		return ""
	}
	return strings.TrimPrefix(b.section.path()+"."+string(match[1]), ".")
}

// firstLine is the first line, after what could be read, that is neither empty nor a
// comment.
func (b *builder) firstLine() int {
	line := b.line(b.end)
	if b.end > b.base {
		line++
	}
	for ; line < len(b.lines)-1; line++ {
		if s := bytes.TrimSpace(b.lineText(line)); len(s) > 0 && s[0] != '#' {
			break
		}
	}
	return line
}

// next is the offset of the next line, from the given one on, that looks like a
// heading, or, unless heading is set, like a key.
func (b *builder) next(line int, heading bool) int {
	for ; line < len(b.lines); line++ {
		s := b.lineText(line)
		if anyHeading().Match(s) || !heading && anyKey().Match(s) {
			return b.lines[line]
		}
	}
	return len(b.data)
}

// lineText is a line without its line end.
func (b *builder) lineText(line int) []byte {
	s, _, _ := bytes.Cut(b.data[b.lines[line]:], []byte("\n"))
	return s
}
