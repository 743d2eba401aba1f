package actions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/systemd/systemdtest"
)

func TestSignal(t *testing.T) {
	dead := []any{"ActiveState", "inactive", "SubState", "dead", "MainPID", uint32(0)}
	for name, c := range map[string]struct {
		line    string
		effect  []any
		outcome netwatch.Outcome
		want    string
	}{
		"handled": {"signal HUP t.service", nil, netwatch.Changed, "main process 100"},
		"killed":  {"signal HUP t.service", dead, netwatch.Failed, "does not handle that signal"},
		"killed, back": {
			"signal USR2 t.service",
			[]any{"InvocationID", []byte{2}, "MainPID", uint32(300)},
			netwatch.Failed,
			"does not handle that signal",
		},
		"handed over":   {"signal USR2 t.service", []any{"MainPID", uint32(300)}, netwatch.Changed, "main process 300"},
		"meant to end":  {"signal SIGTERM t.service", dead, netwatch.Changed, "inactive (dead)"},
		"never READY=1": {"signal HUP t.service", []any{"ActiveState", "reloading"}, netwatch.Failed, "never READY=1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := systemdtest.New(t)
			f.Does(func(f *systemdtest.Fake, _ string) string {
				time.AfterFunc(watchSpan/4, func() { f.Set(c.effect...) })
				return ""
			})
			begun := time.Now()
			wantResult(t, do(t, Env{}, c.line, 1100*time.Millisecond), c.outcome, c.want)
			if took := time.Since(begun); took > 1800*time.Millisecond {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestSignalStopped(t *testing.T) {
	f := systemdtest.New(t)
	f.Set("ActiveState", "inactive", "SubState", "dead", "MainPID", uint32(0))
	f.Does(func(*systemdtest.Fake, string) string { return "" })
	wantResult(t, do(t, Env{}, "signal HUP t.service", time.Second), netwatch.Failed, "no main process", "inactive (dead)")
	if len(f.Asked()) != 0 {
		t.Errorf("systemd was called with %q", f.Asked())
	}
}

// A signal waits until the program has started.
func TestSignalWaitsForStart(t *testing.T) {
	f := systemdtest.New(t)
	f.Set("ActiveState", "activating")
	early := make(chan bool, 1)
	f.Does(func(f *systemdtest.Fake, _ string) string {
		early <- f.Get("ActiveState") == "activating"
		return ""
	})
	time.AfterFunc(100*time.Millisecond, func() { f.Set("ActiveState", "active") })
	begun := time.Now()
	wantResult(t, do(t, Env{}, "signal HUP t.service", 5*time.Second), netwatch.Changed)
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it took %s, so nothing but the slow look woke it", took)
	}
	if len(early) != 1 || <-early {
		t.Error("the signal came while the program was starting, or never")
	}
}

// SIGUSR1 is sent to a coturn only if that drains of it.
func TestSignalDrain(t *testing.T) {
	for answer, want := range map[string]string{
		"4.6.1":                   "SIGUSR1 kills coturn 4.6.1",
		"3.9":                     "kills coturn",
		"coturn 4.6.99 'x'\n4.18": "kills coturn",
		"4.7.0":                   "",
		"4.18.0":                  "",
		"5.0":                     "",
		"no idea":                 "cannot be found out",
	} {
		t.Run(answer, func(t *testing.T) {
			f := systemdtest.New(t)
			program := filepath.Join(t.TempDir(), "turnserver")
			script := "#!/bin/sh\n[ \"$1\" = --version ] && cat <<'END'\n" + answer + "\nEND\n"
			if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			f.Set("ExecStart", []execStart{{Path: program}})
			f.Does(func(*systemdtest.Fake, string) string { return "" })
			r := do(t, Env{}, "signal USR1 t.service", 5*time.Second)
			if want == "" {
				wantResult(t, r, netwatch.Changed)
				return
			}
			wantResult(t, r, netwatch.Failed, want, `use "signal USR2"`)
			if len(f.Asked()) != 0 {
				t.Errorf("systemd was called with %q", strings.Join(f.Asked(), ", "))
			}
		})
	}
}

// SIGHUP is not sent to what dies of it.
func TestSignalKills(t *testing.T) {
	for program, kills := range map[string]bool{"/opt/livekit-server": true, "/usr/bin/janus": true, "/bin/x": false} {
		f := systemdtest.New(t)
		f.Set("ExecStart", []execStart{{Path: program}})
		f.Does(func(*systemdtest.Fake, string) string { return "" })
		r := do(t, Env{}, "signal HUP t.service", 5*time.Second)
		if !kills {
			wantResult(t, r, netwatch.Changed)
			continue
		}
		wantResult(t, r, netwatch.Failed, "SIGHUP kills "+filepath.Base(program), `use "restart t.service"`)
		if len(f.Asked()) != 0 {
			t.Errorf("systemd was called with %q", f.Asked())
		}
	}
}

// execStart is an element of ExecStart: path, arguments, whether failure is
// ignored, four timestamps, process, code and status.
type execStart struct {
	Path           string
	Args           []string
	Ignore         bool
	A, B, C, D     uint64
	PID            uint32
	Code, ExitCode int32
}
