//go:build lab

package lab

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// noticed is when netwatch noticed that the public address has become another.
func noticed(t *testing.T, to netip.Addr) (at time.Time) {
	t.Helper()
	for line := range strings.Lines(shell(t, "netwatch history --json")) {
		var e netwatch.Entry
		must(t, json.Unmarshal([]byte(line), &e))
		if e.Kind == netwatch.EntryEvent && e.Event == netwatch.IPChanged && e.Fields["new"] == to.String() {
			at = e.Time
		}
	}
	if at.IsZero() {
		t.Fatalf("it has not noticed %s", to)
	}
	return at
}

// sinceNoticed changes the address n times, each time at another moment of a poll, and
// measures from when netwatch notices that until a caller is right.
func sinceNoticed(t *testing.T, n int, right func(to netip.Addr) time.Time) (times Times) {
	t.Helper()
	for i := range n {
		wait(t, time.Duration(i)*every/time.Duration(n))
		to := Public(30 + i)
		must(t, world.SetPublic(t.Context(), to))
		when := right(to)
		times = append(times, when.Sub(noticed(t, to)))
		idle(t, to)
	}
	return times
}

// inABlink changes the address n times after a pause, first to Public(20), and wants callers to be
// right in a second, half of the times after half a second for netwatch to notice: what the
// disk takes then is not the news' time.
func inABlink(t *testing.T, n int, pause time.Duration, change func(to netip.Addr)) {
	t.Helper()
	var seen, all Times
	for i := range n {
		wait(t, pause)
		to, changed := Public(20+i), time.Now()
		change(to)
		when := right(t, to, to, 20*time.Second)
		all, seen = append(all, when.Sub(changed)), append(seen, noticed(t, to).Sub(changed))
	}
	promised(t, all, time.Second)
	if t.Logf("noticed after: %s", seen); seen.Median() > 500*time.Millisecond {
		t.Errorf("half of the times it was noticed after more than %s", seen.Median())
	}
}
