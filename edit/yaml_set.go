package edit

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// getYAML is the value at a key.
func getYAML(text []byte, key string) (Value, error) {
	d, f, _, err := lookup(text, key)
	if err == nil && f.value == nil {
		err = ErrMissing
	}
	if err != nil {
		return Value{}, err
	}
	at, err := d.place(f)
	value := valueAt(text, at)
	if f.value.Tag == nullTag {
		value.Text = ""
	}
	return value, err
}

// lookup reads a text and goes to a key, which it need not have.
func lookup(text []byte, key string) (d *document, f found, path []step, err error) {
	if path, err = parsePath(key); err != nil {
		return nil, f, nil, err
	}
	if d, err = readYAML(text); err != nil {
		return nil, f, nil, err
	}
	f, err = d.find(path)
	return d, f, path, err
}

// nullTag is the tag of a value that is none.
const nullTag = "!!null"

// setYAML gives a key another value, and nothing else.
func setYAML(text []byte, key, value string) ([]byte, error) {
	d, f, path, err := lookup(text, key)
	if err == nil && f.value == nil {
		err = ErrMissing
	}
	if err = cmp.Or(err, checkValue(value)); err != nil {
		return nil, err
	}
	at, err := d.place(f)
	if err != nil {
		return nil, err
	}
	return d.check(at.replace(text, written(f, at, value)), path, value, false)
}

// written is a value as it is written in the place of one.
func written(f found, at span, value string) string {
	if quoted := f.value.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0; !quoted {
		value = scalar(value, f.flow)
	}
	if at.from == at.to && f.value.Style == 0 {
		return " " + value // Behind the colon
	}
	return value
}

// scalar is a value that has no quotes yet, with those that it needs: digits with colons
// between are a number in base 60 to YAML 1.1, and a last colon makes a key of it.
func scalar(value string, flow bool) string {
	number := strings.Contains(value, ":") && strings.Trim(value, "0123456789:") == ""
	colons := strings.HasPrefix(value, ":") || strings.HasSuffix(value, ":")
	if number || colons || flow && strings.ContainsAny(value, ":,") {
		return `"` + value + `"`
	}
	return value
}

// place is where the value stands, inside its quotes. Of no value at all it is the place
// behind the colon.
func (d *document) place(f found) (at span, err error) {
	n := f.value
	if err := d.plain(n); err != nil {
		return at, err
	}
	switch {
	case n.Kind != yaml.ScalarNode:
		return at, d.wrong(n, "here should be one value")
	case n.Style&(yaml.FoldedStyle|yaml.LiteralStyle) != 0:
		return at, d.wrong(n, "here is a text of several lines, and there should be one value")
	case n.Value == "" && n.Style == 0:
		at, err = d.behind(f.key)
	default:
		at, err = d.scalar(n)
	}
	if err != nil {
		return at, err
	}
	return at, d.checkTabs(at)
}

// scalar is where the text of a scalar stands, which is written as it is read.
func (d *document) scalar(n *yaml.Node) (at span, err error) {
	at.from = d.offset(n)
	quote := ""
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		quote = `"`
	case n.Style&yaml.SingleQuotedStyle != 0:
		quote = "'"
	}
	if !bytes.HasPrefix(d.text[at.from:], []byte(quote+n.Value+quote)) {
		return at, d.wrong(n, "this is not written as it is read: it has escapes, or several lines")
	}
	at.from += len(quote)
	at.to = at.from + len(n.Value)
	return at, nil
}

// behind is the place behind the colon of a key without a value.
func (d *document) behind(key *yaml.Node) (at span, err error) {
	end, err := d.scalar(key)
	if err != nil {
		return at, err
	}
	at.to = end.to
	if key.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		at.to++
	}
	rest := bytes.TrimLeft(d.text[at.to:], " ")
	if !bytes.HasPrefix(rest, []byte(":")) {
		return at, d.wrong(key, "there is no colon behind this key")
	}
	at.from = len(d.text) - len(rest) + 1
	at.to = at.from
	return at, nil
}

