package report

import (
	"fmt"
	"slices"
	"time"

	"netwatch"
	"netwatch/history"
)

// A strips is a time line: a strip for each day, week, month or year, one under the
// other, so that what comes again at the same time stands under itself. All is in percent
// of the width.
type strips struct {
	Title  string
	Rows   []strip
	Ticks  []tick
	Legend []mark
}

// A strip is a part of a time line.
type strip struct {
	Label string
	Marks []mark
}

// A mark is a time on a strip, with what it is.
type mark struct {
	// Class says how it looks: one of two addresses in turn, many, or an outage.
	Class string
	X, W  float64
	// Title is what it is, and Label what is written in it where there is room.
	Title, Label string
	// count is how many times are in it.
	count int
}

// The classes of marks.
const (
	oneAddress   = "a"
	nextAddress  = "b"
	manyAddress  = "m"
	outageOfLine = "o"
	noAddress    = "n" // Of the legend alone
)

const (
	// thin is how much of the width an address must have to be shown alone, and least
	// how much whatever is shown has: it must be seen, and thousands of them fit.
	thin  = 0.5
	least = 0.25
	// letter is what one character takes where there is room for labels.
	letter = 0.95
)

// A pace is how a time line is cut into strips.
type pace struct {
	// longest is how much time has room in one.
	longest time.Duration
	// begin is when the strip of a moment begins, and step the distance of two, as years,
	// months and days.
	begin func(time.Time) time.Time
	step  [3]int
	// label names a strip.
	label string
	ticks func(Language) []tick
}

const day = 24 * time.Hour

// dateOf is the beginning of a day.
func dateOf(t time.Time, month time.Month, day int) time.Time {
	return time.Date(t.Year(), month, day, 0, 0, 0, 0, t.Location())
}

// paceOf chooses how to cut so much time.
func paceOf(d time.Duration) pace {
	switch {
	case d <= 3*day:
		return pace{
			day, func(t time.Time) time.Time { return dateOf(t, t.Month(), t.Day()) },
			[3]int{0, 0, 1},
			time.DateOnly, hourTicks,
		}
	case d <= 100*day:
		return pace{
			7 * day, func(t time.Time) time.Time { return dateOf(t, t.Month(), t.Day()-mondayFirst(t)) },
			[3]int{0, 0, 7},
			time.DateOnly, weekTicks,
		}
	case d <= 1100*day:
		return pace{
			31 * day, func(t time.Time) time.Time { return dateOf(t, t.Month(), 1) },
			[3]int{0, 1, 0},
			"2006-01", monthTicks,
		}
	}
	return pace{
		366 * day, func(t time.Time) time.Time { return dateOf(t, time.January, 1) },
		[3]int{1, 0, 0},
		"2006", yearTicks,
	}
}

func hourTicks(Language) (all []tick) {
	for hour := 0; hour < 24; hour += 2 {
		all = append(all, tick{float64(hour) / 24 * 100, fmt.Sprintf("%02d:00", hour), hour%6 != 0})
	}
	return all
}

func weekTicks(l Language) (all []tick) {
	for i, name := range shortWeekdays {
		all = append(all, tick{At: float64(i) / 7 * 100, Label: l.t(name)})
	}
	return all
}

func monthTicks(Language) (all []tick) {
	for _, day := range []int{1, 5, 10, 15, 20, 25, 30} {
		all = append(all, tick{At: float64(day-1) / 31 * 100, Label: fmt.Sprint(day)})
	}
	return all
}

func yearTicks(l Language) (all []tick) {
	for i, name := range shortMonths {
		begins := dateOf(time.Unix(0, 0).UTC().AddDate(2, 0, 0), time.Month(i+1), 1).YearDay() - 1
		all = append(all, tick{float64(begins) / 366 * 100, l.t(name), i%3 != 0})
	}
	return all
}

// timeLines are the time lines of the families that there are.
func (t teller) timeLines() (all []strips) {
	for _, family := range netwatch.Families {
		var of []history.Address
		for _, a := range t.Addresses {
			if a.Family == family {
				of = append(of, a)
			}
		}
		if len(of) > 0 {
			all = append(all, t.timeLine(family, of))
		}
	}
	return all
}

