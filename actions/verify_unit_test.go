package actions

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
	"netwatch/systemd/systemdtest"
)

// The units that run the server are those that steps before the proof can start, and of
// these the ones that are given the file.
func TestVerifyFindsUnits(t *testing.T) {
	f := systemdtest.New(t)
	for _, c := range []struct {
		file string
		do   []string
		want int
	}{
		{"/etc/c", []string{"restart a.service", "start b.service", "verify coturn /etc/c"}, 2},
		{"/etc/c", []string{
			"reload a.service", "signal HUP b.service", "stop c.service", "try-restart d.service",
			"verify coturn /etc/c",
		}, 0},
		{"/etc/c", []string{"verify coturn /etc/c", "restart a.service"}, 0},
		{"/etc/c", []string{"restart a.service", "reload-or-restart a.service", "verify coturn /etc/c"}, 1},
	} {
		for _, argv := range [][]string{
			{"turnserver", "-c", c.file},
			{"turnserver", "--config=" + c.file},
			{"podman", "run"},
		} {
			f.Set("ExecStart", []execStart{{Path: argv[0], Args: argv}}, "ActiveState", "failed")
			var steps []netwatch.Step
			for _, line := range c.do {
				steps = append(steps, step(t, Env{}, line))
			}
			for _, s := range steps {
				v, ok := s.Action.(*verification)
				if !ok {
					continue
				}
				all := v.units(t.Context(), netwatch.Job{Steps: steps})
				if len(all) != c.want || c.want > 0 && (all[0].Active != "failed" ||
					all[0].Starts(c.file) != (argv[0] == "turnserver")) {
					t.Errorf("%v with %v: %+v", c.do, argv, all)
				}
			}
		}
	}
}

// What is done once more because a server is dead starts no unit that somebody has
// stopped.
func TestRevivesNothingStopped(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(systemdtest.Restarted)
	for _, line := range []string{"restart t.service", "start t.service", "reload-or-restart t.service"} {
		for state, want := range map[string]netwatch.Outcome{"inactive": netwatch.Skipped, "failed": netwatch.Changed} {
			f.Set("ActiveState", state, "SubState", state)
			r := step(t, Env{}, line).Do(t.Context(), netwatch.Job{Revives: true})
			if r.Outcome != want {
				t.Errorf("%s of one that is %s: %+v", line, state, r)
			}
		}
		f.Set("ActiveState", "inactive", "SubState", "dead")
		if r := step(t, Env{}, line).Do(t.Context(), netwatch.Job{}); r.Outcome != netwatch.Changed {
			t.Errorf("%s as ever: %+v", line, r)
		}
	}
}

// A container that comes after its unit is waited for, but not for one that is long there.
func TestVerifyAwaitsContainer(t *testing.T) {
	f := systemdtest.New(t)
	for name, c := range map[string]struct {
		words []string
		ago   time.Duration
		waits bool
	}{
		"just begun": {[]string{"/usr/bin/env", "docker", "start", "--attach", "turn"}, time.Second, true},
		"long there": {[]string{"/usr/bin/docker", "start", "--attach", "turn"}, time.Hour, false},
		"no engine":  {[]string{"/usr/bin/turnserver"}, time.Second, false},
	} {
		began := time.Now().Add(-c.ago)
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			t.Fatal(err)
		}
		f.Set("ExecStart", []execStart{{Path: c.words[0], Args: c.words}}, "InactiveExitTimestamp", uint64(began.UnixMicro()),
			"InactiveExitTimestampMonotonic", uint64(max(1, (now.Nano()-c.ago.Nanoseconds())/1000)))
		waited := time.Duration(0)
		v := &verification{server: "coturn", time: time.Second, container: 9 * time.Second}
		v.units = func(ctx context.Context, job netwatch.Job) []systemd.State {
			return unitsNamed(ctx, nil, job, "t.service")
		}
		v.settle(t.Context(), netwatch.Job{Confirmed: netwatch.Addresses{netwatch.IPv4: {}}},
			func(_ context.Context, _ netwatch.Job, end time.Time) *proof {
				waited = time.Until(end)
				return &proof{server: "coturn", err: errors.New("no")}
			})
		if got := waited > 5*time.Second; got != c.waits {
			t.Errorf("%s: it has %s", name, waited)
		}
	}
}

// A oneshot that has nothing to do, as one that restarts a container, was stopped by nobody: it
// does its work once more, and is no reason not to wait for who listens.
func TestRevivesByOneshot(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(systemdtest.Restarted)
	for _, c := range []struct {
		remains bool
		want    netwatch.Outcome
	}{{false, netwatch.Changed}, {true, netwatch.Skipped}} {
		f.Set("ActiveState", "inactive", "SubState", "dead", "Type", "oneshot", "RemainAfterExit", c.remains)
		s := step(t, Env{}, "restart t.service")
		if r := s.Action.Do(t.Context(), netwatch.Job{Revives: true}); r.Outcome != c.want {
			t.Errorf("with RemainAfterExit=%t: %+v", c.remains, r)
		}
		f.Set("ActiveState", "inactive", "SubState", "dead")
		refused := &proof{server: "coturn", err: errors.New("no"), offer: &servers.Offer{}, refused: true}
		v := &verification{server: "coturn", file: "/etc/c"}
		r := v.judge(refused, unitsNamed(t.Context(), nil, netwatch.Job{}, "t.service"))
		if (r.Dead != "") == c.remains {
			t.Errorf("who is dead with RemainAfterExit=%t: %+v", c.remains, r)
		}
	}
}

// A start that systemd refuses to begin, as others have used up the limit, has not been
// made: it waits. One that was begun and failed is a failure, as any start without a
// dead server is.
func TestRevivesWithinTheLimit(t *testing.T) {
	for name, c := range map[string]struct {
		begun, revives bool
		want           netwatch.Outcome
	}{
		"refused": {false, true, netwatch.Held}, "begun": {true, true, netwatch.Failed},
		"as ever": {false, false, netwatch.Failed},
	} {
		f := systemdtest.New(t)
		f.Set("ActiveState", "failed", "SubState", "failed", "Result", "signal")
		f.Does(func(f *systemdtest.Fake, call string) string {
			if c.begun {
				systemdtest.Restarted(f, call)
			}
			f.Set("ActiveState", "failed", "SubState", "failed", "MainPID", uint32(0))
			return "failed"
		})
		r := step(t, Env{}, "restart t.service").Do(t.Context(), netwatch.Job{Revives: c.revives})
		if r.Outcome != c.want || r.Outcome == netwatch.Held && !r.Until.After(time.Now()) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
