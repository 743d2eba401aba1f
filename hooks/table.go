package hooks

import (
	"maps"
	"slices"
	"strings"

	"netwatch"
)

// A Table is all rules, in the order of the configuration. It never changes
// once made, so that what does not match costs nothing: rules are found by the
// name of the event, and then by a field that must have a certain text.
type Table struct {
	rules []*Rule
	on    map[string]*shelf
}

// A shelf is the rules on one event, in the order of the configuration.
type shelf struct {
	rules []*Rule
	// exact are the places in rules of those that want a field to have a text, by
	// both, and rest the places of the others.
	exact  map[want][]int
	rest   []int
	fields []string // of exact, each once
}

// A want is a field and its text.
type want struct{ field, text string }

func (s *shelf) add(r *Rule) {
	place := len(s.rules)
	s.rules = append(s.rules, r)
	for _, field := range slices.Sorted(maps.Keys(r.Match)) {
		w := want{field, r.Match[field]}
		if strings.ContainsAny(w.text, `*?[\`) {
			continue // a glob
		}
		if s.exact[w] = append(s.exact[w], place); !slices.Contains(s.fields, field) {
			s.fields = append(s.fields, field)
		}
		return
	}
	s.rest = append(s.rest, place)
}

// near are the places of the rules that the event can fit.
func (s *shelf) near(ev netwatch.Event) []int {
	places := slices.Clone(s.rest)
	for _, field := range s.fields {
		if value, given := ev.Fields[field]; given || !looksAgain(ev) {
			places = append(places, s.exact[want{field, value}]...)
			continue
		}
		for w, all := range s.exact {
			if w.field == field {
				places = append(places, all...)
			}
		}
	}
	slices.Sort(places)
	return places
}

// NewTable makes a table of rules with unique names.
func NewTable(rules []*Rule) *Table {
	t := &Table{rules: rules, on: map[string]*shelf{}}
	for _, r := range rules {
		for _, name := range slices.Compact(slices.Sorted(slices.Values(r.On))) {
			if t.on[name] == nil {
				t.on[name] = &shelf{exact: map[want][]int{}}
			}
			t.on[name].add(r)
		}
	}
	return t
}

// Rules are all rules in the order of the configuration.
func (t *Table) Rules() []*Rule { return t.rules }

// Match is every rule that runs on the event, in the order of the
// configuration. It depends on nothing but its arguments.
func (t *Table) Match(ev netwatch.Event) []*Rule {
	var fitting []*Rule
	s := t.on[ev.Name]
	if s == nil {
		return nil
	}
	for _, place := range s.near(ev) {
		if r := s.rules[place]; r.fits(ev) {
			fitting = append(fitting, r)
		}
	}
	return fitting
}

// Has says whether some rule is on an event.
func (t *Table) Has(event string) bool { return t.on[event] != nil }

// Events are the names of all events that some rule is on, sorted.
func (t *Table) Events() []string {
	return slices.Sorted(maps.Keys(t.on))
}
