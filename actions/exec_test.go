package actions

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// sh runs a script of the shell, and nothing is between: the program is sh.
func sh(t *testing.T, script string, deadline, grace time.Duration, job netwatch.Job) netwatch.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	return (&execAction{program: "/bin/sh", args: []string{"-c", script}, grace: grace}).Do(ctx, job)
}

func TestExecEnvironment(t *testing.T) {
	t.Setenv("SECRET", "yes")
	ev := netwatch.Event{Name: "ip-changed", ID: "abc", Source: "stun"}
	ev.Fields = map[string]string{"old": "192.0.2.1", "new": "192.0.2.2; $(id)", "family": "ipv4"}
	for name, value := range map[string]string{
		"else-where": "x", "a b": "x", "x=y": "x", "x\n": "x", "ıd": "x", "": "x", // Of these the first can be a variable.
		"config": "/tmp/x", "source": "x", "ID": "x", "ipv6": "x", "time": "x", // Of older versions, or forged.
		"not_after": "x", "Old": "x", // Others' variables.
	} {
		ev.Fields[name] = value
	}
	known := netwatch.Addresses{netwatch.IPv4: {Address: netip.MustParseAddr("192.0.2.2")}}
	file := filepath.Join(t.TempDir(), "env")
	r := sh(t, "env | sort >"+file+"; pwd; cat", 5*time.Second, time.Second, netwatch.Job{Event: ev, Confirmed: known})
	if r.Outcome != netwatch.Changed || r.Detail != "/" {
		t.Fatalf("%+v, want changed and / for a directory, and an empty input", r)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"LANG=C.UTF-8", "NETWATCH_ELSE_WHERE=x", "NETWATCH_EVENT=ip-changed", "NETWATCH_FAMILY=ipv4", "NETWATCH_ID=abc",
		"NETWATCH_IPV4=192.0.2.2", "NETWATCH_IPV6=", "NETWATCH_NEW=192.0.2.2; " +
			"$(id)", "NETWATCH_OLD=192.0.2.1", "NETWATCH_SOURCE=stun",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PWD=/",
	}
	for _, field := range netwatch.FieldNames() { // NETWATCH_FILE, NETWATCH_INTERFACE and so on
		if !slices.Contains([]string{"family", "new", "old"}, field) {
			want = append(want, netwatch.Variable(field)+"=")
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(string(got)), "\n")); diff != "" {
		t.Errorf("environment: wanted (-) and found (+):\n%s", diff)
	}
}

func TestExecArguments(t *testing.T) {
	s, err := newExec(Env{}, "exec", []string{"/usr/bin/printf", "%s,", "a b", "$HOME", "*"})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Do(t.Context(), netwatch.Job{}); r.Outcome != netwatch.Changed || r.Detail != "a b,$HOME,*," {
		t.Errorf("%+v", r)
	}
}

func TestExecFails(t *testing.T) {
	r := sh(t, `i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; printf 'wrong \033[31m\377\n' >&2; exit 3`,
		5*time.Second, time.Second, netwatch.Job{})
	if r.Err == nil {
		t.Fatalf("%+v, want a failure", r)
	}
	said := r.Err.Error()
	if !strings.Contains(said, "exit status 3") || !strings.HasSuffix(said, "line 2999 | wrong  [31m?") ||
		strings.Contains(said, "line 1000 ") {
		t.Errorf("it says %q", said)
	}
	if len(said) > 2*keptOutput {
		t.Errorf("%d bytes are said", len(said))
	}
	r = (&execAction{program: "/nonexistent/x", grace: time.Second}).Do(t.Context(), netwatch.Job{})
	wantResult(t, r, netwatch.Failed, "/nonexistent does not exist", "install it")
}

