package sources

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"netwatch"
)

// dayOf are the times of these tests, at hours that do not exist and that come twice
// somewhere.
var dayOf = []Clock{"04:30", "02:30", "00:00", "Sun 02:00", "Sun 01:45", "Mon 07:00", "23:59"}

// zones change their clocks by an hour in the north, by half an hour in the south, by an
// hour at midnight, and not at all; and one has jumped over a day.
var zones = map[string]int{
	"Europe/Paris": 2026, "Australia/Lord_Howe": 2026, "America/Havana": 2026, "UTC": 2026, "Pacific/Apia": 2011,
}

// yearOf is a zone, and its year from the first to the last minute.
func yearOf(t *testing.T, name string) (from, to time.Time) {
	t.Helper()
	zone, err := time.LoadLocation(name)
	check(t, err)
	return time.Date(zones[name], 1, 1, 12, 0, 0, 0, zone), time.Date(zones[name]+1, 1, 1, 12, 0, 0, 0, zone)
}

// coming are all times of each Clock after from and up to to, found minute by minute as
// somebody does who watches the clocks: what they have shown before does not come again,
// and what they jump over comes when they have jumped.
func coming(all []Clock, from, to time.Time) map[Clock][]time.Time {
	of := map[string][]Clock{}
	for _, c := range all {
		clock := string(c[len(c)-len("HH:MM"):])
		of[clock] = append(of[clock], c)
	}
	found, highest := map[Clock][]time.Time{}, shownMinute(from)
	for now := from.Add(time.Minute); !now.After(to); now = now.Add(time.Minute) {
		for ; highest < shownMinute(now); highest++ {
			shown := time.Unix((highest+1)*60, 0).UTC()
			for _, c := range of[fmt.Sprintf("%02d:%02d", shown.Hour(), shown.Minute())] {
				if len(c) == len("HH:MM") || shown.Weekday().String()[:3] == string(c[:3]) {
					found[c] = slices.Compact(append(found[c], now))
				}
			}
		}
	}
	return found
}

// shownMinute counts the minutes that the clocks have shown at t.
func shownMinute(t time.Time) int64 {
	_, offset := t.Zone()
	return (t.Unix() + int64(offset)) / 60
}

// A vigil is a timer, the state that it leaves, and what it told.
type vigil struct {
	*timer
	state map[string]string
	told  []string
}

// newVigil makes a timer that nobody has started.
func newVigil(s *Timer) *vigil {
	v := &vigil{state: map[string]string{}}
	env := Env{
		Seen: func(event, what string) string { return v.state[event+" "+what] },
		See: func(event, what, last string) error {
			v.state[event+" "+what] = last
			return nil
		},
	}
	v.timer = s.Source("timer", env).(*timer)
	return v
}

// emit keeps what is told in the state, as the dispatcher does.
func (v *vigil) emit(ev netwatch.Event) error {
	v.state[ev.Sight.Event+" "+ev.Sight.Of] = ev.Sight.Value
	due, err := time.Parse(time.RFC3339, ev.Sight.Value)
	v.told = append(v.told, ev.Fields["at"]+" "+due.Format("2006-01-02 15:04 -0700"))
	return err
}

// taken is what was told since the last time.
func (v *vigil) taken() []string {
	told := v.told
	v.told = nil
	return told
}

// TestTimerForAYear has a timer wait for a year, and sleep over parts of it.
func TestTimerForAYear(t *testing.T) {
	for name := range zones {
		from, to := yearOf(t, name)
		found := coming(dayOf, from.AddDate(0, 0, -10), to)
		t.Run(name, func(t *testing.T) { wakes(t, found, from) })
		t.Run(name+"/sleeps", func(t *testing.T) { sleeps(t, found, from) })
	}
}

// wakes wants due at each time of the year and at no other. Where a timer would look once
// a minute and see nothing, a part is left out.
func wakes(t *testing.T, found map[Clock][]time.Time, from time.Time) {
	t.Helper()
	var want []string
	comes := map[time.Time][]string{}
	for _, c := range dayOf {
		for _, at := range found[c] {
			if at.After(from) {
				comes[at] = append(comes[at], string(c)+" "+at.Format("2006-01-02 15:04 -0700"))
			}
		}
	}
	moments := slices.SortedFunc(maps.Keys(comes), time.Time.Compare)
	for _, at := range moments {
		want = append(want, comes[at]...)
	}
	if diff := cmp.Diff(want, waited(t, from, moments)); diff != "" {
		t.Errorf("what comes (-) and what it told (+):\n%s", diff)
	}
}

