package actions

import (
	"context"
	"testing"

	"netwatch"
)

func TestProbe(t *testing.T) {
	found := netwatch.Result{Outcome: netwatch.Changed, Detail: "ipv4 is 192.0.2.1"}
	var asked []string
	env := Env{Probe: func(_ context.Context, name string, _ bool) netwatch.Result {
		asked = append(asked, name)
		return found
	}}
	for _, line := range []string{"probe", "probe stun"} {
		if r := step(t, env, line).Do(t.Context(), netwatch.Job{}); r != found {
			t.Errorf("%s: %+v, want %+v", line, r, found)
		}
	}
	if len(asked) != 2 || asked[0] != "" || asked[1] != "stun" {
		t.Errorf("asked %q", asked)
	}
	if r := step(t, Env{}, "probe").Do(t.Context(), netwatch.Job{}); r.Outcome != netwatch.Failed || r.Err == nil {
		t.Errorf("without sources: %+v", r)
	}
}

// Whoever acts on what is found is to be part of the run that follows from it.
func TestProbeSaysWhetherStepsFollow(t *testing.T) {
	var followed bool
	env := Env{Probe: func(_ context.Context, _ string, f bool) netwatch.Result {
		followed = f
		return netwatch.Result{}
	}}
	probe, restart := step(t, env, "probe stun"), step(t, env, "restart a.service")
	notice := netwatch.Step{Action: restart.Action, Notice: true}
	for want, steps := range map[bool][]netwatch.Step{false: {probe, probe, notice}, true: {probe, restart, notice}} {
		probe.Do(t.Context(), netwatch.Job{Steps: steps})
		if followed != want {
			t.Errorf("with %d steps: %t", len(steps), followed)
		}
	}
}
