package systemd

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	_ "netwatch/lab/drawn" // Alike in every run
)

// A rateLimit is systemd's, src/basic/ratelimit.c: a window that begins with
// the first start and in which only so many may be; the first start after it
// begins the next.
type rateLimit struct {
	Limit
	begin time.Time
	count int
}

// below says whether a start at t is allowed, and counts it.
func (r *rateLimit) below(t time.Time) bool {
	if r.begin.IsZero() || t.Sub(r.begin) > r.interval {
		r.begin, r.count = t, 0
	}
	r.count++
	return r.count <= r.burst
}

// Whatever we are asked, and however long a unit takes to stop before systemd
// starts it, systemd's limit is not reached, and nobody waits longer than the
// interval and a second.
func TestLimitNeverReached(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.Int64Range(1, 20_000).Draw(t, "interval")) * time.Millisecond
		l := Limit{burst: rapid.IntRange(1, 8).Draw(t, "burst"), interval: interval}
		model := &rateLimit{Limit: l}
		now := time.Unix(1_000_000, 0)
		boot := now.Add(-time.Hour)
		var ours []time.Time
		var seen time.Time
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.Int64Range(0, 3_000_000).Draw(t, "pause")) * time.Microsecond)
			st := State{Active: "active", Limit: l, startedAgo: -1}
			if !seen.IsZero() {
				st.started, st.startedAgo = seen, now.Sub(seen)
			}
			if until := st.holdStart(ours, now); !until.IsZero() {
				if until.After(now.Add(l.interval+sameStart)) || !until.After(now) {
					t.Fatalf("held from %s to %s", now.Sub(boot), until.Sub(boot))
				}
				now = until
				if st.startedAgo >= 0 {
					st.startedAgo = now.Sub(seen)
				}
				if again := st.holdStart(ours, now); !again.IsZero() {
					t.Fatalf("held again at %s, when it was to be tried again", now.Sub(boot))
				}
			}
			ours = append(ours, now)
			now = now.Add(time.Duration(rapid.Int64Range(1, 5_000_000).Draw(t, "stopping")) * time.Microsecond)
			seen = now
			if !model.below(seen) {
				t.Fatalf("start %d reached the limit of %s", len(ours), l)
			}
		}
	})
}

// One start by somebody else between ours does not bring us to the limit.
func TestLimitLeavesOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limit{burst: rapid.IntRange(2, 8).Draw(t, "burst"), interval: 10 * time.Second}
		model := &rateLimit{Limit: l}
		now := time.Unix(1_000_000, 0)
		other := rapid.IntRange(0, l.burst).Draw(t, "other")
		var ours []time.Time
		var seen time.Time
		for i := range 2 * l.burst {
			now = now.Add(time.Duration(rapid.Int64Range(0, 2_000).Draw(t, "pause")) * time.Millisecond)
			if i == other {
				seen = now
				model.below(now)
				continue
			}
			st := State{Active: "active", Limit: l, startedAgo: -1}
			if !seen.IsZero() {
				st.started, st.startedAgo = seen, now.Sub(seen)
			}
			if until := st.holdStart(ours, now); !until.IsZero() {
				now = until
			}
			ours = append(ours, now)
			now = now.Add(time.Duration(rapid.Int64Range(1, 1_000_000).Draw(t, "stopping")) * time.Microsecond)
			seen = now
			if !model.below(now) {
				t.Fatalf("start %d reached the limit of %s", i, l)
			}
		}
	})
}

func TestLimitHolds(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	at := func(seconds ...float64) []time.Time {
		var all []time.Time
		for _, s := range seconds {
			all = append(all, now.Add(-time.Duration(s*float64(time.Second))))
		}
		return all
	}
	seen := func(st State, wall, ago float64) State {
		st.started, st.startedAgo = at(wall)[0], time.Duration(ago*float64(time.Second))
		return st
	}
	five := State{Active: "active", Limit: Limit{5, 10 * time.Second}, startedAgo: -1}
	one := State{Active: "active", Limit: Limit{1, 10 * time.Second}, startedAgo: -1}
	none := State{Active: "active", Limit: Limit{0, 10 * time.Second}, startedAgo: -1}
	ever := State{Active: "active", Limit: Limit{5, microseconds(^uint64(0))}, startedAgo: -1}
	hit := seen(State{Active: "failed", Result: "start-limit-hit", Limit: Limit{5, 10 * time.Second}}, 4, 4)
	loop := seen(five, 1, 1)
	loop.restarts = 3
	for name, c := range map[string]struct {
		st   State
		ours []time.Time
		want float64 // Seconds to wait
	}{
		"nothing yet":                      {five, nil, 0},
		"three":                            {five, at(3, 2, 1), 0},
		"four":                             {five, at(4, 3, 2, 1), 7},
		"six, as after a clock that ran":   {five, at(9, 8, 4, 3, 2, 1), 7},
		"one a little too old":             {five, at(10.5, 3, 2, 1), 0.5},
		"old ones":                         {five, at(20, 15, 12, 11, 3, 2, 1), 0},
		"four, the last is seen":           {seen(five, 0.8, 0.8), at(4, 3, 2, 1), 7},
		"three and another's":              {seen(five, 0.5, 0.5), at(4, 3, 2), 7},
		"three and an automatic one":       {loop, at(6, 5, 4), 0},
		"no limit":                         {none, at(4, 3, 2, 1, 0.5), 0},
		"one":                              {one, at(4), 7},
		"one, that began late":             {seen(one, 2, 2), at(4), 9},
		"one, another's":                   {seen(one, 2, 2), nil, 9},
		"for ever":                         {ever, at(4, 3, 2, 1), (ever.Limit.interval + sameStart).Seconds() - 4},
		"the limit is hit":                 {hit, nil, 6},
		"slept for a minute since":         {seen(five, 61, 1), at(64, 63, 62, 61), 7},
		"clock put back a minute since":    {seen(five, -59, 1), at(-56, -57, -58, -59), 7},
		"clock put back, nothing is known": {five, at(-56, -57, -58, -59), 0},
	} {
		until := c.st.holdStart(c.ours, now)
		got := 0.0
		if !until.IsZero() {
			got = until.Sub(now).Seconds()
		}
		if got < c.want-0.001 || got > c.want+0.001 {
			t.Errorf("%s: held for %.3f s, want %.3f s", name, got, c.want)
		}
	}
}

func TestWillStart(t *testing.T) {
	running, stopped := State{Active: "active", canReload: true}, State{Active: "failed", canReload: true}
	plain := State{Active: "active"}
	for verb, want := range map[string][3]bool{
		"restart": {true, true, true}, "try-restart": {true, false, true}, "start": {false, true, false},
		"reload": {}, "reload-or-restart": {false, true, true}, "stop": {},
	} {
		for i, st := range []State{running, stopped, plain} {
			if got := Verb(verb).WillStart(st); got != want[i] {
				t.Errorf("%s of %+v: %v, want %v", verb, st, got, want[i])
			}
		}
	}
}

func TestAgo(t *testing.T) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	if a := ago(uint64(now.Nano()/1000) - 5_000_000); a < 5*time.Second || a > 7*time.Second {
		t.Errorf("five seconds ago is %s", a)
	}
	if a := ago(0); a != -1 {
		t.Errorf("never is %s", a)
	}
	if us := microseconds(^uint64(0)); us < 100*365*24*time.Hour {
		t.Errorf("infinity is %s", us)
	}
}
