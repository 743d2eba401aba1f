package actions

import (
	"context"
	"fmt"
	"testing"

	"netwatch"
)

// What is handed on is the newest event of each name, in the order in which they came,
// by the source that the step names.
func TestTell(t *testing.T) {
	var got string
	env := Env{Tell: func(_ context.Context, name string, events []netwatch.Event) netwatch.Result {
		got = name
		for _, ev := range events {
			got += " " + ev.Name + " " + ev.Fields["new"]
		}
		return netwatch.Result{Outcome: netwatch.Changed}
	}}
	var events []netwatch.Event
	for i, name := range []string{"a", "b", "a", "c", "b"} {
		events = append(events, netwatch.NewEvent(name, "s", map[string]string{"new": fmt.Sprint(i)}))
	}
	job := netwatch.Job{Event: events[4], Events: events}
	for line, want := range map[string]string{"tell": " a 2 c 3 b 4", "tell mqtt": "mqtt a 2 c 3 b 4"} {
		s := step(t, env, line)
		if r := s.Do(t.Context(), job); r.Outcome != netwatch.Changed || got != want || s.Notice || s.Gate {
			t.Errorf("%s: %+v, %q", line, r, got)
		}
	}
	if r := step(t, Env{}, "tell").Do(t.Context(), job); r.Outcome != netwatch.Failed {
		t.Errorf("with nobody to tell: %+v", r)
	}
}
