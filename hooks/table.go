package hooks

import (
	"maps"
	"slices"

	"netwatch"
)

// A Table is all rules, in the order of the configuration. It never changes
// once made, so that what does not match costs nothing: rules are found by the
// name of the event.
type Table struct {
	rules []*Rule
	on    map[string][]*Rule
}

// NewTable makes a table of rules with unique names.
func NewTable(rules []*Rule) *Table {
	t := &Table{rules: rules, on: map[string][]*Rule{}}
	for _, r := range rules {
		for _, name := range slices.Compact(slices.Sorted(slices.Values(r.On))) {
			t.on[name] = append(t.on[name], r)
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
	for _, r := range t.on[ev.Name] {
		if r.fits(ev) {
			fitting = append(fitting, r)
		}
	}
	return fitting
}

// Events are the names of all events that some rule is on, sorted.
func (t *Table) Events() []string {
	return slices.Sorted(maps.Keys(t.on))
}
