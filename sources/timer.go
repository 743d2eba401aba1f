package sources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"netwatch"
)

// A Timer is the settings of a source that emits due when one of its times has come:
// what nothing tells of, as a port that the router forgot, is looked at all the same.
type Timer struct {
	// Every is the time from one to the next, at least 1m. It counts from the last one,
	// also over a restart.
	Every Interval `toml:"every"`
	// At are times of the day, of this machine's time zone.
	At []Clock `toml:"at"`
	// every says that Every is written, be it right or wrong.
	every bool
}

// An Interval is a duration in the words of the configuration.
type Interval string

// UnmarshalText takes a duration of at least a minute.
func (i *Interval) UnmarshalText(text []byte) error {
	var d netwatch.Duration
	if err := d.UnmarshalText(text); err != nil {
		return err
	}
	if time.Duration(d) < time.Minute {
		return fmt.Errorf("%s is too often: at least 1m", text)
	}
	*i = Interval(text)
	return nil
}

// duration is how long it is.
func (i Interval) duration() time.Duration {
	d, _ := time.ParseDuration(string(i)) // It was parsed
	return d
}

// A Clock is a time of the day, of each day or of one of the week, in the words of the
// configuration.
type Clock string

// clockPattern is what a Clock looks like.
var clockPattern = netwatch.Pattern(`^((Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?([01][0-9]|2[0-3]):[0-5][0-9]$`)

// UnmarshalText takes HH:MM, and DAY HH:MM with one of Mon to Sun.
func (c *Clock) UnmarshalText(text []byte) error {
	if !clockPattern().Match(text) {
		return fmt.Errorf("%q is not a time: \"04:30\", or with one of Mon, Tue, Wed, Thu, Fri, Sat and Sun before it, "+
			"as in \"Mon 07:00\"", text)
	}
	*c = Clock(text)
	return nil
}

func newTimer() Settings { return &Timer{} }

// Written notes whether there is an Every.
func (t *Timer) Written(keys []string) { t.every = slices.Contains(keys, "every") }

// Check lists what is wrong beyond the types of single values.
func (t *Timer) Check() (all []Mistake) {
	if !t.every && len(t.At) == 0 {
		all = append(all, Mistake{"at", -1, `there is no time to wait for: give at, as in ["04:30", "Mon 07:00"], or every`})
	}
	for i, at := range t.At {
		if slices.Contains(t.At[:i], at) {
			all = append(all, Mistake{"at", i, string(at) + " is there twice"})
		}
	}
	return all
}

// Times are the texts of all its times.
func (t *Timer) Times() (all []string) {
	for _, each := range t.timings() {
		all = append(all, each.at)
	}
	return all
}

// Source makes the source.
func (t *Timer) Source(name string, env Env) netwatch.Source {
	return &timer{name: name, env: env, times: t.timings()}
}

func (t *Timer) timings() (all []timing) {
	if every := t.Every.duration(); every > 0 {
		all = append(all, timing{"every " + string(t.Every), interval(every)})
	}
	for _, at := range t.At {
		all = append(all, timing{string(at), at.around})
	}
	return all
}

// The pace of a timer.
const (
	// atStart is how long what was missed before the start waits: at boot others, as the
	// mail server, are just being started too.
	atStart = 30 * time.Second
	// mostAsleep is how long at most a timer does not look at the clock: somebody may set
	// it, and while the machine is suspended no wait goes on.
	mostAsleep = time.Minute
)

// A timing is one time of a timer, which comes again and again.
type timing struct {
	// at is its text in events and in the state.
	at string
	// around are the newest time of it up to now, and the first one after now. last is
	// one of them.
	around func(last, now time.Time) (newest, next time.Time)
}

// A timer compares the clock on the wall with what the state says was the last of each
// time. It never counts how long it has slept.
type timer struct {
	name  string
	env   Env
	times []timing
	// looked is when it looked last.
	looked time.Time
}

// String is the name in the configuration.
func (t *timer) String() string { return t.name }

// Run looks at the clock when the next time comes, and once a minute, until ctx is
// done. It returns an error when the state cannot be written.
func (t *timer) Run(ctx context.Context, emit func(netwatch.Event) error) error {
	wait, err := t.begin(t.env.wall())
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = t.look(t.env.wall(), emit)
	}
}

// begin notes each time that was never waited for, and returns how long to wait for the
// first look.
func (t *timer) begin(now time.Time) (wait time.Duration, err error) {
	t.looked, wait = now, atStart
	for _, each := range t.times {
		key := netwatch.Timed(t.name, each.at)
		if _, seen := t.last(each); !seen {
			err = errors.Join(err, t.env.See(netwatch.Due, key, now.Format(time.RFC3339)))
		}
		last, _ := t.last(each)
		_, next := each.around(last, now)
		wait = min(wait, next.Sub(now))
	}
	return wait, err
}

// last is the last of a time by the state, and whether that has one.
func (t *timer) last(each timing) (time.Time, bool) {
	last, err := time.Parse(time.RFC3339, t.env.Seen(netwatch.Due, netwatch.Timed(t.name, each.at)))
	return last, err == nil
}

// look emits due for each time of which there was one since the last: of several the
// newest alone. It returns how long to wait for the next look.
func (t *timer) look(now time.Time, emit func(netwatch.Event) error) time.Duration {
	wait := mostAsleep
	for _, each := range t.times {
		last, _ := t.last(each)
		newest, next := each.around(last, now)
		if newest.After(t.since(last, now)) && t.tell(each, newest, emit) != nil {
			next = now.Add(refusedTime)
		}
		wait = min(wait, next.Sub(now))
	}
	t.looked = now
	return wait
}

// since is from when on what has come was not told. A last that is still to come is of a
// clock that was set back: only what comes while we look is then told, and the last
// itself not again.
func (t *timer) since(last, now time.Time) time.Time {
	if last.After(now) {
		return t.looked
	}
	return last
}

// tell emits the event. It returns an error if that was refused.
func (t *timer) tell(each timing, due time.Time, emit func(netwatch.Event) error) error {
	ev := netwatch.NewEvent(netwatch.Due, t.name, map[string]string{"at": each.at})
	ev.Sight = netwatch.Sight{Event: ev.Name, Of: netwatch.Timed(t.name, each.at), Value: due.Format(time.RFC3339)}
	return emit(ev)
}

// Note is which time comes next.
func (t *timer) Note() string {
	var soonest time.Time
	var which string
	for _, each := range t.times {
		last, _ := t.last(each)
		if _, next := each.around(last, t.env.wall()); which == "" || next.Before(soonest) {
			soonest, which = next, each.at
		}
	}
	return fmt.Sprintf("next: %s, on %s", which, soonest.Format("2006-01-02 15:04"))
}

// onTheWall is what the clock on the wall shows. Without the reading of the other clock
// it is compared by that alone.
func onTheWall() time.Time { return time.Now().Round(0).In(zone()) }

// zone is this machine's time zone of now: Go itself reads it once.
func zone() *time.Location {
	if _, set := os.LookupEnv("TZ"); set {
		return time.Local
	}
	return zoneIn("/etc/localtime")
}

// zoneIn is the time zone that a file has, or that which Go has read.
func zoneIn(file string) *time.Location {
	text, err := netwatch.ReadRegular(file, maxFile)
	if err != nil {
		return time.Local
	}
	here, err := time.LoadLocationFromTZData("Local", text)
	if err != nil {
		return time.Local
	}
	return here
}
