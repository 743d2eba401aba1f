package edit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"netwatch"
)

// YAML is a file of YAML. Its keys are names with a dot between, as in rtc.node_ip or
// listen[module=ejabberd_stun].turn_ipv4_address.
var YAML = Form{Name: "YAML", Check: checkPath, Get: getYAML, Set: setYAML, Add: addYAML}

// checkPath says why something is no key.
func checkPath(key string) error {
	_, err := parsePath(key)
	return err
}

// A document is a text of YAML and what was read in it.
type document struct {
	text []byte
	root *yaml.Node
	// lines are where each line begins.
	lines []int
}

// MaxYAML is the size in bytes of the largest text of YAML that is read: its reader takes
// 200 times as much memory.
const MaxYAML = 256 << 10

// ErrTooLarge says that a text is larger.
var ErrTooLarge = fmt.Errorf("it is larger than %d KiB", MaxYAML>>10)

// readYAML reads a text.
func readYAML(text []byte) (*document, error) {
	if len(text) > MaxYAML {
		return nil, ErrTooLarge
	}
	if err := checkYAML(text); err != nil {
		return nil, err
	}
	d := &document{text: text, lines: yamlLines(text)}
	from := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	err := from.Decode(&first)
	switch {
	case errors.Is(err, io.EOF), err == nil && len(first.Content) == 0:
		return nil, errors.New("there is nothing in it")
	case err != nil:
		return nil, d.unread(err)
	}
	if err := from.Decode(&second); err == nil {
		return nil, d.wrong(&second, "a second document begins, and there may be one")
	} else if !errors.Is(err, io.EOF) {
		return nil, d.unread(err)
	}
	d.root = first.Content[0]
	return d, d.checkKeys(d.root)
}

// checkYAML refuses what this reader of YAML takes in another way than others do.
func checkYAML(text []byte) error {
	if err := checkText(text); err != nil {
		return err
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return wrongAt(text, i, "this is not UTF-8")
		case strings.ContainsRune("\u0085\u2028\u2029", r):
			return wrongAt(text, i, "a line ends in a character that is none of its ends to everybody")
		}
		i += n
	}
	return nil
}

// yamlLines are where the lines of a text begin.
func yamlLines(text []byte) []int {
	first := 0
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		first = len("\ufeff") // Columns are counted after it
	}
	lines := []int{first}
	for i, b := range text {
		if b == '\n' {
			lines = append(lines, i+1)
		}
	}
	return lines
}

// yamlLine is how an error of the reader says where.
var yamlLine = netwatch.Pattern(`^yaml: line ([0-9]+): `)

// unread is the error of a reader without its words, which may have some of the text.
func (d *document) unread(err error) error {
	line := 1
	if m := yamlLine().FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
	}
	at := d.lines[max(0, min(line, len(d.lines))-1)]
	return wrongAt(d.text, at, "from here on it is not YAML, or not to every reader")
}

// offset is where a node begins.
func (d *document) offset(n *yaml.Node) int {
	if n.Line < 1 || n.Line > len(d.lines) {
		return len(d.text)
	}
	at := d.lines[n.Line-1]
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(d.text[at:])
		at += size
	}
	return at
}

// wrong is a mistake at a node.
func (d *document) wrong(n *yaml.Node, format string, args ...any) error {
	return wrongAt(d.text, d.offset(n), format, args...)
}

// checkKeys refuses a key that is no name, anywhere: so does a template look, as {{ }}.
func (d *document) checkKeys(n *yaml.Node) error {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && child.Kind != yaml.ScalarNode && child.Kind != yaml.AliasNode {
			return d.wrong(child, "a key is no name here: this looks like a template, and not like what comes of it")
		}
		if err := d.checkKeys(child); err != nil {
			return err
		}
	}
	return nil
}

// A found is where a path leads.
type found struct {
	// parent is the last mapping, and flow says that it or one around it is in braces.
	parent *yaml.Node
	flow   bool
	// key and value are the last ones; nil if the mapping does not have the key.
	key, value *yaml.Node
}

