package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"netwatch"
)

// What a node holds.
type form int

const (
	table form = iota
	list
	text
	integer
	boolean
	other // a float, a date or a time: no key takes one
)

// A node is a value of the file with its name and position.
type node struct {
	form form
	// parent and name say where the node is. The name of an element of a list is its
	// [number].
	parent *node
	name   string
	// key and value are the offsets of the name and of the value. Both are that of the
	// name for a section. end is where the value ends, or the name in a heading.
	key, value, end int
	// text is a value as it is written, or, for a string, what is between the quotes.
	text string
	// names are the keys of a table in the order of the file.
	names   []string
	members map[string]*node
	items   []*node
	// sections says that a list was written as [[name]], headed that a table was
	// written as [name], and implied that a table was made by a.b = value.
	sections, headed, implied bool
	// inline says that a table was written as { key = value }, which cannot grow.
	inline bool
}

// member is the value of a key of a table, or nil.
func (n *node) member(name string) *node {
	if n == nil || n.form != table {
		return nil
	}
	return n.members[name]
}

// put adds a value to a table.
func (n *node) put(name string, child *node) *node {
	if n.members == nil {
		n.members = map[string]*node{}
	}
	n.names = append(n.names, name)
	n.members[name] = child
	child.parent, child.name = n, name
	return child
}

// push adds an element to a list.
func (n *node) push(child *node) *node {
	n.items = append(n.items, child)
	child.parent, child.name = n, fmt.Sprintf("[%d]", len(n.items))
	return child
}

// path is the full name as a Mistake prints it. It is made only when it is needed: a
// file could nest so deep that the names of all nodes had gigabytes.
func (n *node) path() string {
	var names []string
	for ; n.parent != nil; n = n.parent {
		name := n.name
		if n.parent.form == table {
			name = dotted(name)
		}
		names = append(names, name)
	}
	slices.Reverse(names)
	return strings.TrimPrefix(strings.Join(names, ""), ".")
}

// sub is the full name of a key of a table, whether the table has the key or not.
func (n *node) sub(name string) string {
	return strings.TrimPrefix(n.path()+dotted(name), ".")
}

// last is the table that a name in a heading stands for. For [[sections]] that is the
// newest.
func (n *node) last() *node {
	if n.form == list && n.sections {
		return n.items[len(n.items)-1]
	}
	return n
}

var bare = netwatch.Pattern(`^[A-Za-z0-9_-]+$`)

// dotted is a key as it stands behind its table in a full name.
func dotted(name string) string {
	if !bare().MatchString(name) {
		name = strconv.Quote(name)
	}
	return "." + name
}

// A builder makes the tree from the lines of the file.
type builder struct {
	*report
	parser unstable.Parser
	data   []byte
	// base is the offset in the file at which the parser began.
	base int
	root *node
	// section is the table that the next key = value goes into. It is nil after a
	// heading that was a mistake.
	section *node
	// end is the offset at which the last statement that could be read ended.
	end int
}

// tree reads all lines. It reports and leaves out those that are no TOML.
func (r *report) tree(data []byte) *node {
	root := &node{}
	b := &builder{report: r, data: data[:len(data):len(data)], root: root, section: root}
	for more := true; more; {
		more = b.statements()
	}
	return root
}

// statements reads lines up to the first one that is no TOML, and says whether there
// was one.
func (b *builder) statements() bool {
	b.parser.Reset(b.data[b.base:])
	for b.parser.NextExpression() {
		b.statement(b.parser.Expression())
	}
	err := b.parser.Error()
	if err == nil {
		return false
	}
	b.partial = true
	b.base = b.recover(err)
	b.end = b.base
	return true
}

func (b *builder) offset(n *unstable.Node) int { return b.base + int(n.Raw.Offset) }

// statement adds a heading, or one key = value.
func (b *builder) statement(n *unstable.Node) {
	switch n.Kind {
	case unstable.KeyValue:
		b.end = b.offset(n) + int(n.Raw.Length)
		if b.section != nil {
			b.assign(b.section, n)
		}
	case unstable.Table, unstable.ArrayTable:
		b.section = b.heading(n)
	}
}

