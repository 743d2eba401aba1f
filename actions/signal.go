package actions

import (
	"context"
	"fmt"
	"path"
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
	bus    *systemd.Bus
}

// newSignal makes the step `signal SIGNAL UNIT [always]`.
func newSignal(env Env, verb string, words []string) (netwatch.Step, error) {
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
	return netwatch.Step{Action: &signalAction{sig, unit, env.Bus}, Gated: !always, Applies: true}, nil
}

// Needs is a signal to the unit.
func (a *signalAction) Needs() Needs { return unitNeed(a.unit, systemd.Kill) }

// parseSignal takes the name of a signal with or without SIG. It refuses signals on
// which no program can act sensibly.
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

// ends says whether the signal is meant to end a program.
func ends(sig syscall.Signal) bool {
	switch sig {
	case unix.SIGTERM, unix.SIGKILL, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT:
		return true
	}
	return false
}

// Do sends the signal and watches what comes of it: systemd calls it a success even
// if the program dies because it does not handle the signal.
func (a *signalAction) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	result, err := a.do(ctx, job)
	if err != nil {
		return netwatch.Failure(fmt.Errorf("sending %s to %s: %w", unix.SignalName(a.signal), a.unit, err))
	}
	return result
}

func (a *signalAction) do(ctx context.Context, job netwatch.Job) (netwatch.Result, error) {
	u, err := a.bus.Open(ctx, a.unit, job)
	if err != nil {
		return netwatch.Result{}, err
	}
	defer u.Close()
	before, err := a.ready(ctx, u)
	if err != nil {
		return netwatch.Result{}, err
	}
	if err := a.harmless(ctx, before.Program); err != nil {
		return netwatch.Result{}, err
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

// harmless says why the signal must not be sent to a program: it has no handler, and dies
// (measured on coturn 4.6.1, LiveKit 1.9.11 and 1.13.5, Janus 1.1.2).
func (a *signalAction) harmless(ctx context.Context, program string) error {
	switch name := path.Base(program); {
	case a.signal == unix.SIGUSR1 && name == "turnserver":
		return drains(ctx, program)
	case a.signal == unix.SIGHUP && (name == "livekit-server" || name == "janus"):
		return netwatch.WithHint(fmt.Errorf("SIGHUP kills %s, which reads its file only when it starts", name),
			fmt.Sprintf("use \"restart %s\"", a.unit))
	}
	return nil
}

// forever is longer than any deadline.
const forever = 24 * 365 * time.Hour

// ready waits until the unit has started, and returns its state. A program that has
// not set up its handlers yet dies of the signal, as Synapse does of SIGHUP.
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

// watch watches the unit for a while, and for as long as it says that it is
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

// same says whether the unit goes on with the process that it had. A program may hand
// over to another process of its own: systemd does not call that a new invocation.
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

// drains says why SIGUSR1 must not be sent to a coturn: up to 4.6 it has no
// handler and dies (measured on 4.6.1), from 4.7.0 it drains.
func drains(ctx context.Context, program string) error {
	version, said, err := versionOf(ctx, program)
	if err != nil {
		return netwatch.WithHint(fmt.Errorf("the version of %s cannot be found out (%w), "+
			"and SIGUSR1 kills a coturn older than 4.7", program, err), instead)
	}
	if !version.AtLeast(4, 7) {
		err := fmt.Errorf("SIGUSR1 kills coturn %s, only 4.7 and later drain", said)
		return netwatch.WithHint(err, instead)
	}
	return nil
}

const instead = "use \"signal USR2\" to have coturn read its certificates again, or \"restart\""
