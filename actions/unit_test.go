package actions

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/systemd/systemdtest"
)

func TestUnitWords(t *testing.T) {
	for line, want := range map[string]string{
		"restart":                                          "a unit is missing: restart UNIT [always]",
		"restart coturn":                                   "write coturn.service",
		"restart matrix.example":                           "write matrix.example.service",
		"restart coturn.servce":                            "write coturn.service",
		"restart a/b.service":                              `has '/' in it`,
		"restart ä.service":                                `has 'ä' in it`,
		"restart .service":                                 "nothing before its type",
		"restart foo@.service":                             "foo@NAME.service",
		"restart session-1.scope":                          "is a scope",
		"restart coturn.service alwys":                     `"alwys" after the unit is not understood`,
		"restart a.service always always":                  `"always" after always`,
		"restart " + strings.Repeat("a", 250) + ".service": "longer than 255",
		"signal":                   "a signal is missing",
		"signal HUP":               "a unit is missing: signal SIGNAL UNIT [always]",
		"signal FOO a.service":     "is not a signal",
		"signal 9 a.service":       "is not a signal",
		"signal SEGV a.service":    "for the kernel",
		"signal SIGSTOP a.service": "standing still",
		"signal HUP a.timer":       "no main process",
		"exec":                     "a program is missing",
		"exec true":                "relative path",
		"probe a b":                `"b" after the source`,
	} {
		words := strings.Fields(line)
		_, err := verb(t, words[0]).New(Env{}, words[0], words[1:])
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", line, err, want)
		}
	}
}

func TestUnitWordsGate(t *testing.T) {
	for line, gated := range map[string]bool{
		"restart coturn.service": true, "restart coturn.service always": false, `start a-b_c:d\x2de@f.service`: true,
		"signal USR2 coturn.service": true, "signal SIGHUP coturn.service always": false,
		"exec /bin/true": false, "probe": false, "probe stun": false, "stop a.timer": true, "start x.mount always": false,
	} {
		if s := step(t, Env{}, line); s.Gated != gated || s.Gate {
			t.Errorf("%s: gated %v and a gate %v, want %v and false", line, s.Gated, s.Gate, gated)
		}
	}
}

func verb(t *testing.T, name string) Verb {
	t.Helper()
	for _, v := range Verbs {
		if v.Name == name {
			return v
		}
	}
	t.Fatalf("%s is not in the table", name)
	return Verb{}
}