// heading finds or makes the table of [a.b] or [[a.b]], or returns nil.
func (b *builder) heading(n *unstable.Node) *node {
	at := b.root
	for keys := n.Key(); keys.Next(); {
		k := keys.Node()
		b.end = b.offset(k) + int(k.Raw.Length)
		name := string(k.Data)
		switch {
		case !keys.IsLast():
			at = b.enter(at, name, b.offset(k), false)
		case n.Kind == unstable.ArrayTable:
			at = b.element(at, name, b.offset(k))
		default:
			at = b.head(at, name, b.offset(k))
		}
		if at == nil {
			return nil
		}
	}
	return at
}

// enter finds or makes the table of that name in another table. It returns nil if the
// name stands for something else.
func (b *builder) enter(in *node, name string, at int, implied bool) *node {
	n := in.members[name]
	if n == nil {
		return in.put(name, &node{key: at, value: at, implied: implied})
	}
	// A dotted key adds only to tables that dotted keys made (TOML 1.0, Keys).
	if n.last().form != table || n.last().inline || implied && !n.implied {
		b.again(n, at)
		return nil
	}
	return n.last()
}

// head is the table of [name].
func (b *builder) head(in *node, name string, at int) *node {
	if in == b.root && name == "rule" {
		b.add(at, name, errors.New("must be in double brackets, as in [[rule]]: there can be many"))
		return b.element(in, name, at)
	}
	n := b.enter(in, name, at, false)
	if n == nil {
		return nil
	}
	if n.headed || n.implied || n != in.members[name] {
		b.again(in.members[name], at)
		return nil
	}
	// The position of [a.b] is better than that of [a.b.c] before it.
	n.headed, n.key, n.value = true, at, at
	return n
}

// element is a new table of the list [[name]].
func (b *builder) element(in *node, name string, at int) *node {
	n := in.members[name]
	if n == nil {
		n = in.put(name, &node{form: list, sections: true, key: at, value: at})
	}
	if !n.sections {
		b.again(n, at)
		return nil
	}
	return n.push(&node{key: at, value: at, headed: true})
}

// again reports something that the file has given before.
func (b *builder) again(first *node, at int) {
	b.add(at, first.path(), fmt.Errorf("is given again, after line %d", b.line(first.key)+1))
}

// assign adds key = value to a table.
func (b *builder) assign(in *node, n *unstable.Node) {
	for keys := n.Key(); keys.Next(); {
		k := keys.Node()
		name, at := string(k.Data), b.offset(k)
		if !keys.IsLast() {
			if in = b.enter(in, name, at, true); in == nil {
				return
			}
			continue
		}
		if first := in.members[name]; first != nil {
			b.again(first, at)
			return
		}
		child := in.put(name, &node{key: at})
		child.end = b.fill(child, n.Value(), b.start(at+int(k.Raw.Length)))
	}
}

// start is the offset of the value whose key ends at an offset.
func (b *builder) start(end int) int {
	rest := b.data[end:]
	for i, c := range rest {
		if c != ' ' && c != '\t' && c != '=' {
			return end + i
		}
	}
	return end
}

// fill gives a node its value, which begins at an offset, and returns where the value
// ends. The library says neither where a list begins nor where it ends.
func (b *builder) fill(n *node, v *unstable.Node, at int) (end int) {
	n.form, n.value, n.text = other, at, string(v.Data)
	end = b.offset(v) + int(v.Raw.Length)
	switch v.Kind {
	case unstable.String:
		n.form = text
	case unstable.Integer:
		n.form = integer
	case unstable.Bool:
		n.form = boolean
	case unstable.Array:
		n.form, end = list, at+1
		for all := v.Children(); all.Next(); {
			start := b.between(end)
			item := n.push(&node{key: start})
			end = b.fill(item, all.Node(), start)
			item.end = end
		}
		return b.between(end) + 1
	case unstable.InlineTable:
		n.form, end = table, at+1
		for all := v.Children(); all.Next(); {
			b.assign(n, all.Node())
			end = b.offset(all.Node()) + int(all.Node().Raw.Length)
		}
		n.inline = true
		return b.between(end) + 1
	}
	return end
}

// between skips what may stand between the elements of a list.
func (b *builder) between(at int) int {
	for at < len(b.data) {
		switch b.data[at] {
		case ' ', '\t', '\r', '\n', ',':
			at++
		case '#':
			at = b.lines[b.line(at)+1]
		default:
			return at
		}
	}
	return at
}