// waited is what a timer tells that looks when it wants to, but for the looks of those
// hours in which nothing comes.
func waited(t *testing.T, now time.Time, moments []time.Time) []string {
	t.Helper()
	v := newVigil(&Timer{At: dayOf})
	wait, err := v.begin(now)
	check(t, err)
	for i := 0; i < len(moments); {
		if now = now.Add(wait); wait == mostAsleep {
			now = now.Add(max(0, moments[i].Sub(now)-5*time.Minute).Truncate(time.Minute))
		}
		before := len(v.told)
		if wait = v.look(now, v.emit); wait <= 0 || wait > mostAsleep {
			t.Fatalf("at %s it wants to wait for %s", now, wait)
		}
		if now.After(moments[i]) {
			t.Fatalf("it looked at %s and slept through %s", now, moments[i])
		}
		if now.Equal(moments[i]) {
			i++
		} else if len(v.told) > before {
			t.Fatalf("at %s it told %s", now, v.told[before:])
		}
	}
	return v.told
}

// sleeps holds, over suspends, stops and starts at any time: what came since the last look
// is told once, the newest of each, and nothing else is.
func sleeps(t *testing.T, found map[Clock][]time.Time, from time.Time) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		v := newVigil(&Timer{At: dayOf})
		now := from.Add(time.Duration(rapid.IntRange(0, 300*24*60).Draw(t, "start")) * time.Minute)
		_, _ = v.begin(now)
		for range 20 {
			before := now
			now = now.Add(time.Duration(rapid.IntRange(1, 3*24*3600).Draw(t, "away")) * time.Second)
			if rapid.Bool().Draw(t, "stopped") {
				v.timer = v.timer.again()
				if wait, err := v.begin(now); err != nil || wait > atStart {
					t.Fatalf("it wants to wait for %s: %v", wait, err)
				}
			}
			v.look(now, v.emit)
			var want []string
			for _, c := range dayOf {
				if newest := newestOf(found[c], now); newest.After(before) {
					want = append(want, string(c)+" "+newest.Format("2006-01-02 15:04 -0700"))
				}
			}
			if diff := cmp.Diff(want, v.taken()); diff != "" {
				t.Fatalf("from %s to %s: what came (-) and what it told (+):\n%s", before, now, diff)
			}
		}
	})
}

// again is a timer as it is after a start: it knows what the state knows.
func (t *timer) again() *timer { return &timer{name: t.name, env: t.env, times: t.times} }

// newestOf is the newest of times up to now.
func newestOf(times []time.Time, now time.Time) time.Time {
	i, found := slices.BinarySearchFunc(times, now, time.Time.Compare)
	if !found {
		i--
	}
	return times[i]
}

// TestTimerClockSet holds, however the clock is set: what comes while the timer looks is
// told, unless that very time was the last that was told; setting the clock back tells
// nothing, and setting it forth at most one of each.
func TestTimerClockSet(t *testing.T) {
	from, _ := yearOf(t, "Europe/Paris")
	rapid.Check(t, func(t *rapid.T) {
		v := newVigil(&Timer{At: dayOf[:3], Every: "7h"})
		now := from
		_, _ = v.begin(now)
		for range 20 {
			minutes := time.Duration(rapid.IntRange(-40*60, 40*60).Draw(t, "set by")) * time.Minute
			now = now.Add(minutes)
			v.look(now, v.emit)
			if told := v.taken(); minutes < 0 && len(told) > 0 || len(told) > len(v.times) {
				t.Fatalf("set by %s to %s: %s", minutes, now, told)
			}
			for range rapid.IntRange(0, 10).Draw(t, "looks") {
				want := v.alive(now, now.Add(7*time.Minute))
				now = now.Add(7 * time.Minute)
				v.look(now, v.emit)
				if diff := cmp.Diff(want, v.taken()); diff != "" {
					t.Fatalf("at %s: what came (-) and what it told (+):\n%s", now, diff)
				}
			}
		}
	})
}

// alive is what comes up to now, and was not the last that was told.
func (v *vigil) alive(from, now time.Time) (want []string) {
	for _, each := range v.times {
		last, _ := v.last(each)
		if newest, _ := each.around(last, now); newest.After(from) && !newest.Equal(last) {
			want = append(want, each.at+" "+newest.Format("2006-01-02 15:04 -0700"))
		}
	}
	return want
}

