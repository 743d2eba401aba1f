package report

import (
	"fmt"
	"strings"
	"time"

	"netwatch"
)

// A section is a part of what is said, in the reader's language and for whichever view.
type section struct {
	Title string
	// Says are sentences.
	Says []string
	// Facts are what stands at the beginning, each with its name.
	Facts  []fact
	Strips []strips
	Bars   []bars
	Table  *table
	Items  []item
	// More says what was left out, and where it is.
	More string
}

// A fact is one thing in a few words.
type fact struct{ Name, Text string }

// A table has rows of texts, the newest first. Its title is that of its section.
type table struct {
	Title   string
	Columns []column
	Rows    [][]string
}

// A column has a name. One that is not Narrow is for the page alone.
type column struct {
	Name   string
	Narrow bool
	Number bool
}

// An item is something with what there is to say about it.
type item struct {
	Name  string
	Lines []string
	// Hint is a remedy.
	Hint string
}

// How many of something a view has: the page of a year must not be endless, and a mail is
// to be read.
const (
	mostRows     = 400
	mostTextRows = 25
	mostItems    = 25
)

// A teller says a report in a language.
type teller struct {
	Report
	Language
	// rows is how many rows a table has at most.
	rows int
}

// sections are all that is said, in order.
func (t teller) sections() []section {
	all := []section{t.summary(), t.addresses(), t.outages(), t.wrong(), t.habit(), t.failures(), t.proofs()}
	if len(t.Peers) > 0 {
		all = append(all, t.peers())
	}
	if len(t.Skipped) > 0 {
		all = append(all, section{Title: t.t("About this report"), Says: t.Skipped})
	}
	for _, s := range all {
		if s.Table != nil {
			s.Table.Title = s.Title
		}
	}
	return all
}

// period says what the report is about.
func (t teller) period() string {
	zone, _ := t.Until.Zone()
	return t.t("%s to %s (local time, %s)", minute(t.Since), minute(t.Until), clean(zone))
}

// empty says whether there is nothing to tell.
func (t teller) empty() bool { return t.From.IsZero() }

// summary is what one wants to know first.
func (t teller) summary() section {
	s := section{Title: t.t("In short")}
	if t.empty() {
		s.Says = []string{
			t.t("Nothing is in the history of this time: netwatch has just come, or nothing has happened since."),
			t.t("There is nothing to worry about. What netwatch knows now, `netwatch status` says."),
		}
		return s
	}
	if t.From.Sub(t.Since) > time.Hour {
		s.Says = []string{t.t("The history begins on %s.", minute(t.From))}
	}
	for _, family := range netwatch.Families {
		for _, a := range t.Addresses {
			if a.Family == family && a.Until.IsZero() {
				s.Facts = append(s.Facts, fact{familyName(family), t.t("%s since %s", a.Address, minute(a.From))})
			}
		}
	}
	s.Facts = append(s.Facts,
		fact{t.t("Changes"), t.changesText()},
		fact{t.t("Habit"), t.habitText()},
		fact{t.t("Callers wrong"), t.wrongText()},
		fact{t.t("Outages"), t.outagesText()},
		fact{t.t("Failures"), t.failuresText()},
		fact{t.t("Proofs"), t.proofsText()},
	)
	return s
}

func familyNames(all []netwatch.Family) string {
	names := make([]string, len(all))
	for i, family := range all {
		names[i] = familyName(family)
	}
	return strings.Join(names, ", ")
}

// familyName is a family as people write it.
func familyName(f netwatch.Family) string {
	switch f {
	case netwatch.IPv4:
		return "IPv4"
	case netwatch.IPv6:
		return "IPv6"
	}
	return string(f)
}

func (t teller) changesText() string {
	four, six := t.Changes.ByFamily[netwatch.IPv4], t.Changes.ByFamily[netwatch.IPv6]
	switch {
	case len(t.Addresses) == 0:
		return t.t("no address is known")
	case four+six == 0:
		return t.t("none: the address stayed")
	case six == 0:
		return t.n(four, "%s of the IPv4 address", "%s of the IPv4 address")
	case four == 0:
		return t.n(six, "%s of the IPv6 address", "%s of the IPv6 address")
	}
	return t.t("%s of the IPv4 and %s of the IPv6 address", t.number(four), t.number(six))
}

