package report

import (
	"fmt"
)

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