// Without a polkit rule systemd does not tell that there is no such unit, so it
// must be found out before.
func TestUnitMissing(t *testing.T) {
	f := systemdtest.New(t)
	f.Refuses("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "")
	f.Set("LoadState", "not-found", "ActiveState", "inactive")
	r := do(t, Env{}, "restart coturnn.service", 5*time.Second)
	wantResult(t, r, netwatch.Failed, "no such unit", "there is coturn.service, coturn2.service")
	if strings.Contains(netwatch.Hint(r.Err), "coturm") {
		t.Errorf("%q names a unit that is not there", netwatch.Hint(r.Err))
	}
	f.Set("LoadState", "masked")
	wantResult(t, do(t, Env{}, "restart t.service", 5*time.Second), netwatch.Failed, "masked",
		"systemctl unmask t.service")
	f.Set("LoadState", "bad-setting")
	wantResult(t, do(t, Env{}, "restart t.service", 5*time.Second), netwatch.Failed, "unit file",
		"systemd-analyze verify t.service")
}

func TestUnitJobResults(t *testing.T) {
	for result, want := range map[string]string{
		"failed": "journalctl -u t.service", "canceled": "another " +
			"job", "timeout": "JobTimeoutSec", "dependency": "list-dependencies",
		"assert": "Assert", "invalid": "reload-or-restart", "skipped": "does not apply", "collected": "systemctl status",
	} {
		t.Run(result, func(t *testing.T) {
			f := systemdtest.New(t)
			f.Does(func(*systemdtest.Fake, string) string { return result })
			wantResult(t, do(t, Env{}, "restart t.service", 5*time.Second), netwatch.Failed, `ended in "`+result+`"`, want)
		})
	}
}

// A job that systemd refuses was not begun; one that failed was.
func TestUnitRefused(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(func(*systemdtest.Fake, string) string { return "failed" })
	if r := do(t, Env{}, "restart t.service", 5*time.Second); r.Outcome != netwatch.Failed || r.Refused {
		t.Errorf("a job that failed: %+v", r)
	}
	f.Refuses("org.freedesktop.DBus.Error.AccessDenied", "no")
	if r := do(t, Env{}, "restart t.service", 5*time.Second); r.Outcome != netwatch.Failed || !r.Refused {
		t.Errorf("a job that was refused: %+v", r)
	}
}

func TestUnitStartLimitHit(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(func(f *systemdtest.Fake, _ string) string {
		f.Set("ActiveState", "failed", "SubState", "failed", "Result", "start-limit-hit")
		return "failed"
	})
	wantResult(t, do(t, Env{}, "restart t.service", 5*time.Second), netwatch.Failed, "start-limit-hit",
		"started too often (systemd allows 5 starts in 10s)")
}

// A unit that was started since the last change knows it: it is not started again,
// unless it is dead. Both clocks count, for one of them may have been set.
func TestUnitStartedSince(t *testing.T) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	ago := func(wall, monotonic time.Duration) []any {
		return []any{
			"InactiveExitTimestamp", uint64(time.Now().Add(-wall).UnixMicro()),
			"InactiveExitTimestampMonotonic", uint64((time.Duration(now.Nano()) - monotonic).Microseconds()),
		}
	}
	const job, soon, hour = time.Minute, time.Minute / 2, time.Hour
	for name, c := range map[string]struct {
		line    string
		started []any
		revives bool
		outcome netwatch.Outcome
	}{
		"since":                  {"restart t.service always", ago(soon, soon), false, netwatch.Skipped},
		"before":                 {"restart t.service always", ago(hour, hour), false, netwatch.Changed},
		"the clock went ahead":   {"restart t.service always", ago(hour, soon), false, netwatch.Changed},
		"the clock was set back": {"restart t.service always", ago(soon, hour), false, netwatch.Changed},
		"since, and dead":        {"restart t.service always", ago(soon, soon), true, netwatch.Changed},
		"a reload":               {"reload t.service", ago(soon, soon), false, netwatch.Changed},
		"stopped": {
			"restart t.service", append(ago(soon, soon), "ActiveState", "failed"), false, netwatch.Changed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := systemdtest.New(t)
			f.Set(c.started...)
			f.Does(func(f *systemdtest.Fake, call string) string {
				if f.Set("ActiveState", "active"); !strings.HasPrefix(call, "Reload") {
					f.Set("InvocationID", []byte{2})
				}
				return "done"
			})
			r := step(t, Env{}, c.line).Do(t.Context(), netwatch.Job{Since: time.Now().Add(-job), Revives: c.revives})
			wantResult(t, r, c.outcome)
		})
	}
}

// What a unit looks like after a job that is done decides.
func TestUnitDone(t *testing.T) {
	down := []any{"ActiveState", "inactive", "SubState", "dead", "MainPID", uint32(0)}
	for name, c := range map[string]struct {
		line          string
		before, after []any
		outcome       netwatch.Outcome
		want          string
	}{
		"restart": {
			"restart t.service", nil,
			[]any{"InvocationID", []byte{2}, "MainPID", uint32(1234)},
			netwatch.Changed, "active (running), main process 1234",
		},
		"restart dead": {
			"restart t.service", nil, down, netwatch.Failed,
			"its job is done, but the unit is inactive (dead)",
		},
		"restart crash loop": {"restart t.service", nil, []any{
			"ActiveState", "activating", "SubState", "auto-restart",
			"Result", "exit-code",
		}, netwatch.Failed, "auto-restart"},
		"start stopped": {
			"start t.service", down,
			[]any{"ActiveState", "active", "InvocationID", []byte{2}},
			netwatch.Changed, "active",
		},
		"start running": {"start t.service", nil, nil, netwatch.Unchanged, "was running"},
		"start oneshot": {"start t.service", append(down, "Type", "oneshot"), nil, netwatch.Changed, "inactive"},
		"start oneshot failed": {
			"start t.service", append(down, "Type", "oneshot"),
			[]any{"Result", "exit-code"},
			netwatch.Failed, "exit-code",
		},
		"condition": {
			"restart t.service", nil, append(down, "ConditionResult", false), netwatch.Failed,
			"condition of the unit is not met",
		},
		"oneshot condition": {
			"restart t.service", append(down, "Type", "oneshot"),
			[]any{"ConditionResult", false},
			netwatch.Failed, "condition of the unit is not met",
		},
		"try-restart stopped": {"try-restart t.service", down, nil, netwatch.Unchanged, "was not running"},
		"try-restart dead":    {"try-restart t.service", nil, down, netwatch.Failed, "journalctl"},
		"reload":              {"reload t.service", nil, nil, netwatch.Changed, "main process 100"},
		"reload failed": {
			"reload t.service", nil,
			[]any{"ReloadResult", "exit-code"},
			netwatch.Failed,
			"reload ended in exit-code",
		},
		"reload kills": {"reload t.service", nil, []any{"InvocationID", []byte{2}}, netwatch.Failed, "started again"},
		"reload or restart": {
			"reload-or-restart t.service",
			[]any{"CanReload", false},
			[]any{"InvocationID", []byte{2}},
			netwatch.Changed, "active",
		},
		"stop":         {"stop t.service", nil, down, netwatch.Changed, "inactive (dead)"},
		"stop stopped": {"stop t.service", down, nil, netwatch.Unchanged, "was not running"},
		"stop in vain": {"stop t.service", nil, nil, netwatch.Failed, "starts it again"},
	} {
		t.Run(name, func(t *testing.T) {
			f := systemdtest.New(t)
			f.Set(c.before...)
			f.Does(func(f *systemdtest.Fake, _ string) string { f.Set(c.after...); return "done" })
			wantResult(t, do(t, Env{}, c.line, 5*time.Second), c.outcome, c.want)
			if len(f.Asked()) != 1 || !strings.HasSuffix(f.Asked()[0], "Unit replace") {
				t.Errorf("systemd was called with %q", f.Asked())
			}
		})
	}
}

