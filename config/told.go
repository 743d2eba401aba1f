package config

import (
	"slices"
	"strings"

	"netwatch/actions"
	"netwatch/hooks"
)

// The names of who is told what.
const (
	toldByMail = "mail"
	toldWeekly = "report"
)

// week is when the report of the week is sent, in [source.timer].
const week = "Mon 07:00"

// weekly is the rule that sends it.
const weekly = `# What happened, every week.
[[rule]]
name  = "report of the week"
on    = ["due"]
match = { at = "` + week + `" }
do    = [`

// A mailing is a mail step, with the rule that it is in.
type mailing struct {
	rule, step *node
	address    string
}

// notices tells the mail steps of what a run did from reports, which have a time.
func notices(words []string) bool { return !reports(words) }

func reports(words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "report=") })
}

// mailings are all mail steps of a kind, in the order of the file.
func (d *draft) mailings(kind func(words []string) bool) (all []mailing) {
	for _, rule := range d.rules() {
		for _, step := range steps(rule) {
			words, err := split(step.text)
			if err == nil && len(words) > 1 && words[0] == "mail" && kind(words) {
				all = append(all, mailing{rule, step, words[1]})
			}
		}
	}
	return all
}

// address is to whom the first of them go.
func (d *draft) address(kind func(words []string) bool) string {
	for _, m := range d.mailings(kind) {
		return m.address
	}
	return ""
}

// rules are all rules, and steps all lines of one.
func (d *draft) rules() []*node {
	if rules := d.root.member("rule"); rules != nil {
		return rules.items
	}
	return nil
}

func steps(rule *node) []*node {
	if do := rule.member("do"); do != nil {
		return do.items
	}
	return nil
}

// change is one splice of several.
type change struct {
	from, to int
	by       string
}

// changed makes all changes, the last place first, so that each finds its own.
func (d *draft) changed(all []change) []byte {
	slices.SortFunc(all, func(a, b change) int { return b.from - a.from })
	text := d.text
	for _, c := range all {
		text = slices.Concat(text[:c.from], []byte(c.by), text[c.to:])
	}
	return text
}

// tellByMail has each rule by which a server goes by something else tell one address. What
// goes to others stays; of a rule that does nothing but tell, the address alone is changed.
func (d *draft) tellByMail(file, address string) ([]byte, error) {
	c, err := Parse(file, d.text, actions.Env{})
	if err != nil {
		return nil, err
	}
	before, all := d.address(notices), []change(nil)
	told := map[*node]bool{}
	for _, m := range d.mailings(notices) {
		if m.address == before {
			told[m.rule] = true
			all = append(all, d.readdress(m, address)...)
		}
	}
	for i, rule := range d.rules() {
		if address != "" && !told[rule] && acts(c.Rules[i]) {
			all = append(all, d.push(rule.member("do"), quote("mail "+word(address))))
		}
	}
	return d.changed(all), nil
}

// acts says whether a server goes by something else after a rule.
func acts(rule *hooks.Rule) bool {
	for _, step := range rule.Do {
		if step.Gate || step.Applies {
			return true
		}
	}
	return false
}

// word is one word of a step.
func word(text string) string {
	if strings.ContainsAny(text, " \t'\"\\") || text == "" {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return text
}

// readdress sends a mail to another address, or to nobody.
func (d *draft) readdress(m mailing, address string) []change {
	if address == "" {
		return d.pull(m.rule.member("do"), m.step)
	}
	raw := string(d.text[m.step.value:m.step.end])
	return []change{{m.step.value, m.step.end, strings.Replace(raw, quoted(m.address), quoted(word(address)), 1)}}
}

// quoted is a text as it stands within a basic string of TOML.
func quoted(text string) string { return strings.Trim(quote(text), `"`) }

// push puts an element behind the last of a list, on a line of its own if that one has
// one.
func (d *draft) push(list *node, element string) change {
	if len(list.items) == 0 {
		return change{list.value + 1, list.value + 1, element}
	}
	last := list.items[len(list.items)-1]
	indent := string(d.text[d.lineFrom(last.value):last.value])
	if strings.TrimSpace(indent) != "" || d.lineFrom(last.value) == 0 {
		return change{last.end, last.end, ", " + element}
	}
	return change{last.end, last.end, ",\n" + indent + element}
}

// pull takes out an element of a list that has others before it.
func (d *draft) pull(list, element *node) []change {
	i := slices.Index(list.items, element)
	if i < 1 {
		return nil
	}
	return []change{{list.items[i-1].end, element.end, ""}}
}

// tellWeekly has the report of the week go to one address.
func (d *draft) tellWeekly(file, address string) ([]byte, error) {
	all := d.mailings(reports)
	switch {
	case len(all) == 0 && address == "":
		return d.text, nil
	case len(all) == 0:
		return d.beginWeekly(file, address)
	case address != "" || len(steps(all[0].rule)) > 1:
		return d.changed(d.readdress(all[0], address)), nil
	}
	text, err := d.without(all[0].rule)
	if err != nil {
		return nil, err
	}
	return endWeekly(file, text)
}

// beginWeekly writes the rule, and the time that it is for.
func (d *draft) beginWeekly(file, address string) ([]byte, error) {
	timer := d.section("source.timer")
	at := timer.member("at")
	var err error
	switch {
	case at == nil:
		d.text, err = d.set("source.timer", "at", "["+quote(week)+"]")
	case !slices.ContainsFunc(at.items, func(n *node) bool { return n.text == week }):
		d.text = d.changed([]change{d.push(at, quote(week))})
	}
	if err != nil {
		return nil, err
	}
	d, err = newDraft(file, d.text)
	if err != nil {
		return nil, err
	}
	return d.appended(weekly + quote("mail "+word(address)+" report=7d") + "]\n"), nil
}

// endWeekly takes the time out too, if it is the only one and nobody else waits for it.
func endWeekly(file string, text []byte) ([]byte, error) {
	d, err := newDraft(file, text)
	if err != nil {
		return nil, err
	}
	timer := d.section("source.timer")
	at := timer.member("at")
	if at == nil || len(timer.names) > 1 || len(at.items) != 1 || at.items[0].text != week || d.waits() {
		return text, nil
	}
	return d.without(timer)
}

// waits says whether a rule is for a time.
func (d *draft) waits() bool {
	return slices.ContainsFunc(d.rules(), func(rule *node) bool {
		on := rule.member("on")
		return on != nil && slices.ContainsFunc(on.items, func(n *node) bool { return n.text == "due" })
	})
}
