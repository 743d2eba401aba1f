package config

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"

	"netwatch"
)

// decode fills the struct that to points to from a table, by the toml tags of its
// fields. Fields without a key stay as they are. Unlike the decoder of the library it
// goes on after a mistake, tells upper from lower case and knows every position.
func (r *report) decode(n *node, to any) { r.into(n, reflect.ValueOf(to).Elem()) }

// into fills one value from a node.
func (r *report) into(n *node, v reflect.Value) {
	if leaf, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if r.is(n, text, v.Type()) {
			r.leaf(n, leaf)
		}
		return
	}
	switch want := formOf(v.Type()); {
	case !r.is(n, want, v.Type()):
	case want == table && v.Kind() == reflect.Map:
		r.mapping(n, v)
	case want == table:
		r.fields(n, v)
	case want == list:
		r.elements(n, v)
	case want == integer:
		r.integer(n, v)
	case want == boolean:
		v.SetBool(n.text == "true")
	default:
		v.SetString(n.text)
	}
}

// formOf is the form in which a value of this type is written.
func formOf(t reflect.Type) form {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return table
	case reflect.Slice:
		return list
	case reflect.Int, reflect.Int64:
		return integer
	case reflect.Bool:
		return boolean
	case reflect.String:
		return text
	}
	panic(fmt.Sprintf("a setting cannot be a %s", t))
}

// is says whether a value has the form that is wanted, and reports it otherwise.
func (r *report) is(n *node, want form, t reflect.Type) bool {
	if n.form != want {
		r.at(n, fmt.Errorf("must be %s", expected(n, want, t)))
	}
	return n.form == want
}

// expected says in plain words what a value must be.
func expected(n *node, want form, t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[netwatch.Duration]():
		return `a duration in quotes, as in "15s"`
	case t == reflect.TypeFor[netwatch.Path]():
		return `a path in quotes, as in "/etc/turnserver.conf"`
	case want == table && t.Kind() == reflect.Map:
		return `keys with text, as in { interface = "tun*" }`
	case want == table:
		return fmt.Sprintf("a section of its own, as in [%s]", n.path())
	case want == list:
		return `a list in brackets, as in ["one", "two"]`
	case want == integer:
		return "a whole number without quotes, as in 2"
	case want == boolean:
		return "true or false, without quotes"
	}
	return "text in quotes"
}

// leaf has a value parse itself.
func (r *report) leaf(n *node, to encoding.TextUnmarshaler) {
	err := to.UnmarshalText([]byte(n.text))
	if err == nil {
		return
	}
	// The messages of net/netip are about Go.
	if _, ok := to.(*netip.Prefix); ok {
		err = fmt.Errorf("%q is not a range of addresses, as in \"127.0.0.0/8\"", n.text)
	}
	r.at(n, err)
}

func (r *report) integer(n *node, v reflect.Value) {
	i, err := strconv.ParseInt(n.text, 0, 64)
	if err != nil || v.OverflowInt(i) {
		r.at(n, errors.New("is too large a number"))
		return
	}
	v.SetInt(i)
}

// elements fills a list. An element with a mistake stays zero, so that the others
// keep their places.
func (r *report) elements(n *node, v reflect.Value) {
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		r.into(item, v.Index(i))
	}
}

// mapping fills a map whose keys are text.
func (r *report) mapping(n *node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, name := range n.names {
		value := reflect.New(v.Type().Elem()).Elem()
		r.into(n.members[name], value)
		v.SetMapIndex(reflect.ValueOf(name), value)
	}
}

// fields fills a struct, and reports the keys for which it has no field.
func (r *report) fields(n *node, v reflect.Value) {
	indexes := tagged(v.Type())
	for _, name := range r.known(n, "key", keys(v.Type())) {
		r.into(n.members[name], v.FieldByIndex(indexes[name]))
	}
}

// known reports the names in a table that are not among those known, and returns the
// others.
func (r *report) known(n *node, what string, known []string) []string {
	var found []string
	for _, name := range n.names {
		if slices.Contains(known, name) {
			found = append(found, name)
			continue
		}
		r.atKey(n.members[name], unknown(what, name, known))
	}
	return found
}

// keys are the keys that a struct takes by its toml tags, in order. Given a pointer,
// it takes the struct that it points to.
func keys(t reflect.Type) []string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var all []string
	for _, f := range reflect.VisibleFields(t) {
		if tag := f.Tag.Get("toml"); tag != "" && tag != "-" {
			all = append(all, tag)
		}
	}
	return all
}

// tagged says, for each key, where its field is in a struct.
func tagged(t reflect.Type) map[string][]int {
	indexes := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		indexes[f.Tag.Get("toml")] = f.Index
	}
	return indexes
}
