package systemd

import (
	"cmp"
	"fmt"
	"time"
)

// A Limit is a unit's StartLimitBurst and StartLimitIntervalUSec, systemd.unit(5).
// One start more leaves the unit failed until somebody starts it: measured with
// coturn, the sixth restart in ten seconds.
type Limit struct {
	burst    int
	interval time.Duration
}

// String is the limit in words.
func (l Limit) String() string { return fmt.Sprintf("%d starts in %s", l.burst, l.interval) }

// Interval is the span in which starts are counted; 0 if there is no limit.
func (l Limit) Interval() time.Duration {
	if l.none() {
		return 0
	}
	return l.interval
}

// none says that systemd does not limit the unit: one of the two is zero.
func (l Limit) none() bool { return l.burst <= 0 || l.interval <= 0 }

// ours is how many starts netwatch allows itself in any interval. One is left for
// somebody else: of others' starts systemd tells only the last.
func (l Limit) ours() int { return max(1, l.burst-1) }

// sameStart is how long after netwatch asked for it a start still counts as its own,
// since a unit takes its time to stop. A start counts for that much longer than the
// interval, because systemd's interval begins with the start and not with the asking.
// A unit that stops more slowly counts twice, which only makes netwatch slower too.
const sameStart = time.Second

// held returns until when a start at now must wait because it would be one too many,
// or the zero time. starts are sorted, oldest first. No start waits longer than the
// interval and sameStart, whatever the clock did: starts in the future do not count.
func (l Limit) held(starts []time.Time, now time.Time) time.Time {
	if l.none() {
		return time.Time{}
	}
	var recent []time.Time
	for _, t := range starts {
		if age := now.Sub(t); age >= 0 && age < l.interval+sameStart {
			recent = append(recent, t)
		}
	}
	if len(recent) < l.ours() {
		return time.Time{}
	}
	return recent[len(recent)-l.ours()].Add(l.interval + sameStart)
}

// starts are the times of the starts that count against the limit of a unit in state
// st: netwatch's, as recorded before each, and the last one that systemd tells of.
// They are given as if the clock had not been set and the machine not suspended since
// the last start, because systemd's limit goes by a clock that neither can move.
func (st State) starts(ours []time.Time, now time.Time) []time.Time {
	if st.startedAgo < 0 {
		return ours
	}
	seen := now.Add(-st.startedAgo)
	jumped := seen.Sub(st.started)
	var all []time.Time
	for _, t := range ours {
		if t.After(st.started) { // After the last start: it came to nothing
			all = append(all, t)
			continue
		}
		all = append(all, t.Add(jumped))
	}
	if n := len(all); n > 0 && seen.Sub(all[n-1]) <= sameStart || !st.counts() {
		return all
	}
	return append(all, seen)
}

// counts says whether the last start counts if it was not netwatch's. An automatic
// restart does not, unless the limit allows only one start: otherwise a unit that
// crashes every few seconds would hold netwatch back for ever, and may need just what
// netwatch brings.
func (st State) counts() bool { return st.restarts == 0 || st.Limit.burst == 1 }

// holdStart returns until when a start of a unit in state st must wait, or the zero
// time. A unit that has hit its limit is left alone until systemd has forgotten the
// starts.
func (st State) holdStart(ours []time.Time, now time.Time) time.Time {
	if st.Active == "failed" && st.Result == "start-limit-hit" && st.startedAgo >= 0 && st.startedAgo < st.Limit.interval {
		return now.Add(st.Limit.interval - st.startedAgo)
	}
	return st.Limit.held(st.starts(ours, now), now)
}

// Starts remembers when netwatch started a unit, newest last.
type Starts interface {
	// Of are the times of a unit.
	Of(unit string) []time.Time
	// Record notes that a unit is about to be started; once it has returned nil
	// no crash makes that forgotten.
	Record(unit string, at time.Time) error
}

// Account returns until when a start of the unit, which is in state st, must wait
// lest the start limit be reached. If it need not wait, Account records the start and
// returns the zero time.
func (u *Unit) Account(st State, starts Starts) (until time.Time, err error) {
	unit, now := cmp.Or(st.ID, u.name), time.Now()
	until = st.holdStart(starts.Of(unit), now)
	if !until.IsZero() || st.Limit.none() {
		return until, nil
	}
	return until, starts.Record(unit, now)
}