// systemd forgets a unit that does not run as soon as its job is done, and then
// says what a unit never started says: only the signal told.
func TestUnitConditionForgotten(t *testing.T) {
	f := systemdtest.New(t)
	f.Set("ActiveState", "inactive", "SubState", "dead", "Type", "oneshot")
	f.Does(func(f *systemdtest.Fake, _ string) string {
		f.Set("ConditionResult", false, "ConditionTimestamp", uint64(8))
		f.SetUntold("ConditionTimestamp", uint64(0))
		return "done"
	})
	wantResult(t, do(t, Env{}, "start t.service", 5*time.Second), netwatch.Failed, "condition of the unit is not met")
}

// A program that dies a moment after its start leaves a job that is done.
func TestUnitDiesAfterDone(t *testing.T) {
	for name, after := range map[string][]any{
		"for good":          {"ActiveState", "failed", "SubState", "failed", "Result", "exit-code"},
		"and comes back":    {"InvocationID", []byte{3}, "NRestarts", uint32(1), "MainPID", uint32(300)},
		"and waits to":      {"ActiveState", "activating", "SubState", "auto-restart"},
		"and is taken down": {"ActiveState", "deactivating", "SubState", "stop-sigterm"},
	} {
		t.Run(name, func(t *testing.T) {
			f := systemdtest.New(t)
			f.Does(func(f *systemdtest.Fake, call string) string {
				time.AfterFunc(watchSpan/2, func() { f.Set(after...) })
				return systemdtest.Restarted(f, call)
			})
			wantResult(t, do(t, Env{}, "restart t.service", 5*time.Second), netwatch.Failed, "journalctl -u t.service")
		})
	}
}

func TestUnitDeadline(t *testing.T) {
	for state, want := range map[string]string{
		"reloading": "RELOADING=1 and never READY=1", "activating": "a port that is in use",
		"deactivating": "TimeoutStopSec", "active": "systemctl list-jobs",
	} {
		t.Run(state, func(t *testing.T) {
			f := systemdtest.New(t)
			f.Does(func(f *systemdtest.Fake, _ string) string {
				f.Set("ActiveState", state)
				<-t.Context().Done()
				return "done"
			})
			begun := time.Now()
			wantResult(t, do(t, Env{}, "reload t.service", 300*time.Millisecond), netwatch.Failed, "no end in time",
				"the unit is "+state, "deadline exceeded", want)
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("it took %s beyond a deadline of 300ms", took)
			}
		})
	}
}

// With ExecReload=/bin/kill -HUP $MAINPID systemd's job is done before the
// program says RELOADING=1: the reload ends when the program says READY=1.
func TestUnitReloadsAfterItsJob(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(func(f *systemdtest.Fake, _ string) string {
		time.AfterFunc(watchSpan/2, func() { f.Set("ActiveState", "reloading") })
		return "done"
	})
	wantResult(t, do(t, Env{}, "reload t.service", time.Second), netwatch.Failed, "no end in time",
		"RELOADING=1 and never READY=1")
	time.AfterFunc(2*watchSpan, func() { f.Set("ActiveState", "active") })
	wantResult(t, do(t, Env{}, "reload t.service", 5*time.Second), netwatch.Changed, "active")
}