// habitText says when the address changes.
func (t teller) habitText() string {
	h := t.Changes.Habit
	switch {
	case h == nil && t.Changes.Together < few:
		return t.t("Too few changes to see a habit of your provider.")
	case h == nil:
		return t.t("Your provider has no habit that could be seen.")
	case h.Every > 0:
		return t.t("Your provider reconnects about every %s, %d of %d times.",
			t.duration(roundTo(h.Every)), h.Times, h.Of)
	case h.Weekday != nil:
		return t.t("%s at about %s, in %d of %d weeks: then your provider reconnects.",
			t.t(weekdays[*h.Weekday]), clock(h.Minute), h.Times, h.Of)
	}
	return t.t("Your provider reconnects at about %s, on %d of %d days.", clock(h.Minute), h.Times, h.Of)
}

// roundTo rounds a time to what one would call it.
func roundTo(seconds float64) float64 {
	unit := 600.0
	if seconds > 6*3600 {
		unit = 3600
	}
	return float64(int(seconds/unit+0.5)) * unit
}

func (t teller) wrongText() string {
	if t.Wrong.Times == 0 {
		return t.t("never, as far as is known")
	}
	return t.t("half of the times at most %s, 19 of 20 times at most %s",
		t.duration(t.Wrong.Most.Median), t.duration(t.Wrong.Most.Most95))
}

func (t teller) outagesText() string {
	if len(t.Outages) == 0 {
		return t.t("none")
	}
	total := 0.0
	for _, o := range t.Outages {
		total += o.Seconds
	}
	return t.n(len(t.Outages), "%s, of %s", "%s, in all %s", t.duration(total))
}

func (t teller) failuresText() string {
	times := 0
	for _, f := range t.Failures {
		times += f.Times
	}
	if times == 0 {
		return t.t("nothing")
	}
	return t.n(len(t.Failures), "%s kind, %s in all", "%s kinds, %s in all", t.n(times, "%s time", "%s times"))
}

func (t teller) proofsText() string {
	var well, failed, unknown int
	for _, p := range t.Proofs {
		well, failed, unknown = well+p.Well, failed+p.Failed, unknown+p.Unknown
	}
	return t.counts(well, failed, unknown)
}

// counts says how proofs ended.
func (t teller) counts(well, failed, unknown int) string {
	if well+failed+unknown == 0 {
		return t.t("none was made")
	}
	text := t.t("%s well, %s failed", t.number(well), t.number(failed))
	if unknown > 0 {
		text += t.t(", %s with nothing to go by", t.number(unknown))
	}
	return text
}

// addresses is what addresses there were.
func (t teller) addresses() section {
	s := section{Title: t.t("Addresses")}
	if len(t.Addresses) == 0 {
		s.Says = []string{t.t("None is known.")}
		return s
	}
	s.Strips = t.timeLines()
	s.Table = &table{Columns: []column{
		{Name: t.t("Address"), Narrow: true},
		{Name: t.t("From"), Narrow: true},
		{Name: t.t("Until")},
		{Name: t.t("How long"), Narrow: true, Number: true},
		{Name: t.t("Noticed by")},
	}}
	for i := range min(len(t.Addresses), t.rows) {
		a := t.Addresses[len(t.Addresses)-1-i]
		until := t.t("now")
		if !a.Until.IsZero() {
			until = minute(a.Until)
		}
		s.Table.Rows = append(s.Table.Rows, []string{
			a.Address.String(), minute(a.From), until, t.duration(a.Seconds), t.noticed(a.Noticed, a.After),
		})
	}
	if left := len(t.Addresses) - t.rows; left > 0 {
		s.More = t.n(left, "%s more, which is older: `netwatch history --addresses` has all.",
			"%s more, which are older: `netwatch history --addresses` has all.")
	}
	return s
}