// TestTimerEvery counts from the last one, over a restart and over what was missed.
func TestTimerEvery(t *testing.T) {
	from, _ := yearOf(t, "UTC")
	v := newVigil(&Timer{Every: "6h"})
	hours := func(h float64) time.Time { return from.Add(time.Duration(h * float64(time.Hour))) }
	_, err := v.begin(from)
	check(t, err)
	for _, step := range []struct {
		at   float64
		want []string
	}{
		{5.9, nil},
		{6, []string{"every 6h 2026-01-01 18:00 +0000"}},
		{6.1, nil},
		{11.9, nil},
		{19, []string{"every 6h 2026-01-02 06:00 +0000"}},
		{19.1, nil},
		{24, []string{"every 6h 2026-01-02 12:00 +0000"}},
		{18.5, nil}, // The clock is set back
		{24, nil},   // So that is not told again
		{30, []string{"every 6h 2026-01-02 18:00 +0000"}},
		{1, nil},
		{6, []string{"every 6h 2026-01-01 18:00 +0000"}}, // Set back by so much, others come again
	} {
		v.look(hours(step.at), v.emit)
		if diff := cmp.Diff(step.want, v.taken()); diff != "" {
			t.Errorf("after %v hours, wanted (-) and told (+):\n%s", step.at, diff)
		}
		v.timer = v.timer.again()
		if _, err := v.begin(hours(step.at)); err != nil {
			t.Fatal(err)
		}
	}
}

// The time zone is that of the file that this machine has, and the usual one where it has none.
func TestZoneIsTheFiles(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile("/usr/share/zoneinfo/Pacific/Apia")
	check(t, err)
	write(t, dir+"/zone", string(text))
	write(t, dir+"/nonsense", "x")
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	_, here := at.In(time.Local).Zone()
	for name, want := range map[string]int{"zone": 13 * 3600, "nonsense": here, "none": here} {
		if _, got := at.In(zoneIn(dir + "/" + name)).Zone(); got != want {
			t.Errorf("%s: the clock on the wall is %d s ahead of UTC", name, got)
		}
	}
}

// TestTimerRuns has the source itself wait: it is on the minute, makes up at a start for
// what was missed within a minute, tries again what is refused, and ends when it is told.
func TestTimerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, refuse := newVigil(&Timer{Every: "90m"}), false
		began := time.Now()
		var told []string
		run := func(hours int) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(hours)*time.Hour)
			defer cancel()
			check(t, v.Run(ctx, func(ev netwatch.Event) error {
				if refuse = !refuse; refuse {
					return context.Canceled
				}
				told = append(told, fmt.Sprint(ev.Fields["at"], " after ", time.Since(began)))
				return v.emit(ev)
			}))
		}
		run(4)
		time.Sleep(4 * time.Hour)
		run(2)
		want := []string{
			"every 90m after 1h30m5s", "every 90m after 3h0m5s", "every 90m after 8h0m35s", "every 90m after 9h0m5s",
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("wanted (-) and told (+):\n%s", diff)
		}
	})
}

// TestTimerNote says which time comes next.
func TestTimerNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVigil(&Timer{Every: "48h", At: []Clock{"Mon 07:00", "00:05"}})
		_, err := v.begin(onTheWall())
		check(t, err)
		said, _ := strings.CutPrefix(v.Note(), "next: 00:05, on ")
		next, err := time.ParseInLocation("2006-01-02 15:04", said, zone())
		if wait := time.Until(next); err != nil || wait <= 0 || wait > 24*time.Hour {
			t.Errorf("it says %q", v.Note())
		}
	})
}

// FuzzClock holds that every text that is taken for a time comes within eight days, as
// itself, and that no other is.
func FuzzClock(f *testing.F) {
	for _, text := range []string{"04:30", "Mon 07:00", "24:00", "7:00", "mon 07:00", "Mon  07:00", "Mon 07:00\n", ""} {
		f.Add(text, int64(1774746000))
	}
	zone, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, now int64) {
		var c Clock
		if c.UnmarshalText([]byte(text)) != nil {
			return
		}
		at := time.Unix(now%(1<<34), 0).In(zone)
		newest, next := c.around(time.Time{}, at)
		if newest.After(at) || !next.After(at) || next.Sub(newest) > 8*24*time.Hour || string(c) != text {
			t.Errorf("%q at %s: %s, then %s", text, at, newest, next)
		}
	})
}
