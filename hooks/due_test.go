package hooks

import (
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// The time of an event of a timer is in the state as soon as the event is accepted, also
// if no rule waits for it: it would come once more after a crash. What somebody fires by
// hand is no time that came.
func TestDueIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir())
		defer b.close(t)
		at := time.Date(2026, 3, 29, 4, 30, 0, 0, time.UTC)
		ev := netwatch.NewEvent(netwatch.Due, "nightly", map[string]string{"at": "04:30"})
		timed := netwatch.Timed("nightly", "04:30")
		ev.Sight = netwatch.Sight{Event: netwatch.Due, Of: timed, Value: at.Format(time.RFC3339)}
		if _, err := b.Accept(ev, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Accept(netwatch.NewEvent(netwatch.Due, netwatch.Fired, ev.Fields), nil); err != nil {
			t.Fatal(err)
		}
		seen := b.store.Get().Seen[netwatch.Due]
		if len(seen) != 1 || seen[timed] != at.Format(time.RFC3339) {
			t.Errorf("the state has %v", seen)
		}
	})
}
