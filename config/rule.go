package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"netwatch"
	"netwatch/hooks"
)

// rule is one [[rule]] as it is written.
type rule struct {
	Name    ruleName          `toml:"name"`
	On      []eventName       `toml:"on"`
	From    []string          `toml:"from"`
	Match   map[string]glob   `toml:"match"`
	Settle  netwatch.Duration `toml:"settle"`
	Timeout netwatch.Duration `toml:"timeout"`
	Retry   netwatch.Duration `toml:"retry"`
	Do      []string          `toml:"do"`
}

// A ruleName is text that can stand in one line of a report.
type ruleName string

// UnmarshalText takes all text that is not empty and can be printed.
func (n *ruleName) UnmarshalText(text []byte) error {
	*n = ruleName(text)
	if len(text) == 0 {
		return netwatch.WithHint(errors.New("is empty"), "leave it out: the events of the rule then name it")
	}
	if strings.ContainsFunc(string(text), func(c rune) bool { return !unicode.IsPrint(c) }) {
		return fmt.Errorf("%q has characters that cannot be printed", text)
	}
	return nil
}

// An eventName is an event that netwatch knows or that can be fired.
type eventName string

// slip is the event that is meant by a name that is none, or empty: of a short one two
// letters are another word.
func slip(name string, known []string) string {
	long := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return len(k) < 6 })
	return cmp.Or(within(name, known, 1), within(name, long, 2))
}

// UnmarshalText takes a known event, and any other name that is not so near to
// one that it is a slip.
func (e *eventName) UnmarshalText(text []byte) error {
	name, known := string(text), netwatch.EventNames()
	*e = eventName(name)
	if slices.Contains(known, name) {
		return nil
	}
	if near := slip(name, known); near != "" {
		return fmt.Errorf("unknown event, did you mean `%s`?", near)
	}
	if !netwatch.EventName().MatchString(name) {
		return netwatch.WithHint(fmt.Errorf(
			"%q is not a name of an event: up to 128 small letters, digits and -, a letter first", name),
			"events are "+strings.Join(known, ", ")+", or a name of your own that is fired")
	}
	return nil
}

// A glob is a pattern as path.Match takes it.
type glob string

// UnmarshalText takes what path.Match takes.
func (g *glob) UnmarshalText(text []byte) error {
	*g = glob(text)
	if _, err := path.Match(string(text), ""); err != nil {
		return fmt.Errorf("%q is not a pattern: a bracket or a backslash in it is not ended", text)
	}
	return nil
}

// rules reads every [[rule]].
func (r *reader) rules(root *node) []*hooks.Rule {
	n := root.member("rule")
	if n == nil {
		if !r.partial && !r.mistakes.blame("rule") && !r.saysItself() {
			r.add(0, "rule", netwatch.WithHint(errors.New("there is no rule, so that nothing would ever be done"),
				"add a [[rule]] with `on` and `do`"))
		}
		return nil
	}
	if n.form != list {
		r.at(n, errors.New("must be sections in double brackets, as in [[rule]]"))
		return nil
	}
	var all []*hooks.Rule
	for _, item := range n.items {
		if item.form != table {
			r.at(item, errors.New("must be a section in double brackets, as in [[rule]]"))
			continue
		}
		all = append(all, r.rule(item))
	}
	r.uniqueNames(n)
	nameRules(all)
	return all
}

// rule reads one [[rule]]. A rule without a name gets none here.
func (r *reader) rule(n *node) *hooks.Rule {
	w := rule{
		Settle:  netwatch.Duration(hooks.DefaultSettle),
		Timeout: netwatch.Duration(hooks.DefaultTimeout),
		Retry:   netwatch.Duration(hooks.DefaultRetry),
	}
	before := len(r.mistakes)
	r.decode(n, &w)
	r.required(n, "on", "the events that the rule is for")
	r.required(n, "do", "the steps that the rule takes")
	if timeout := n.member("timeout"); timeout != nil && w.Timeout == 0 && !r.mistakes[before:].blame(timeout.path()) {
		r.at(timeout, errors.New("must be more than 0s: no run could end in time"))
	}
	r.from(n.member("from"))
	r.env.AnyField = slices.ContainsFunc(w.On, eventName.custom)
	r.heardOfPeers = slices.ContainsFunc(w.On, eventName.ofPeers)
	r.match(n.member("match"), w.On)
	return &hooks.Rule{
		Name: string(w.Name), On: texts(w.On), From: w.From, Match: patterns(w.Match), Prompt: n.member("settle") == nil,
		Settle: time.Duration(w.Settle), Timeout: time.Duration(w.Timeout), Retry: time.Duration(w.Retry),
		Do: r.steps(n.member("do")),
	}
}

