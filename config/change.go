package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"netwatch"
)

// A draft is the text of a configuration while it is changed. Every byte that does not
// say what is to be another stays: comments, blanks, the order.
type draft struct {
	text []byte
	root *node
}

// newDraft reads a text that is TOML; whether it is a configuration is for Parse to say.
func newDraft(file string, text []byte) (*draft, error) {
	r := newReport(file, text)
	d := &draft{text: text, root: r.tree(text)}
	return d, r.result()
}

// Get is what a text has at a name: SECTION.KEY, "mail" or "report" (see Set). It is empty
// for what is not written.
func Get(file string, text []byte, name string) (string, error) {
	d, err := newDraft(file, text)
	if err != nil {
		return "", err
	}
	switch name {
	case toldByMail:
		return d.address(notices), nil
	case toldWeekly:
		return d.address(reports), nil
	}
	section, key, err := splitName(name)
	if err != nil {
		return "", err
	}
	if key == "" {
		return "", fmt.Errorf("%s is a section: name a key of it, as in %s.KEY", name, name)
	}
	n := d.section(section).member(key)
	if n == nil {
		return "", nil
	}
	if n.form == list || n.form == table {
		return string(d.text[n.value:n.end]), nil
	}
	return n.text, nil
}

// Set is the text with another value at a name, which is SECTION.KEY; an empty value takes
// it out, and so the default is in force. SECTION alone takes an empty value, and the
// section out. "mail" is who is told by mail of what the rules did, and "report" who gets
// the report of the week.
func Set(file string, text []byte, name, value string) ([]byte, error) {
	d, err := newDraft(file, text)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("the value of %s is not one line", name)
	}
	switch name {
	case toldByMail:
		return d.tellByMail(file, value)
	case toldWeekly:
		return d.tellWeekly(file, value)
	}
	section, key, err := splitName(name)
	switch {
	case err != nil:
		return nil, err
	case key == "" && value != "":
		return nil, fmt.Errorf("%s is a section: a value has SECTION.KEY=VALUE", name)
	case key == "":
		return d.without(d.section(section))
	}
	return d.set(section, key, value)
}

// nameForm is the name of a section, and that of a key in it.
var nameForm = netwatch.Pattern(`^(daemon|source\.[a-z][a-z0-9_-]*)(?:\.([a-z]+))?$`)

// splitName is the section and the key of a name.
func splitName(name string) (section, key string, err error) {
	m := nameForm().FindStringSubmatch(name)
	if m == nil {
		err = fmt.Errorf("there is no value called %s", netwatch.Printable(name))
		return "", "", netwatch.WithHint(err,
			"names are daemon.KEY and source.NAME.KEY; daemon and source.NAME, to take them out; mail and report")
	}
	return m[1], m[2], nil
}

// section is the table of a name, or nil.
func (d *draft) section(name string) *node {
	n := d.root
	for part := range strings.SplitSeq(name, ".") {
		n = n.member(part)
	}
	return n
}

// splice is the text with other bytes from one place to another.
func (d *draft) splice(from, to int, by string) []byte {
	return slices.Concat(d.text[:from], []byte(by), d.text[to:])
}

// set gives a key of a section a value.
func (d *draft) set(section, key, value string) ([]byte, error) {
	s := d.section(section)
	n := s.member(key)
	switch {
	case value == "" && n == nil:
		return d.text, nil
	case value == "":
		return d.dropLine(n)
	case n != nil:
		return d.splice(n.value, n.end, literal(value)), nil
	case s == nil:
		return d.appended("[" + section + "]\n" + key + " = " + literal(value) + "\n"), nil
	case !s.headed:
		return nil, fmt.Errorf("[%s] has no heading of its own: change it by hand", section)
	}
	return d.after(d.last(s), key+" = "+literal(value)+"\n"), nil
}

// asIs is a value as TOML writes it; anything else is a text without its quotes.
var asIs = netwatch.Pattern(`^(true|false|[0-9]+|".*"|\[.*\])$`)

func literal(value string) string {
	if asIs().MatchString(value) {
		return value
	}
	return quote(value)
}

// quote writes a text as a basic string of TOML.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// last is the last byte of what a section says: of its last value, or of its heading.
func (d *draft) last(s *node) int {
	end := max(s.key, s.end)
	for _, n := range s.members {
		end = max(end, d.last(n))
	}
	return end
}

// lineFrom and lineAfter are where the line of a byte begins, and where the next one does.
func (d *draft) lineFrom(at int) int { return bytes.LastIndexByte(d.text[:at], '\n') + 1 }

func (d *draft) lineAfter(at int) int {
	if i := bytes.IndexByte(d.text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(d.text)
}

// after puts lines behind the line of a byte.
func (d *draft) after(at int, lines string) []byte {
	at = d.lineAfter(at)
	if at > 0 && d.text[at-1] != '\n' {
		lines = "\n" + lines
	}
	return d.splice(at, at, lines)
}

// appended is the text with a paragraph at its end.
func (d *draft) appended(paragraph string) []byte {
	if len(d.text) == 0 {
		return []byte(paragraph)
	}
	return d.after(len(d.text), "\n"+paragraph)
}

// dropLine takes out a key with its value, which have lines of their own.
func (d *draft) dropLine(n *node) ([]byte, error) {
	from := d.lineFrom(n.key)
	if len(bytes.TrimSpace(d.text[from:n.key])) > 0 {
		return nil, fmt.Errorf("%s does not begin its line: take it out by hand", n.path())
	}
	return d.splice(from, d.lineAfter(n.end), ""), nil
}

// comment is a line that holds a comment, and blank one that holds nothing.
var (
	comment = netwatch.Pattern(`^[ \t]*#`)
	blank   = netwatch.Pattern(`^[ \t\r]*\n$`)
)

// without takes out a section or a rule, with the comment right above it and one blank
// line.
func (d *draft) without(s *node) ([]byte, error) {
	if s == nil {
		return d.text, nil
	}
	if !s.headed {
		return nil, errors.New("the section has no heading of its own: take it out by hand")
	}
	from := d.lineFrom(s.key)
	above := func() []byte { return d.text[d.lineFrom(max(from-1, 0)):from] }
	for from > 0 && comment().Match(above()) {
		from -= len(above())
	}
	if from > 0 && blank().Match(above()) {
		from -= len(above())
	}
	return d.splice(from, d.lineAfter(d.last(s)), ""), nil
}