// timeLine is that of one family.
func (t teller) timeLine(family netwatch.Family, addresses []history.Address) strips {
	p := paceOf(t.Until.Sub(t.From))
	line := strips{
		Title: t.t("%s addresses and outages", familyName(family)), Ticks: p.ticks(t.Language),
	}
	first := 0
	for from := p.begin(t.From); from.Before(t.Until); from = from.AddDate(p.step[0], p.step[1], p.step[2]) {
		for first < len(addresses)-1 && !t.end(addresses[first].Until).After(from) {
			first++ // It is over before this strip
		}
		s := span{from, from.AddDate(p.step[0], p.step[1], p.step[2]), p.longest}
		row := strip{Label: from.Format(p.label), Marks: t.addressMarks(s, addresses, first)}
		row.Marks = append(row.Marks, t.outageMarks(s, family)...)
		line.Rows = append(line.Rows, row)
	}
	line.Legend = t.legend(line.Rows, addresses)
	return line
}

// legend says what the marks are that there are, and what it means that there is none.
func (t teller) legend(rows []strip, addresses []history.Address) (legend []mark) {
	there := map[string]bool{}
	for i := range addresses[1:] {
		gap := addresses[i+1].From.Sub(addresses[i].Until)
		there[noAddress] = there[noAddress] || gap > time.Minute
	}
	for _, row := range rows {
		for _, m := range row.Marks {
			there[m.Class] = true
		}
	}
	for _, m := range []mark{
		{Class: oneAddress, Title: t.t("an address")},
		{Class: nextAddress, Title: t.t("the next")},
		{Class: manyAddress, Title: t.t("several, too short to be told apart")},
		{Class: outageOfLine, Title: t.t("an outage")},
		{Class: noAddress, Title: t.t("nothing is known")},
	} {
		if there[m.Class] {
			legend = append(legend, m)
		}
	}
	return legend
}

// end is a moment, or the end of the report if it has not come.
func (t teller) end(at time.Time) time.Time {
	if at.IsZero() {
		return t.Until
	}
	return at
}

// A span is the time of one strip, and of how long there is room.
type span struct {
	from, until time.Time
	room        time.Duration
}

// place is where a time stands on the strip; it has no width if it is not there.
func (s span) place(from, until time.Time) (x, w float64) {
	from, until = later(from, s.from), earliest(until, s.until)
	share := func(d time.Duration) float64 { return float64(d) / float64(s.room) * 100 }
	return share(from.Sub(s.from)), max(0, min(100, share(until.Sub(from))))
}

// addressMarks are the marks of the addresses from the first one on.
func (t teller) addressMarks(s span, addresses []history.Address, first int) (all []mark) {
	for i, a := range addresses[first:] {
		if !a.From.Before(s.until) {
			break
		}
		x, w := s.place(later(a.From, t.From), t.end(a.Until))
		if w <= 0 {
			continue
		}
		m := mark{Class: []string{oneAddress, nextAddress}[(first+i)%2], X: x, W: w, count: 1}
		m.Title = t.t("%s from %s, %s", a.Address, minute(a.From), t.duration(a.Seconds))
		if text := a.Address.String(); float64(len(text))*letter < w {
			m.Label = text
		}
		if w < thin {
			m.Class, m.W = manyAddress, max(w, least)
		}
		if all = append(all, m); w < thin {
			all = t.joined(all, func(n int) string { return t.n(n, "%s address", "%s addresses") })
		}
	}
	return all
}

// outageMarks are the marks of the outages of a family.
func (t teller) outageMarks(s span, family netwatch.Family) (all []mark) {
	for _, o := range t.Outages {
		x, w := s.place(o.From, t.end(o.Until))
		if !slices.Contains(o.Families, family) || w <= 0 {
			continue
		}
		all = t.joined(append(all, mark{
			Class: outageOfLine, X: x, W: max(w, least), count: 1,
			Title: t.t("outage from %s, %s", minute(o.From), t.duration(o.Seconds)),
		}), func(n int) string { return t.n(n, "%s outage", "%s outages") })
	}
	return all
}

// joined makes one of the last two marks, if they are of one class and touch.
func (t teller) joined(all []mark, title func(int) string) []mark {
	if len(all) < 2 {
		return all
	}
	a, b := &all[len(all)-2], all[len(all)-1]
	if a.Class != b.Class || b.X > a.X+a.W+least {
		return all
	}
	a.W, a.count = max(a.W, b.X+b.W-a.X), a.count+b.count
	a.Title = title(a.count)
	return all[:len(all)-1]
}