// At the deadline the whole process group ends, even what ignores SIGTERM.
func TestExecDeadline(t *testing.T) {
	for name, script := range map[string]string{
		"program":        `echo $$ >PIDFILE; exec sleep 60`,
		"child":          `sleep 60 & echo $! >PIDFILE; wait`,
		"stubborn":       `trap "" TERM; echo $$ >PIDFILE; while :; do sleep 0.05; done`,
		"stubborn child": `(trap "" TERM; while :; do sleep 0.05; done) & echo $! >PIDFILE; wait`,
		"without pipe":   `(trap "" TERM; while :; do sleep 0.05; done) >/dev/null 2>&1 & echo $! >PIDFILE; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pid")
			begun := time.Now()
			r := sh(t, strings.ReplaceAll(script, "PIDFILE", file), 2*time.Second, 200*time.Millisecond, netwatch.Job{})
			wantResult(t, r, netwatch.Failed, "deadline exceeded", "longer timeout")
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			wantGone(t, file)
		})
	}
}

// A program may end and leave a child that keeps its output open: neither does
// the step wait for that, nor does the child stay.
func TestExecLeavesChild(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	r := sh(t, "echo all well; sleep 60 & echo $! >"+file, 10*time.Second, 200*time.Millisecond, netwatch.Job{})
	wantResult(t, r, netwatch.Changed, "all well")
	wantGone(t, file)
}

// A program may ask to be told of its end.
func TestExecTerminated(t *testing.T) {
	r := sh(t, `trap "echo cleaned up; exit 0" TERM; echo ready; while :; do sleep 0.05; done`, 2*time.Second,
		5*time.Second, netwatch.Job{})
	wantResult(t, r, netwatch.Failed, "cleaned up")
}

// wantGone waits until the process whose id is in file is no more, or only a
// zombie for its parent to reap.
func wantGone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	for end := time.Now().Add(2 * time.Second); alive(pid); {
		if time.Now().After(end) {
			t.Errorf("process %d still runs", pid)
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

func alive(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(after, "Z")
}

// What others could write is not run.
func TestExecTrust(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "sub", "program")
	link := filepath.Join(dir, "link")
	for _, err := range []error{
		os.Mkdir(filepath.Dir(program), 0o700),
		os.WriteFile(program, []byte("#!/bin/sh\necho ran\n"), 0o700),
		os.Symlink("sub/program", link),
		os.Symlink("sub/../sub/program", filepath.Join(dir, "odd")),
		os.Symlink("loop", filepath.Join(dir, "loop")),
		os.MkdirAll(filepath.Join(dir, "other", "deep"), 0o700),
		os.Symlink(program, filepath.Join(dir, "other", "program")),
		os.Symlink("other/deep", filepath.Join(dir, "away")),
		os.Symlink("away/../program", filepath.Join(dir, "astray")), // Over other/
		os.Chmod(filepath.Join(dir, "other"), 0o707),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(path string) netwatch.Result {
		return (&execAction{program: path, grace: time.Second}).Do(t.Context(), netwatch.Job{})
	}
	wantResult(t, run(program), netwatch.Changed, "ran")
	wantResult(t, run(link), netwatch.Changed, "ran")
	wantResult(t, run(filepath.Join(dir, "odd")), netwatch.Changed, "ran")
	wantResult(t, run(filepath.Join(dir, "astray")), netwatch.Failed, "other is not safe to run: everyone may write")
	if r := run(filepath.Join(dir, "loop")); r.Err == nil || !strings.Contains(r.Err.Error(), "too many symlinks") {
		t.Errorf("a loop: %+v", r)
	}
	for _, c := range []struct {
		path string
		mode os.FileMode
		want string
	}{
		{program, 0o702, "program is not safe to run: everyone may write"},
		{filepath.Dir(program), 0o707, "sub is not safe to run: everyone may write"},
		{dir, 0o703, dir + " is not safe to run: everyone may write"},
	} {
		was, err := os.Stat(c.path)
		if err != nil {
			t.Fatal(err)
		}
		chmod(t, c.path, c.mode)
		wantResult(t, run(program), netwatch.Failed, c.want, "chmod o-w "+c.path)
		wantResult(t, run(link), netwatch.Failed, c.want)
		wantResult(t, run(filepath.Join(dir, "odd")), netwatch.Failed, c.want)
		chmod(t, c.path, was.Mode())
	}
	chmod(t, dir, 0o777|os.ModeSticky)
	wantResult(t, run(program), netwatch.Changed, "ran")
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