// noticed says by what a change was noticed.
func (t teller) noticed(by, after string) string {
	text := clean(by)
	switch by {
	case netwatch.BySTUN:
		text = "STUN"
	case netwatch.ByRouter:
		text = t.t("the router")
	case netwatch.ByKernel:
		text = t.t("this machine’s network")
	case netwatch.ByFile:
		text = t.t("a file")
	case netwatch.ByPeer:
		text = t.t("another machine")
	case netwatch.ByFire:
		text = t.t("somebody’s command")
	}
	switch after {
	case netwatch.AfterOutage:
		text += t.t(", after an outage")
	case netwatch.AfterStop:
		text += t.t(", after netwatch had stopped")
	}
	return text
}

func (t teller) outages() section {
	s := section{Title: t.t("Outages")}
	if len(t.Addresses)+len(t.Outages) == 0 {
		s.Says = []string{t.t("None is known.")}
		return s
	}
	if len(t.Outages) == 0 {
		s.Says = []string{t.t("None: some server always said which address is ours.")}
		return s
	}
	s.Says = []string{t.t("No server said which address is ours: the line was down, or no server could be reached.")}
	s.Table = &table{Columns: []column{
		{Name: t.t("Family"), Narrow: true},
		{Name: t.t("From"), Narrow: true},
		{Name: t.t("Until"), Narrow: true},
		{Name: t.t("How long"), Narrow: true, Number: true},
	}}
	for i := range min(len(t.Outages), t.rows) {
		o := t.Outages[len(t.Outages)-1-i]
		until := t.t("now")
		if !o.Until.IsZero() {
			until = minute(o.Until)
		}
		s.Table.Rows = append(s.Table.Rows, []string{
			familyNames(o.Families), minute(o.From), until, t.duration(o.Seconds),
		})
	}
	if left := len(t.Outages) - t.rows; left > 0 {
		s.More = t.n(left, "%s more, which is older.", "%s more, which are older.")
	}
	return s
}

// wrong is how long callers were told what was no longer so.
func (t teller) wrong() section {
	s := section{Title: t.t("How long callers were told a wrong address")}
	if t.Wrong.Times == 0 {
		s.Says = []string{t.t("No service had to be made right in this time.")}
		return s
	}
	s.Says = []string{
		t.n(t.Wrong.Times, "%s time a service was made right.", "%s times a service was made right.") + " " +
			t.t("How long it was wrong is known between two bounds: at least from when the new address was believed "+
				"until it began to be made right, at most from when a server last said the old one until that was done."),
	}
	s.Bars = []bars{t.wrongBars()}
	s.Table = &table{Columns: []column{
		{Name: t.t("Callers wrong"), Narrow: true},
		{Name: t.t("at least"), Narrow: true, Number: true},
		{Name: t.t("at most"), Narrow: true, Number: true},
	}}
	for _, row := range []struct {
		name        string
		least, most float64
	}{
		{t.t("half of the times, up to"), t.Wrong.Least.Median, t.Wrong.Most.Median},
		{t.t("19 of 20 times, up to"), t.Wrong.Least.Most95, t.Wrong.Most.Most95},
		{t.t("the longest"), t.Wrong.Least.Longest, t.Wrong.Most.Longest},
		{t.t("all together"), t.Wrong.Least.Sum, t.Wrong.Most.Sum},
	} {
		s.Table.Rows = append(s.Table.Rows, []string{row.name, t.duration(row.least), t.duration(row.most)})
	}
	return s
}

// wrongBars is the distribution.
func (t teller) wrongBars() bars {
	b := bars{
		Title: t.t("How often callers were wrong for how long"), X: t.t("how long"), Y: t.t("times"),
		Series: []string{t.t("at least"), t.t("at most")},
	}
	for i, bin := range t.Wrong.Bins {
		from := 0.0
		if i > 0 {
			from = t.Wrong.Bins[i-1].Below
		}
		label, unit := t.binLabel(from, bin.Below)
		b.Bars = append(b.Bars, bar{Label: label, Unit: unit, Values: []int{bin.Least, bin.Most}})
	}
	return b
}

// binLabel names a bin, with its unit apart.
func (t teller) binLabel(from, below float64) (label, unit string) {
	unit, per := t.t("s"), 1.0
	if from >= 60 {
		unit, per = t.t("min"), 60
	}
	switch {
	case from == 0:
		return fmt.Sprintf("< %g", below), unit
	case below == 0:
		return fmt.Sprintf("> %g", from/per), unit
	}
	return fmt.Sprintf("%g–%g", from/per, below/per), unit
}