// The signal is lost, and the job is gone: the unit tells how it went.
func TestUnitSignalLost(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(systemdtest.Restarted)
	f.Silences()
	wantResult(t, do(t, Env{}, "restart t.service", 10*time.Second), netwatch.Changed, "main process 200")
	f.Does(func(*systemdtest.Fake, string) string { return "canceled" })
	wantResult(t, do(t, Env{}, "restart t.service", 10*time.Second), netwatch.Failed, "was not started")
}

// The bus goes away in the middle of the job and another one comes in its
// place; systemd still has the job.
func TestUnitBusRestarted(t *testing.T) {
	f := systemdtest.New(t)
	ended := make(chan struct{})
	f.Does(func(f *systemdtest.Fake, call string) string {
		defer close(ended)
		job := <-f.Awaited
		f.NewBus(t, job)
		return systemdtest.Restarted(f, call)
	})
	wantResult(t, do(t, Env{}, "restart t.service", 20*time.Second), netwatch.Changed, "main process 200")
	<-ended
}

// The bus goes away and stays away.
func TestUnitBusGone(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(func(f *systemdtest.Fake, _ string) string {
		<-f.Awaited
		f.EndBus()
		return "done"
	})
	begun := time.Now()
	wantResult(t, do(t, Env{}, "restart t.service", 1500*time.Millisecond), netwatch.Failed,
		"no end in time", "the system bus does not answer", "deadline exceeded", "systemctl status dbus")
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
	wantResult(t, do(t, Env{}, "restart t.service", time.Second), netwatch.Failed, "connecting to the system bus",
		"systemctl status dbus")
}

// A step whose time is over while systemd waits for polkit names polkit, and has told
// what it waits for.
func TestUnitPolkitHangs(t *testing.T) {
	f := systemdtest.New(t)
	holds := make(chan struct{})
	defer close(holds)
	f.Holds(holds)
	f.Does(func(*systemdtest.Fake, string) string { return "done" })
	for _, line := range []string{"restart t.service", "signal HUP t.service"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		var waits []string
		got := step(t, Env{}, line).Do(ctx, netwatch.Job{Waiting: func(what string) { waits = append(waits, what) }})
		cancel()
		wantResult(t, got, netwatch.Failed,
			"polkit does not answer systemd", "deadline exceeded", "systemctl restart polkit.service")
		if !slices.Contains(waits, "systemd, process 1") ||
			waits[len(waits)-1] != "systemd, which asks polkit whether it may" {
			t.Errorf("%s waits for %q", line, waits)
		}
	}
}

// The bus goes away before the answer: whether there is a job is unknown.
func TestUnitAnswerLost(t *testing.T) {
	f := systemdtest.New(t)
	f.LosesBus()
	wantResult(t, do(t, Env{}, "restart t.service", 10*time.Second), netwatch.Failed, "the system bus went away")
}

// A start is recorded before the job, and those that are too many are held.
func TestUnitHeld(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(systemdtest.Restarted)
	starts := &fakeStarts{}
	env := Env{Starts: starts}
	for range 4 {
		wantResult(t, do(t, env, "restart t.service", 5*time.Second), netwatch.Changed)
	}
	r := do(t, env, "restart t.service", 5*time.Second)
	wantResult(t, r, netwatch.Held, "systemd allows t.service 5 starts in 10s")
	if want := starts.times[0].Add(10*time.Second + time.Second); !r.Until.Equal(want) {
		t.Errorf("held until %s, want %s", r.Until, want)
	}
	if len(f.Asked()) != 4 || len(starts.times) != 4 {
		t.Errorf("%d jobs and %d starts recorded, want 4", len(f.Asked()), len(starts.times))
	}
	f.Does(func(*systemdtest.Fake, string) string { return "done" })
	wantResult(t, do(t, env, "reload t.service", 5*time.Second), netwatch.Changed)
	wantResult(t, do(t, env, "reload-or-restart t.service", 5*time.Second), netwatch.Changed)
	f.Set("CanReload", false)
	wantResult(t, do(t, env, "reload-or-restart t.service", 5*time.Second), netwatch.Held)
}

// A connection lives as long as its step.
func TestUnitLeavesNothing(t *testing.T) {
	f := systemdtest.New(t)
	f.Does(systemdtest.Restarted)
	before := goleak.IgnoreCurrent()
	wantResult(t, step(t, Env{}, "restart t.service").Do(t.Context(), netwatch.Job{}), netwatch.Changed)
	goleak.VerifyNone(t, before)
}
