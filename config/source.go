package config

import (
	"errors"
	"fmt"
	"slices"

	"netwatch"
	"netwatch/sources"
)

var sourceName = netwatch.Pattern(`^[a-z][a-z0-9_-]*$`)

// A section is a source section of the file, right or wrong.
type section struct {
	Source
	// wrong says that there are mistakes in it, so that nothing more can be
	// said about it.
	wrong bool
}

// sources reads every [source.NAME].
func (r *reader) sources(n *node) []Source {
	r.sections = map[string]section{}
	if n == nil {
		return nil
	}
	if n.form != table {
		r.at(n, errors.New("must be sections with a name, as in [source.stun]"))
		r.partial = true // No source can be called absent
		return nil
	}
	var all []Source
	for _, name := range n.names {
		s := r.source(name, n.members[name])
		r.sections[name] = s
		all = append(all, s.Source)
	}
	r.rivals(n)
	r.serves(n)
	return all
}

// serves reports sources that are to look at other machines from outside, where this one
// never learns whether it is outside itself. What is wrong with a source itself is said
// elsewhere.
func (r *reader) serves(n *node) {
	for _, s := range r.sections {
		if s.wrong || can[sources.Asking](s.Settings) {
			return
		}
	}
	for _, name := range n.names {
		if s, is := r.sections[name].Settings.(sources.Telling); is && s.Looks() {
			r.at(n.members[name].member("serve"), netwatch.WithHint(
				errors.New("needs a source that asks for this machine's own public address, and there is none"),
				"add a [source.stun]"))
		}
	}
}

// saysItself says whether this machine tells others its public address, for which no rule
// is needed; nor to look at them from outside.
func (r *reader) saysItself() bool {
	asks, tells := false, false
	for _, s := range r.sections {
		asks, tells = asks || can[sources.Asking](s.Settings), tells || can[sources.Telling](s.Settings)
	}
	return asks && tells
}

// rivals reports sources of one kind that claim the same thing.
func (r *reader) rivals(n *node) {
	claimed := map[[2]string]string{}
	for _, name := range n.names {
		s := r.sections[name]
		settings, ok := s.Settings.(sources.Claimed)
		if !ok || s.wrong {
			continue
		}
		key, values := settings.Claims()
		for _, value := range values {
			claim := [2]string{s.Kind, value}
			if other := claimed[claim]; other != "" && other != name {
				r.missing(n.members[name], key,
					fmt.Errorf("%s is claimed by source.%s already, and the two could contradict each other", value, other))
				continue
			}
			claimed[claim] = name
		}
	}
}

// source reads one [source.NAME].
func (r *reader) source(name string, n *node) section {
	s := section{Source: Source{Name: name, Kind: name}, wrong: true}
	before := len(r.mistakes)
	switch {
	case n.form == list && n.sections:
		r.at(n, fmt.Errorf("must be in single brackets, as in [%s]", n.path()))
		return s
	case n.form != table:
		r.atKey(n, fmt.Errorf("must be a section with a name, as in [source.stun], not a key of [source]"))
		return s
	case !sourceName().MatchString(name):
		r.atKey(n, fmt.Errorf("%q is not a name of a source: small letters, digits, - and _, a letter first", name))
	case name == netwatch.Fired:
		r.atKey(n, fmt.Errorf("`%s` cannot name a source: it stands for events that are fired", name))
	}
	kind := r.kind(n, &s)
	if kind == nil {
		return s
	}
	s.Settings = kind.Settings()
	r.decode(n.without("kind"), s.Settings)
	if w, ok := s.Settings.(sources.Written); ok {
		w.Written(n.names)
	}
	r.check(n, s.Settings, r.mistakes[before:])
	s.wrong = len(r.mistakes) > before
	return s
}

// kind finds the kind of a source section, or returns nil.
func (r *reader) kind(n *node, s *section) *sources.Kind {
	at, named := n, n.member("kind")
	if named != nil {
		if named.form != text {
			r.at(named, errors.New("must be text in quotes"))
			return nil
		}
		at, s.Kind = named, named.text
	}
	names := make([]string, len(r.kinds))
	for i := range r.kinds {
		if r.kinds[i].Name == s.Kind {
			return &r.kinds[i]
		}
		names[i] = r.kinds[i].Name
	}
	err := unknown("kind of source", s.Kind, names)
	if named == nil {
		err = netwatch.WithHint(err, "a source of another name needs its kind, as in kind = \"stun\"")
	}
	r.at(at, err)
	return nil
}

// without is a table as if a key were not there.
func (n *node) without(key string) *node {
	rest := *n
	rest.names = slices.DeleteFunc(slices.Clone(n.names), func(name string) bool { return name == key })
	return &rest
}

// check reports what the settings themselves find wrong, each where its key
// is, unless that key is among the mistakes before.
func (r *reader) check(n *node, s sources.Settings, before Mistakes) {
	found := slices.DeleteFunc(s.Check(), func(m sources.Mistake) bool { return before.blame(n.sub(m.Key)) })
	for _, m := range found {
		at := n.member(m.Key)
		switch {
		case at == nil:
			r.missing(n, m.Key, errors.New(m.Text))
		case m.Index >= 0 && m.Index < len(at.items):
			r.at(at.items[m.Index], errors.New(m.Text))
		default:
			r.at(at, errors.New(m.Text))
		}
	}
}