// habit is when the address changes.
func (t teller) habit() section {
	s := section{Title: t.t("When the address changes"), Says: []string{t.habitText()}}
	if t.Changes.Together == 0 {
		return s
	}
	if late := t.Changes.Late; late > 0 {
		s.Says = append(s.Says, t.n(late,
			"%s change was seen late, after an outage or a stop, and is not in the pictures.",
			"%s changes were seen late, after an outage or a stop, and are not in the pictures."))
	}
	hours := bars{Title: t.t("Changes by the hour of the day"), X: t.t("hour"), Y: t.t("changes")}
	for hour, n := range t.Changes.Hours {
		hours.Bars = append(hours.Bars, bar{Label: fmt.Sprintf("%02d", hour), Rare: hour%3 != 0, Values: []int{n}})
	}
	days := bars{Title: t.t("Changes by the day of the week"), Y: t.t("changes")}
	for day, n := range t.Changes.Weekdays {
		days.Bars = append(days.Bars, bar{Label: t.t(shortWeekdays[day]), Values: []int{n}})
	}
	s.Bars = []bars{hours, days}
	return s
}

func (t teller) failures() section {
	s := section{Title: t.t("Failures and what helps")}
	if len(t.Failures) == 0 {
		s.Says = []string{t.t("Nothing failed.")}
		return s
	}
	for _, f := range t.Failures[:min(len(t.Failures), mostItems)] {
		s.Items = append(s.Items, t.failure(f))
	}
	if left := len(t.Failures) - mostItems; left > 0 {
		s.More = t.n(left, "%s kind more, which was earlier.", "%s kinds more, which were earlier.")
	}
	return s
}

func (t teller) failure(f Failure) item {
	name := t.t("netwatch itself")
	switch {
	case f.Rule != "" && f.Step != "":
		name = f.Rule + ": " + f.Step
	case f.Rule != "":
		name = f.Rule
	case f.Source != "":
		name = f.Source
	}
	when := t.t("Once, on %s.", minute(f.Last.In(t.Until.Location())))
	if f.Times > 1 {
		when = t.t("%s times, from %s to %s.", t.number(f.Times), minute(f.First.In(t.Until.Location())),
			minute(f.Last.In(t.Until.Location())))
	}
	switch {
	case f.Rule != "" && f.Succeeded:
		when += " " + t.t("The rule has succeeded since.")
	case f.Rule != "":
		when += " " + t.t("The rule has not succeeded since.")
	}
	return item{Name: name, Lines: []string{f.Error, when}, Hint: f.Hint}
}

func (t teller) proofs() section {
	s := section{Title: t.t("Proofs")}
	if len(t.Proofs) == 0 {
		s.Says = []string{t.t("No rule has proven anything: a step `verify` asks as a caller does.")}
		return s
	}
	for _, p := range t.Proofs[:min(len(t.Proofs), mostItems)] {
		s.Items = append(s.Items, t.proof(p))
	}
	return s
}

func (t teller) proof(p Proof) item {
	when := t.t("The last on %s.", minute(p.Last.In(t.Until.Location())))
	if !p.LastFailed.IsZero() {
		when += " " + t.t("The last that failed on %s.", minute(p.LastFailed.In(t.Until.Location())))
	}
	lines := []string{t.counts(p.Well, p.Failed, p.Unknown) + ".", when}
	if p.Said != "" {
		lines = append(lines, p.Said)
	}
	return item{Name: p.Step, Lines: lines}
}

func (t teller) peers() section {
	s := section{Title: t.t("The other machines")}
	for _, p := range t.Peers[:min(len(t.Peers), mostItems)] {
		text := t.n(p.Changes, "%s change of its address", "%s changes of its address")
		if p.Lost > 0 {
			text += t.n(p.Lost, "; gone %s time, for %s in all", "; gone %s times, for %s in all", t.duration(p.Away))
		}
		state := t.t("It is there.")
		if p.Gone {
			state = t.t("It is gone.")
		}
		s.Items = append(s.Items, item{Name: p.Name, Lines: []string{
			text + ".", state + " " + t.t("Last heard of on %s.", minute(p.Last.In(t.Until.Location()))),
		}})
	}
	return s
}
