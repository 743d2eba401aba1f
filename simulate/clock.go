package simulate

import (
	"fmt"
	"time"

	"netwatch"
)

// wall is what the clock on the wall shows. Its time zone is that of no season.
func (w *World) wall() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.onTheWall()
}

func (w *World) onTheWall() time.Time { return time.Now().Round(0).Add(w.offset).UTC() }

// The times of the timer: one of each day, one of a week, and one that comes again.
const (
	daily, weekly = "04:30", "Mon 07:00"
	again         = 6*time.Hour + 7*time.Minute
)

// timerText is what is in the configuration of a world with a timer. One rule alone has
// servers asked: of two that wait for the same answer it is chance which goes on first.
var timerText = fmt.Sprintf(`
[source.timer]
every = %q
at = [%q, %q]

[[rule]]
name = "now and then"
on = ["due"]
do = ["exec /usr/local/bin/now-and-then"]
`, again, daily, weekly)

// each is the text of the time that comes again.
var each = fmt.Sprint("every ", again)

// newest is when a time of a day, or of a week, came last.
func newest(at string, now time.Time) time.Time {
	day := time.Date(now.Year(), now.Month(), now.Day(), 4, 30, 0, 0, time.UTC)
	days := 1
	if at == weekly {
		days = 7
		day = time.Date(now.Year(), now.Month(), now.Day(), 7, 0, 0, 0, time.UTC)
		day = day.AddDate(0, 0, -(int(now.Weekday())+6)%7)
	}
	if day.After(now) {
		day = day.AddDate(0, 0, -days)
	}
	return day
}

// due is called when the log says that a time has come: it has, and was not told of before.
// w.mu is held.
func (l *life) due(at string) {
	l.tell("due: %s", at)
	came, last := newest(at, l.onTheWall()), l.dues[at]
	if at == each { // It goes by when it was told last
		came = l.toldLast(at)
	}
	if l.dues[at] = came; came.Equal(last) && !l.disk.atRisk {
		l.broken("%s is told twice", at)
	}
}

// toldLast is what of a time was told last, by the state; zero if nothing was.
func (w *World) toldLast(at string) time.Time {
	last, _ := time.Parse(time.RFC3339, w.disk.known().Seen[netwatch.Due][netwatch.Timed("timer", at)])
	return last
}

// timerTime is within what time it is told that a time has come: what was missed waits for
// half a minute at the start, and the timer looks at the clock once a minute.
const timerTime = 3 * time.Minute

// forgotten is a time that has come and was not told of, or nothing. w.mu is held.
func (w *World) forgotten() string {
	if !w.inForce.timer || w.now()-w.timed < timerTime {
		return ""
	}
	now := w.onTheWall().Add(-timerTime)
	for _, at := range []string{daily, weekly, each} {
		last, came := w.toldLast(at), newest(at, now)
		if at == each {
			came = now.Add(-again)
		}
		if !last.IsZero() && last.Before(came) {
			return fmt.Sprintf("%s came at %s, and was told last at %s", at, came, last)
		}
	}
	return ""
}

// askedTime is within what time servers are asked once the clock was set.
const askedTime = 2 * time.Second

// sets sets the clock by so much, as far as it goes by the wall alone, and has netwatch
// notice. w.mu is held.
func (w *World) sets(by time.Duration) {
	w.offset += by
	w.timed = w.now()
	l := w.life
	if l == nil || l.dead {
		return
	}
	select {
	case l.jumps <- struct{}{}:
	default:
	}
	since := w.now()
	time.AfterFunc(askedTime, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !l.dead && !l.ending && w.asked < since {
			w.broken("the clock was set, and nobody was asked")
		}
	})
}

// ahead and back set the clock.
func (w *World) ahead(n uint64) {
	w.tell("the clock is set ahead")
	w.sets(between(n, time.Second, 30*time.Hour))
}

func (w *World) back(n uint64) {
	w.tell("the clock is set back")
	w.sets(-between(n, time.Second, 30*time.Hour))
}

// suspends has the machine stand still for a while, as far as it can tell: what was on its way
// is lost, the clock on the wall has gone on, and the line may be another.
func (w *World) suspends(n uint64) {
	w.tell("the machine was suspended")
	w.suspended++
	w.broker.cutOff()
	if n%2 == 0 {
		w.moves(mix(n, 1))
	}
	w.sets(exponential(mix(n, 2), 2*time.Hour))
	w.told()
}
