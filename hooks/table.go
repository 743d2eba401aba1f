package hooks

import (
	"maps"
	"slices"

	"netwatch"
)

// A Table is all rules, in the order of the configuration. It never changes once
// it is made.
type Table struct {
	rules []*Rule
}

// NewTable makes a table of rules with unique names.
func NewTable(rules []*Rule) *Table { return &Table{rules} }

// Rules are all rules in the order of the configuration.
func (t *Table) Rules() []*Rule { return t.rules }

// Match is every rule that runs on the event, in the order of the configuration.
// It depends on nothing but its arguments.
func (t *Table) Match(ev netwatch.Event) []*Rule {
	var fitting []*Rule
	for _, r := range t.rules {
		if r.fits(ev) {
			fitting = append(fitting, r)
		}
	}
	return fitting
}

// Has says whether some rule is on an event.
func (t *Table) Has(event string) bool {
	return slices.ContainsFunc(t.rules, func(r *Rule) bool { return slices.Contains(r.On, event) })
}

// Events are the names of all events that some rule is on, sorted.
func (t *Table) Events() []string {
	names := map[string]bool{}
	for _, r := range t.rules {
		for _, name := range r.On {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