// checkTabs refuses a tab in the line of a place: readers differ in what it is there.
func (d *document) checkTabs(at span) error {
	from := bytes.LastIndexByte(d.text[:at.from], '\n') + 1
	line, _, _ := bytes.Cut(d.text[from:], []byte("\n"))
	if before, _, tab := bytes.Cut(line, []byte("\t")); tab {
		return wrongAt(d.text, from+len(before), "there is a tab, which not every reader of YAML takes for a blank")
	}
	return nil
}

// check is the new text, if it says the value at the path and everything else as before.
func (d *document) check(text []byte, path []step, value string, added bool) ([]byte, error) {
	now, err := readYAML(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errElsewhere, err)
	}
	was, errWas := d.find(path)
	is, err := now.find(path)
	switch {
	case err != nil || errWas != nil || is.value == nil || added != (was.value == nil):
		return nil, errElsewhere
	case is.value.Kind != yaml.ScalarNode || is.value.Value != value || is.value.ShortTag() != "!!str":
		return nil, errElsewhere
	}
	if added {
		i := slices.Index(is.parent.Content, is.key)
		is.parent.Content = slices.Delete(is.parent.Content, i, i+2)
	} else {
		*is.value = *was.value
	}
	if !same(d.root, now.root) {
		return nil, errElsewhere
	}
	return text, nil
}

// same says whether two nodes say the same, as they are written.
func same(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Style != b.Style || a.Tag != b.Tag || a.Value != b.Value || a.Anchor != b.Anchor ||
		len(a.Content) != len(b.Content) {
		return false
	}
	for i, child := range a.Content {
		if !same(child, b.Content[i]) {
			return false
		}
	}
	return true
}

// addYAML puts a key with a value right below the line of the mapping that is to have
// it, or behind the brace that begins it.
func addYAML(text []byte, key, value string) ([]byte, error) {
	d, f, path, err := lookup(text, key)
	switch err = cmp.Or(err, checkValue(value)); {
	case err != nil:
		return nil, err
	case f.value != nil:
		return nil, d.wrong(f.key, "the key is there already")
	}
	at, line, err := d.room(f, path[len(path)-1].name, value)
	if err == nil {
		err = d.checkTabs(at)
	}
	if err != nil {
		return nil, err
	}
	return d.check(at.replace(text, line), path, value, true)
}

// room is where a key more is written, and what.
func (d *document) room(f found, name, value string) (at span, line string, err error) {
	if bareName().FindString(name) != name {
		name = `"` + name + `"`
	}
	line = name + ": " + scalar(value, f.flow)
	at.from = d.offset(f.parent)
	switch {
	case f.parent.Style&yaml.FlowStyle != 0 && bytes.HasPrefix(d.text[at.from:], []byte("{")):
		at.from++
		if len(f.parent.Content) > 0 {
			line += ", "
		}
	case f.flow || len(f.parent.Content) == 0:
		return at, "", d.wrong(f.parent, "there is no place for a key more")
	default:
		at.from, line = d.below(f.parent, line)
	}
	at.to = at.from
	return at, line, nil
}

// below is the place for a line more in a mapping: below the line that it belongs to, or
// below its first key, if that stands in the same line, as behind the dash of a list.
func (d *document) below(mapping *yaml.Node, line string) (at int, with string) {
	first := mapping.Content[0]
	top := first.Line // Counted from 1, so that it is the index of the next one
	if indent := d.text[d.lines[first.Line-1]:d.offset(first)]; len(bytes.Trim(indent, " ")) == 0 {
		top--
		for top > 0 && d.idle(top) {
			top--
		}
	}
	line = strings.Repeat(" ", first.Column-1) + line + d.end()
	if top < len(d.lines) {
		return d.lines[top], line
	}
	return len(d.text), d.end() + strings.TrimSuffix(line, d.end())
}

// idle says whether a line, counted from 1, is blank or a comment.
func (d *document) idle(line int) bool {
	text, _, _ := bytes.Cut(d.text[d.lines[line-1]:], []byte("\n"))
	text = bytes.TrimSpace(text)
	return len(text) == 0 || text[0] == '#'
}

// end is how a line of the text ends.
func (d *document) end() string {
	if i := bytes.IndexByte(d.text, '\n'); i > 0 && d.text[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}
