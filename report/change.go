package report

import (
	"slices"
	"time"

	"netwatch"
	"netwatch/history"
)

// Changes are how often our address became another, and when.
type Changes struct {
	// ByFamily counts each change; the other counts take what changed together as one.
	ByFamily map[netwatch.Family]int `json:"by_family"`
	Together int                     `json:"together"`
	// Hours and Weekdays (Monday is the first) count those of which it is known when they
	// were. Late are the others: they were seen after an outage or a stop.
	Hours    [24]int `json:"hours"`
	Weekdays [7]int  `json:"weekdays"`
	Late     int     `json:"late"`
	// Habit is when they most often are, if that can be said.
	Habit *Habit `json:"habit,omitempty"`
}

const (
	// together is within what time the addresses of both families change if a line was
	// connected anew.
	together = 10 * time.Minute
	// lateAfter is how long nobody may have confirmed the address before, if the moment
	// of the change is to be called known.
	lateAfter = time.Hour
)

// changesOf counts the changes between two moments among addresses, which are ordered by
// when they came. The first of a family is no change.
func changesOf(all []history.Address, from, until time.Time) Changes {
	c := Changes{ByFamily: map[netwatch.Family]int{}}
	before := map[netwatch.Family]history.Address{}
	var known []time.Time
	var last time.Time
	for _, a := range all {
		old, changed := before[a.Family]
		before[a.Family] = a
		if !changed || a.From.Before(from) {
			continue
		}
		c.ByFamily[a.Family]++
		if !last.IsZero() && a.From.Sub(last) < together {
			continue
		}
		last = a.From
		c.Together++
		if a.From.Sub(old.Until) > lateAfter {
			c.Late++
		} else {
			known = append(known, a.From.In(until.Location()))
		}
	}
	for _, at := range known {
		c.Hours[at.Hour()]++
		c.Weekdays[mondayFirst(at)]++
	}
	c.Habit = habitOf(known, from, until)
	return c
}

// mondayFirst is the day of the week, from 0 for Monday.
func mondayFirst(at time.Time) int { return (int(at.Weekday()) + 6) % 7 }

// A Habit is when the address most often becomes another: on most days at an hour, on
// most of some day of the week, or after a time.
type Habit struct {
	// Minute is the minute of the day, and Weekday the day if it is of one (0 is Monday).
	Minute  int  `json:"minute"`
	Weekday *int `json:"weekday,omitempty"`
	// Every is after how many seconds, if it is of no hour.
	Every float64 `json:"every,omitempty"`
	// Times is how often it was so, and Of how often it could have been.
	Times int `json:"times"`
	Of    int `json:"of"`
}

const (
	minutesADay = 24 * 60
	// window is within how many minutes changes are at the same hour.
	window = 40
	// few are too few changes to say anything of.
	few = 4
	// step is by how many minutes windows differ, and to how many an hour is rounded.
	step = 5
)

// habitOf finds the habit in the moments of changes, of which at least two of three must
// keep to it.
func habitOf(known []time.Time, from, until time.Time) *Habit {
	if len(known) < few {
		return nil
	}
	if h := hourOf(known, from, until, nil); h.Times >= 5 && h.Times*3 >= h.Of*2 {
		return &h
	}
	for day := range 7 {
		of := slices.DeleteFunc(slices.Clone(known), func(at time.Time) bool { return mondayFirst(at) != day })
		if h := hourOf(of, from, until, &day); h.Times >= 4 && h.Times*3 >= h.Of*2 {
			return &h
		}
	}
	if h := intervalOf(known); h.Times >= 6 && h.Times*3 >= h.Of*2 {
		return &h
	}
	return nil
}

// hourOf finds the hour at which the changes are on most days.
func hourOf(known []time.Time, from, until time.Time, weekday *int) Habit {
	best, most := 0, 0
	for start := 0; start < minutesADay; start += step {
		if n := daysIn(known, start); n > most {
			best, most = start, n
		}
	}
	h := Habit{Minute: middle(known, best), Weekday: weekday, Times: most}
	for day := from.AddDate(0, 0, -1); !day.After(until.AddDate(0, 0, 1)); day = day.AddDate(0, 0, 1) {
		at := time.Date(day.Year(), day.Month(), day.Day(), 0, h.Minute, 0, 0, until.Location())
		if !at.Before(from) && at.Before(until) && (weekday == nil || mondayFirst(at) == *weekday) {
			h.Of++
		}
	}
	h.Of = max(h.Of, h.Times)
	return h
}

// daysIn counts the days on which a change is in the window that starts at a minute of the
// day, and may end on the next.
func daysIn(known []time.Time, start int) (n int) {
	last := ""
	for _, at := range known {
		if since(at, start) >= window {
			continue
		}
		if at.Hour()*60+at.Minute() < start { // The window began the day before
			at = at.AddDate(0, 0, -1)
		}
		if day := at.Format(time.DateOnly); day != last {
			last = day
			n++
		}
	}
	return n
}

// since is how many minutes of the day a moment is after one of them.
func since(at time.Time, start int) int {
	return (at.Hour()*60 + at.Minute() - start + minutesADay) % minutesADay
}

// middle is the minute of the day of the median change in a window, rounded.
func middle(known []time.Time, start int) int {
	var after []int
	for _, at := range known {
		if minutes := since(at, start); minutes < window {
			after = append(after, minutes)
		}
	}
	if len(after) == 0 {
		return start
	}
	slices.Sort(after)
	return (start + (after[len(after)/2]+step/2)/step*step) % minutesADay
}

// intervalOf finds after what time the changes come.
func intervalOf(known []time.Time) Habit {
	var all []float64
	for i := 1; i < len(known); i++ {
		all = append(all, known[i].Sub(known[i-1]).Seconds())
	}
	h := Habit{Of: len(all)}
	if len(all) == 0 {
		return h
	}
	slices.Sort(all)
	h.Every = all[len(all)/2]
	for _, one := range all {
		if one >= 0.9*h.Every && one <= 1.1*h.Every {
			h.Times++
		}
	}
	return h
}
