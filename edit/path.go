package edit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"netwatch"
)

// A step is one name of a key in YAML, and which item of the list that it has, if it
// is one.
type step struct {
	name string
	// of says by what an item is chosen.
	of choice
	// key and value are what the item has, or index is its place.
	key, value string
	index      int
}

// A choice is how an item of a list is chosen.
type choice int

const (
	whole choice = iota // It is no list
	byValue
	byIndex
)

var (
	bareName = netwatch.Pattern(`^[\pL\pN_-]+`)
	// selector is what stands in brackets.
	selector = netwatch.Pattern(`^\[(?:([0-9]{1,6})|([\pL\pN_-]+|"[^"]+")=([\pL\pN_.-]+|"[^"]*"))\]`)
)

// parsePath reads names with a dot between. A name with other characters stands in
// double quotes. Behind it may stand [key=value] or [number], for an item of a list.
func parsePath(key string) (path []step, err error) {
	for rest := key; ; {
		var s step
		if s, rest, err = parseStep(rest); err != nil {
			return nil, fmt.Errorf("%q is no key: %w", key, err)
		}
		path = append(path, s)
		if rest == "" && s.of == whole {
			return path, nil
		} else if rest == "" {
			return nil, fmt.Errorf("%q is no key: it ends with an item of a list, and not with a value", key)
		}
		rest = rest[1:]
	}
}

// parseStep reads one step; what is left begins with a dot.
func parseStep(text string) (s step, rest string, err error) {
	if s.name, rest, err = parseName(text); err != nil {
		return s, rest, err
	}
	if m := selector().FindStringSubmatch(rest); m != nil {
		rest = rest[len(m[0]):]
		s.of, s.key, s.value = byValue, unquote(m[2]), unquote(m[3])
		if m[1] != "" {
			s.of = byIndex
			s.index, err = strconv.Atoi(m[1])
		}
	}
	if err == nil && rest != "" && rest[0] != '.' {
		err = fmt.Errorf("%q in it is not understood: names are joined by dots, others stand in double quotes, "+
			"and an item of a list is name[key=value]", rest)
	}
	return s, rest, err
}

// parseName reads a name.
func parseName(text string) (name, rest string, err error) {
	if strings.HasPrefix(text, `"`) {
		name, rest, closed := strings.Cut(text[1:], `"`)
		if !closed || name == "" {
			return "", "", errors.New("a double quote is not closed, or there is nothing in it")
		}
		return name, rest, nil
	}
	name = bareName().FindString(text)
	if name == "" {
		return "", "", errors.New("a name is missing")
	}
	return name, text[len(name):], nil
}

func unquote(text string) string { return strings.Trim(text, `"`) }
