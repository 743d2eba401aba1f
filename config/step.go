package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"

	"netwatch"
	"netwatch/actions"
	"netwatch/sources"
)

// steps reads the lines of a do. A line with a mistake is reported and left out.
func (r *reader) steps(n *node) []netwatch.Step {
	if n == nil || n.form != list {
		return nil
	}
	var all []netwatch.Step
	for _, item := range n.items {
		if item.form != text {
			continue // Reported when it was decoded
		}
		step, err := r.step(item.text)
		if err == nil {
			err = r.echoes(step)
		}
		if err != nil {
			r.at(item, err)
			continue
		}
		if !step.Notice && slices.ContainsFunc(all, func(s netwatch.Step) bool { return s.Notice }) {
			r.at(item, errors.New("stands after a notice, which is sent when all else is done: write notices last"))
		}
		all = append(all, step)
	}
	return all
}

// step makes a step from its line.
func (r *reader) step(line string) (netwatch.Step, error) {
	line = strings.Trim(line, " \t")
	words, err := split(line)
	if err != nil {
		return netwatch.Step{}, err
	}
	names := make([]string, len(r.verbs))
	for i, verb := range r.verbs {
		names[i] = verb.Name
		if verb.Name != words[0] {
			continue
		}
		step, err := verb.New(r.env, verb.Name, words[1:])
		if err == nil {
			needs := actions.NeedsOf(step)
			err = cmp.Or(r.asks(needs.Sources), r.tells(needs.Tells), r.sees(needs.Outside))
		}
		step.Text = line
		return step, err
	}
	return netwatch.Step{}, unknown(fmt.Sprintf("step `%s`", words[0]), words[0], names)
}

// echoes says why a step may not be in a rule on what other machines say: two machines
// would tell each other the same for ever.
func (r *reader) echoes(step netwatch.Step) error {
	if !r.heardOfPeers || len(actions.NeedsOf(step).Tells) == 0 {
		return nil
	}
	return netwatch.WithHint(errors.New("tells other machines what other machines said, which would go round for ever"),
		"take the peer-* events out of `on`: every machine hears each other by itself")
}

// split is the words of a line, of which there is at least one. Words with
// blanks are quoted as in a shell.
func split(line string) ([]string, error) {
	if strings.ContainsAny(line, "\r\n\x00") {
		return nil, errors.New("must be one line")
	}
	words, err := shellquote.Split(line)
	switch {
	case errors.Is(err, shellquote.UnterminatedEscapeError):
		return nil, errors.New("ends in a backslash")
	case err != nil:
		return nil, errors.New("a quotation mark in it is not closed")
	case len(words) == 0:
		return nil, errors.New("is empty: it must begin with a verb, as in \"restart UNIT\"")
	}
	return words, nil
}

// asks says why the sources that a step wants to ask cannot be asked.
func (r *reader) asks(wanted []string) error {
	return r.able(wanted, can[sources.Probed], "be asked to look at once", "[source.stun]")
}

// tells says why the sources by which a step wants to hand events on do not do that.
func (r *reader) tells(wanted []string) error {
	return r.able(wanted, can[sources.Telling], "tell other machines", "[source.mqtt]")
}

// sees says why the sources by which a step wants others to look from outside know none.
func (r *reader) sees(wanted []string) error {
	return r.able(wanted, can[sources.Telling], "have other machines look", "[source.mqtt]")
}

// can says whether settings are of a source that can do something.
func can[T any](s sources.Settings) bool {
	_, is := s.(T)
	return is
}

// able says why the sources that a step wants cannot do what it wants of them; an empty
// name is any. What is wrong with a source itself is said elsewhere.
func (r *reader) able(wanted []string, can func(sources.Settings) bool, what, example string) error {
	if r.partial || len(wanted) == 0 {
		return nil
	}
	var able []string
	for name, s := range r.sections {
		if s.wrong || can(s.Settings) {
			able = append(able, name)
		}
	}
	slices.Sort(able)
	if len(able) == 0 {
		return netwatch.WithHint(errors.New("no source can "+what), "add a "+example)
	}
	for _, name := range wanted {
		_, there := r.sections[name]
		switch {
		case name == "" || slices.Contains(able, name):
		case there:
			return fmt.Errorf("source `%s` cannot %s; these can: %s", name, what, strings.Join(able, ", "))
		default:
			return unknown("source", name, able)
		}
	}
	return nil
}