// required reports a list that is absent or empty.
func (r *reader) required(n *node, key, what string) {
	value := n.member(key)
	if value == nil {
		r.missing(n, key, fmt.Errorf("is missing: %s", what))
		return
	}
	if value.form == list && len(value.items) == 0 {
		r.at(value, fmt.Errorf("is empty: %s", what))
	}
}

// from reports names that no source has.
func (r *reader) from(n *node) {
	if n == nil || n.form != list || r.partial {
		return
	}
	names := append(slices.Sorted(maps.Keys(r.sections)), netwatch.Fired)
	for _, item := range n.items {
		if item.form == text && !slices.Contains(names, item.text) {
			r.at(item, unknown("source", item.text, names))
		}
	}
}

// match reports fields that none of the events of the rule has: the rule would never
// run. If one of the events is made up by the user, that may have every field that
// any event may have.
func (r *reader) match(n *node, on []eventName) {
	if n == nil || n.form != table || len(on) == 0 {
		return
	}
	for _, name := range n.names {
		switch err := netwatch.CheckField(name); {
		case err != nil:
			r.atKey(n.members[name], err)
		case !r.env.AnyField:
			r.field(n.members[name], name, on)
		}
	}
}

// field reports a field that none of the events has; netwatch knows all of these.
func (r *reader) field(n *node, name string, on []eventName) {
	var known, has []string
	for _, event := range on {
		kind, _ := netwatch.KnownEvent(string(event))
		known = append(known, kind.Fields...)
		has = append(has, fmt.Sprintf("%s has %s", event, cmp.Or(strings.Join(kind.Fields, ", "), "none")))
	}
	if slices.Contains(known, name) {
		return
	}
	near := ":"
	if field := nearest(name, known); field != "" {
		near = fmt.Sprintf(", did you mean `%s`?", field)
	}
	r.atKey(n, fmt.Errorf("unknown field%s %s", near, strings.Join(has, "; ")))
}

// custom says whether a user made the event up.
func (e eventName) custom() bool {
	_, known := netwatch.KnownEvent(string(e))
	return !known
}

// ofPeers says whether it is what another machine says.
func (e eventName) ofPeers() bool {
	kind, _ := netwatch.KnownEvent(string(e))
	return kind.Leads == netwatch.ByPeer
}

// uniqueNames reports names that several rules have.
func (r *reader) uniqueNames(rules *node) {
	first := map[string]*node{}
	for _, item := range rules.items {
		name := item.member("name")
		if name == nil || name.form != text || name.text == "" {
			continue
		}
		if taken := first[name.text]; taken != nil {
			r.at(name, fmt.Errorf("%q is the name of the rule in line %d already", name.text, r.line(taken.value)+1))
			continue
		}
		first[name.text] = name
	}
}

// nameRules names each rule that has no name after its events, with a number if that
// name is taken.
func nameRules(rules []*hooks.Rule) {
	taken, numbers := map[string]bool{}, map[string]int{}
	for _, r := range rules {
		taken[r.Name] = true
	}
	for _, r := range rules {
		if r.Name != "" {
			continue
		}
		base := strings.Join(r.On, "+")
		for r.Name = base; taken[r.Name]; r.Name = fmt.Sprintf("%s#%d", base, numbers[base]+1) {
			numbers[base]++
		}
		taken[r.Name] = true
	}
}

func texts(names []eventName) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	return all
}

func patterns(globs map[string]glob) map[string]string {
	all := make(map[string]string, len(globs))
	for field, g := range globs {
		all[field] = string(g)
	}
	return all
}
