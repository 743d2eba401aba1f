package report

import (
	"fmt"
	"testing"
	"time"
)

// at is a moment in the made-up place: days after the first of March 2026, a Sunday, and
// minutes of that day by the clock.
func at(days, minutes int) time.Time {
	return time.Date(2026, time.March, 1+days, 0, minutes, 0, 0, paris())
}

// changing is a report of 56 days with a change at each moment. An hour of them is left
// out where summer begins.
func changing(moments []time.Time) Report {
	r := NewReckoner(at(0, 0), at(56, 0))
	r.AddAddress(changeAt(at(-1, 0), "198.51.100.200", "stun"))
	for i, moment := range moments {
		r.AddAddress(changeAt(moment, fmt.Sprintf("198.51.100.%d", i), "stun"))
	}
	return r.Report("", "", nil)
}

func TestHabit(t *testing.T) {
	var nightly, midnight, weekly, steady, scattered []time.Time
	for day := range 56 {
		wobble := day * 7 % 9
		if day%10 != 3 {
			nightly = append(nightly, at(day, 4*60+5+wobble))
		}
		if day > 0 {
			midnight = append(midnight, at(day, -4+wobble))
		}
		if day%7 == 2 {
			weekly = append(weekly, at(day, 3*60+wobble))
		}
		scattered = append(scattered, at(day, day*day*389%minutesADay))
	}
	for i := range 40 {
		steady = append(steady, at(0, 30).Add(time.Duration(i)*31*time.Hour))
	}
	for name, c := range map[string]struct {
		moments []time.Time
		want    string
	}{
		"nightly":   {nightly, "Your provider reconnects at about 04:10, on 50 of 56 days."},
		"midnight":  {midnight, "Your provider reconnects at about 00:00, on 55 of 56 days."},
		"weekly":    {weekly, "Tuesday at about 03:05, in 8 of 8 weeks: then your provider reconnects."},
		"steady":    {steady, "Your provider reconnects about every 31 h, 39 of 39 times."},
		"scattered": {scattered, "Your provider has no habit that could be seen."},
		"few":       {nightly[:3], "Too few changes to see a habit of your provider."},
		"none":      {nil, "Too few changes to see a habit of your provider."},
	} {
		if got := (teller{changing(c.moments), english, 0}).habitText(); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestChangesTogether holds that what changes at once is one change of the line, and that
// one whose moment nobody knows is of no hour.
func TestChangesTogether(t *testing.T) {
	r := NewReckoner(at(0, 0), at(2, 0))
	r.AddAddress(changeAt(at(-1, 0), "198.51.100.1", "stun"))
	r.AddAddress(changeAt(at(-1, 0), "2001:db8::1", "stun"))
	r.AddAddress(changeAt(at(0, 100), "198.51.100.2", "router"))
	r.AddAddress(changeAt(at(0, 101), "2001:db8::2", "router"))
	late := changeAt(at(1, 100), "198.51.100.3", "stun")
	late.After, late.Moments.Confirmed = "stop", at(0, 200)
	r.AddAddress(late)
	c := r.Report("", "", nil).Changes
	if c.ByFamily["ipv4"] != 2 || c.ByFamily["ipv6"] != 1 || c.Together != 2 || c.Late != 1 {
		t.Errorf("it counts %+v", c)
	}
	if c.Hours[1] != 1 || c.Weekdays[6] != 1 {
		t.Errorf("it counts by the hour %v, by the day %v", c.Hours, c.Weekdays)
	}
}
