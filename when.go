package netwatch

import (
	"fmt"
	"strconv"
	"time"
)

// daysBack is a number of days before now.
var daysBack = Pattern(`^([0-9]{1,5})d$`)

// When is the moment that a person means by a text, as in --since or report= of a mail, in
// the time zone of now: 30d or 2h before now, the beginning of today, of yesterday or of a
// date, a date with a time of day, or a whole time by RFC 3339.
func When(text string, now time.Time) (time.Time, error) {
	year, month, day := now.Date()
	switch text {
	case "today":
		return time.Date(year, month, day, 0, 0, 0, 0, now.Location()), nil
	case "yesterday":
		return time.Date(year, month, day-1, 0, 0, 0, 0, now.Location()), nil
	}
	if days := daysBack().FindStringSubmatch(text); days != nil {
		n, _ := strconv.Atoi(days[1]) // Five digits are a number
		return now.AddDate(0, 0, -n), nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, time.RFC3339} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no moment: 30d, 2h, today, yesterday, 2026-11-23, \"2026-11-23 04:30\", "+
		"or a time by RFC 3339", text)
}
