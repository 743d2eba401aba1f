package sources

import "time"

// interval is the timing of what comes again after d: at last and so many times d before
// and after.
func interval(d time.Duration) func(last, now time.Time) (newest, next time.Time) {
	return func(last, now time.Time) (newest, next time.Time) {
		since := now.Sub(last)
		if since %= d; since < 0 {
			since += d
		}
		newest = now.Add(-since)
		return newest, newest.Add(d)
	}
}

// farthest is how many days there are from a time of a day of the week to the next, and
// one more: a country that changed sides of the date line had a day less.
const farthest = 8

// around is the timing of c, by the calendar of now's time zone.
func (c Clock) around(_, now time.Time) (newest, next time.Time) {
	for day := -farthest; day <= farthest; day++ {
		switch at, is := c.on(now, day); {
		case !is:
		case at.After(now):
			return newest, at
		default:
			newest = at
		}
	}
	return newest, now.AddDate(0, 0, farthest) // Never: there is one of each within that
}

// on is when c comes on the day so many days after that of now. It is false where that
// is another day of the week.
func (c Clock) on(now time.Time, days int) (at time.Time, is bool) {
	name, text := "", string(c)
	if len(text) > len("HH:MM") {
		name, text = text[:len("Mon")], text[len("Mon "):]
	}
	clock, _ := time.Parse("15:04", text) // It was parsed
	// Days of UTC all have 24 hours.
	day := time.Date(now.Year(), now.Month(), now.Day()+days, clock.Hour(), clock.Minute(), 0, 0, time.UTC)
	if name != "" && day.Format("Mon") != name {
		return time.Time{}, false
	}
	return onDay(day, now.Location()), true
}

// onDay is when the clocks of a zone show what wanted does: the first time, if they do
// so twice. If they never do, as they jump over it, it is the first minute after.
func onDay(wanted time.Time, zone *time.Location) time.Time {
	at := time.Date(wanted.Year(), wanted.Month(), wanted.Day(), wanted.Hour(), wanted.Minute(), 0, 0, zone)
	began, ends := at.ZoneBounds()
	switch shown := asShown(at); {
	case shown.After(wanted):
		return began // It was reckoned by the time before the jump, and is after it
	case shown.Before(wanted):
		return ends
	}
	if began.IsZero() {
		return at
	}
	_, now := at.Zone()
	_, before := began.Add(-1).Zone()
	if first := at.Add(time.Duration(now-before) * time.Second); first.Before(began) {
		return first
	}
	return at
}

// asShown is what the clocks show at t, as if they were those of UTC.
func asShown(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}