// find goes along a path.
func (d *document) find(path []step) (f found, err error) {
	at := d.root
	for i, s := range path {
		if err := d.plain(at); err != nil {
			return f, err
		}
		if at.Kind != yaml.MappingNode {
			return f, d.wrong(at, "here should be a mapping with the key %s", s.name)
		}
		f.parent, f.flow = at, f.flow || at.Style&yaml.FlowStyle != 0
		if f.key, f.value, err = d.member(at, s.name); err != nil {
			return f, err
		}
		if f.value == nil && i < len(path)-1 {
			return f, d.wrong(at, "here is no %s", s.name)
		}
		if at = f.value; s.of != whole {
			f.flow = f.flow || at.Style&yaml.FlowStyle != 0
			if at, err = d.item(at, s); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// plain refuses what says more, or less, than what stands there.
func (d *document) plain(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode:
		return d.wrong(n, "here is an alias: what it stands for is written elsewhere")
	case n.Anchor != "":
		return d.wrong(n, "here is an anchor: what is changed here is changed at its aliases too")
	case n.Style&yaml.TaggedStyle != 0:
		return d.wrong(n, "here is a tag")
	}
	return nil
}

// member is what a mapping has at a name; nil if it has nothing.
func (d *document) member(n *yaml.Node, name string) (key, value *yaml.Node, err error) {
	for i := 0; i < len(n.Content); i += 2 {
		switch k := n.Content[i]; {
		case k.Kind == yaml.AliasNode, k.Tag == "!!merge":
			return nil, nil, d.wrong(k, "here is an alias: what it stands for is written elsewhere")
		case k.Value != name:
		case key != nil:
			return nil, nil, d.wrong(k, "here is a second %s: it is not certain which one counts", name)
		default:
			key, value = k, n.Content[i+1]
			if err := d.plain(k); err != nil {
				return nil, nil, err
			}
		}
	}
	return key, value, nil
}

// item is the one item of a list that a step means.
func (d *document) item(list *yaml.Node, s step) (*yaml.Node, error) {
	all, err := d.items(list, s)
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, d.wrong(list, "this list has no such item")
	case len(all) > 1:
		return nil, d.wrong(list.Content[all[1]], "here is a second such item: it is not certain which one is meant")
	}
	return list.Content[all[0]], nil
}

// items are the places of all items of a list that a step means.
func (d *document) items(list *yaml.Node, s step) (all []int, err error) {
	if err := d.plain(list); err != nil {
		return nil, err
	}
	if list.Kind != yaml.SequenceNode {
		return nil, d.wrong(list, "here should be a list")
	}
	for i, item := range list.Content {
		if item.Kind == yaml.AliasNode {
			return nil, d.plain(item)
		}
		has := i == s.index
		if s.of == byValue {
			if has, err = d.has(item, s); err != nil {
				return nil, err
			}
		}
		if has {
			all = append(all, i)
		}
	}
	return all, nil
}

// has says whether an item is a mapping with the value of a step.
func (d *document) has(item *yaml.Node, s step) (bool, error) {
	if item.Kind != yaml.MappingNode {
		return false, nil
	}
	_, value, err := d.member(item, s.key)
	if err != nil || value == nil {
		return false, err
	}
	if value.Kind == yaml.AliasNode {
		return false, d.plain(value)
	}
	return value.Kind == yaml.ScalarNode && value.Value == s.value, nil
}

// Items are the keys of all mappings of a list in which a key has a value and another one
// has what is wanted, as listen[0]. Of a value that is not there, or no plain one, want is
// told nothing.
func Items(text []byte, list, key, value, also string, want func(value string) bool) (all []string, err error) {
	d, f, _, err := lookup(text, list)
	if err != nil || f.value == nil {
		return nil, err
	}
	places, err := d.items(f.value, step{of: byValue, key: key, value: value})
	for _, place := range places {
		if want(d.plainValue(f.value.Content[place], also)) {
			all = append(all, fmt.Sprintf("%s[%d]", list, place))
		}
	}
	return all, err
}

// plainValue is the value that a mapping has at a name, if it is a plain one.
func (d *document) plainValue(mapping *yaml.Node, name string) string {
	_, value, err := d.member(mapping, name)
	if err != nil || value == nil || value.Kind != yaml.ScalarNode || d.plain(value) != nil {
		return ""
	}
	return value.Value
}
