package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/systemd"
)

// signalUsage is what follows the verb.
const signalUsage = "SIGNAL UNIT [always]"

// A signalAction sends a signal to the main process of a service.
type signalAction struct {
	signal syscall.Signal
	unit   string
}

// newSignal makes the step `signal SIGNAL UNIT [always]`.
func newSignal(_ Env, verb string, words []string) (netwatch.Step, error) {
	if len(words) == 0 {
		return netwatch.Step{}, fmt.Errorf("a signal is missing: %s %s", verb, signalUsage)
	}
	sig, err := parseSignal(words[0])
	if err != nil {
		return netwatch.Step{}, err
	}
	unit, always, err := unitWords(words[1:], verb+" "+signalUsage)
	if err != nil {
		return netwatch.Step{}, err
	}
	if !strings.HasSuffix(unit, ".service") {
		return netwatch.Step{}, fmt.Errorf("unit %q has no main process to signal: only a .service has", unit)
	}
	return netwatch.Step{Action: &signalAction{sig, unit}, Gated: !always}, nil
}

// parseSignal takes the name of a signal with or without SIG, and refuses those
// that no program acts on sensibly.
func parseSignal(name string) (syscall.Signal, error) {
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG"))
	switch sig {
	case 0:
		return 0, fmt.Errorf("%q is not a signal: write it as HUP, USR2 or TERM", name)
	case unix.SIGSTOP, unix.SIGTSTP:
		return 0, fmt.Errorf("signal %s would leave the program standing still", name)
	case unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSYS, unix.SIGPIPE, unix.SIGCHLD,
		unix.SIGXCPU, unix.SIGXFSZ:
		return 0, fmt.Errorf("signal %s is for the kernel to send", name)
	}
	return sig, nil
}

// ends says that the signal is meant to end a program.
func ends(sig syscall.Signal) bool {
	switch sig {
	case unix.SIGTERM, unix.SIGKILL, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT:
		return true
	}
	return false
}

// Do sends the signal and watches what it does, for systemd calls it a success
// when a program dies of a signal that it does not handle.
func (a *signalAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	result, err := a.do(ctx, job)
	if err != nil {
		return netwatch.Failure(fmt.Errorf("sending %s to %s: %w", unix.SignalName(a.signal), a.unit, err))
	}
	return result
}

func (a *signalAction) do(ctx context.Context, job netwatch.Job) (netwatch.Result, error) {
	u, err := systemd.Open(ctx, a.unit, job)
	if err != nil {
		return netwatch.Result{}, err
	}
	defer u.Close()
	before, err := a.ready(ctx, u)
	if err != nil {
		return netwatch.Result{}, err
	}
	if a.signal == unix.SIGUSR1 && path.Base(before.Program) == "turnserver" {
		if err := drains(ctx, before.Program); err != nil {
			return netwatch.Result{}, err
		}
	}
	if err := u.Signal(ctx, a.signal); err != nil {
		return netwatch.Result{}, err
	}
	after, err := a.watch(ctx, u, before)
	if err != nil {
		return netwatch.Result{}, err
	}
	return a.judge(before, after)
}

// forever is a span that no deadline reaches.
const forever = 24 * 365 * time.Hour

// ready is the state of the unit once it has started: a program that has not
// yet set up its handlers dies of the signal, as Synapse does of SIGHUP.
func (a *signalAction) ready(ctx context.Context, u *systemd.Unit) (systemd.State, error) {
	st, err := u.Watch(ctx, forever, func(st systemd.State) bool { return st.Active != "activating" })
	switch {
	case err != nil:
		return st, err
	case st.Load == "not-found" && st.Down():
		return st, u.NoSuchUnit(ctx)
	case !st.Running() || st.MainPID == 0:
		return st, netwatch.WithHint(fmt.Errorf("it has no main process: the unit is %s", st),
			"see systemctl status "+a.unit+" for why it does not run")
	}
	return st, nil
}

// watch looks at the unit for a while, and for as long as it says that it is
// reloading.
func (a *signalAction) watch(ctx context.Context, u *systemd.Unit, before systemd.State) (systemd.State, error) {
	st, err := u.Watch(ctx, watchSpan, func(st systemd.State) bool { return !same(before, st) })
	if err == nil && (ends(a.signal) || !same(before, st)) {
		return u.Watch(ctx, watchSpan, func(st systemd.State) bool { return !st.Running() })
	}
	if err != nil {
		return st, err
	}
	return u.Watch(ctx, forever, func(st systemd.State) bool { return st.Active != "reloading" })
}

// same says that the unit runs on with the process it had. A program may hand
// over to another process of its own, which systemd does not call a new
// invocation.
func same(before, st systemd.State) bool {
	return st.Running() && st.MainPID != 0 && st.Invocation == before.Invocation
}

func (a *signalAction) judge(before, after systemd.State) (netwatch.Result, error) {
	if ends(a.signal) || same(before, after) {
		return netwatch.Result{Outcome: netwatch.Changed, Detail: after.String()}, nil
	}
	err := fmt.Errorf("the program ended of it: the unit is %s", after)
	hint := fmt.Sprintf("it does not handle that signal: use \"restart %s\"", a.unit)
	return netwatch.Result{}, netwatch.WithHint(err, hint)
}

// versionTime is what a program may take to print its version.
const versionTime = 5 * time.Second

var versionNumber = netwatch.Pattern(`([0-9]+)\.([0-9]+)`)

// drains says why SIGUSR1 must not be sent to a coturn: up to 4.6 it has no
// handler and dies (measured on 4.6.1), from 4.7.0 it drains. coturn prints its
// version on the first line of its output.
func drains(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Dir, cmd.Env, cmd.WaitDelay = "/", []string{cleanPath, cleanLang}, time.Second
	out, err := cmd.Output()
	first, _, _ := strings.Cut(string(out), "\n")
	number := versionNumber().FindStringSubmatch(first)
	if number == nil {
		err = cmp.Or(err, errors.New("no number in its answer"))
		return netwatch.WithHint(fmt.Errorf("the version of %s cannot be found out (%w), "+
			"and SIGUSR1 kills a coturn older than 4.7", program, err), instead)
	}
	major, _ := strconv.Atoi(number[1])
	minor, _ := strconv.Atoi(number[2])
	if major < 4 || major == 4 && minor < 7 {
		err := fmt.Errorf("SIGUSR1 kills coturn %s, only 4.7 and later drain", strings.TrimSpace(first))
		return netwatch.WithHint(err, instead)
	}
	return nil
}

const instead = "use \"signal USR2\" to have coturn read its certificates again, or \"restart\""
