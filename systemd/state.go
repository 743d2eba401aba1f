package systemd

import (
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// A State is what systemd says about a unit at one moment. Properties that
// a type of unit or an older systemd does not have are empty.
type State struct {
	// ID is the name of the unit itself, where it was asked for by an alias.
	ID string
	// Load, Active and Sub are LoadState, ActiveState and SubState.
	Load, Active, Sub string
	// Result and ReloadResult are how it ended, and how its last reload did.
	Result, ReloadResult string
	// Invocation is the invocation id: each start has another.
	Invocation string
	// Program is the first of ExecStart, and Words are all words of it, the program's
	// name being the first.
	Program string
	Words   []string
	// Environ are the names of the variables that the unit sets itself, not in a file.
	Environ []string
	// MainPID is the main process, 0 if there is none.
	MainPID uint32
	// Limit is its start limit.
	Limit Limit

	mark       mark
	kind       string // Type
	remains    bool   // RemainAfterExit
	restarts   uint32 // automatic ones since the last start by hand
	canReload  bool
	queued     bool          // that a job for it waits or runs
	started    time.Time     // by the clock of the wall, InactiveExitTimestamp
	startedAgo time.Duration // by the monotonic clock, as systemd reckons; -1 is never
	loadError  string
}

// State reads how the unit is now; it needs no privilege.
func (u *Unit) State(ctx context.Context) (st State, err error) {
	err = u.through(ctx, func() (err error) { st, err = u.state(ctx); return err })
	if err != nil {
		return st, u.explain(ctx, "", err)
	}
	return st, nil
}

// state reads the unit.
func (u *Unit) state(ctx context.Context) (State, error) {
	p := map[string]dbus.Variant{}
	interfaces := []string{systemd + ".Unit"}
	if strings.HasSuffix(u.name, ".service") {
		interfaces = append(interfaces, systemd+".Service")
	}
	for _, name := range interfaces {
		var some map[string]dbus.Variant
		err := u.conn.Object(systemd, u.path).CallWithContext(ctx, properties+".GetAll", 0, name).Store(&some)
		if err != nil {
			return State{}, fmt.Errorf("reading the state of %s: %w", u.name, orCause(ctx, err))
		}
		for k, v := range some {
			p[k] = v
		}
	}
	st := stateOf(p, u.bus)
	u.id = st.ID
	return st, nil
}

func stateOf(p map[string]dbus.Variant, bus *Bus) State {
	st := State{
		mark: markOf(p),
		ID:   value[string](p, "Id"), Load: value[string](p, "LoadState"),
		Active: value[string](p, "ActiveState"), Sub: value[string](p, "SubState"),
		Result: value[string](p, "Result"), ReloadResult: value[string](p, "ReloadResult"), kind: value[string](p, "Type"),
		remains:    value[bool](p, "RemainAfterExit"),
		Invocation: hex.EncodeToString(value[[]byte](p, "InvocationID")),
		MainPID:    value[uint32](p, "MainPID"), restarts: value[uint32](p, "NRestarts"),
		canReload: value[bool](p, "CanReload"),
		Limit: Limit{
			burst:    int(value[uint32](p, "StartLimitBurst")),
			interval: microseconds(value[uint64](p, "StartLimitIntervalUSec")),
		},
		//nolint:gosec // It fits until the year 294246.
		started:    time.UnixMicro(int64(value[uint64](p, "InactiveExitTimestamp"))),
		startedAgo: bus.ago(value[uint64](p, "InactiveExitTimestampMonotonic")),
	}
	if commands := value[[][]any](p, "ExecStart"); len(commands) > 0 && len(commands[0]) > 1 {
		st.Program, _ = commands[0][0].(string)
		st.Words, _ = commands[0][1].([]string)
	}
	for _, text := range value[[]string](p, "Environment") {
		name, _, _ := strings.Cut(text, "=")
		st.Environ = append(st.Environ, name)
	}
	if job := value[[]any](p, "Job"); len(job) > 0 {
		st.queued = job[0] != uint32(0)
	}
	if e := value[[]any](p, "LoadError"); len(e) == 2 {
		st.loadError, _ = e[1].(string)
	}
	return st
}

func value[T any](p map[string]dbus.Variant, name string) T {
	v, _ := p[name].Value().(T)
	return v
}

// unmet says whether conditions were checked and one was not met.
func unmet(p map[string]dbus.Variant) bool {
	return !value[bool](p, "ConditionResult") && value[uint64](p, "ConditionTimestamp") != 0
}

// microseconds is a span as D-Bus gives it. systemd's "infinity" is the largest
// number, which a Duration cannot hold; a century is as long for us.
func microseconds(us uint64) time.Duration {
	const century = uint64(100 * 365 * 24 * time.Hour / time.Microsecond)
	return time.Duration(min(us, century)) * time.Microsecond
}

// Running says whether the unit is up, as far as systemd knows.
func (st State) Running() bool {
	return st.Active == "active" || st.Active == "reloading" || st.Active == "refreshing"
}

// StartedAfter says whether the unit runs and was started after a time. Both clocks must
// say so: the one of the wall may have been set meanwhile.
func (st State) StartedAfter(at time.Time) bool {
	return st.Running() && !at.IsZero() && st.startedAgo >= 0 && st.started.After(at) && st.startedAgo < time.Since(at)
}

// Engages says whether the unit runs a client of an engine of containers, which it was only
// just begun with since a time: its container comes when the engine is done.
func (st State) Engages(since time.Time) bool { return st.CallsEngine() && st.StartedAfter(since) }

// CallsEngine says whether what the unit starts is a client of an engine of containers.
func (st State) CallsEngine() bool {
	return slices.ContainsFunc(strings.Fields(strings.Join(st.Words, " ")), func(word string) bool {
		name := path.Base(word)
		return strings.HasPrefix(name, "docker") || strings.HasPrefix(name, "podman")
	})
}

// Moving says that the unit is being started or stopped, and will soon be another.
func (st State) Moving() bool { return st.Active == "activating" || st.Active == "deactivating" }

// Starts says whether what the unit starts is given a file.
func (st State) Starts(file string) bool { return StartedWith(strings.Join(st.Words, " "), file) }

// Down says that the unit has ended and is not being started.
func (st State) Down() bool { return st.Active == "inactive" || st.Active == "failed" }

// Idles says whether the unit is a oneshot that has nothing to do now. It is so whenever it
// has not, which says nothing about what it does something to, as a container.
func (st State) Idles() bool { return st.kind == "oneshot" && !st.remains && st.Active == "inactive" }

// Ended says whether the unit is a oneshot that has run to its end, so that nothing
// of it need run.
func (st State) Ended() bool { return st.Idles() && st.Result == "success" }

// Stopped says whether somebody has stopped the unit, so that it stays so.
func (st State) Stopped() bool { return st.Active == "inactive" && !st.Idles() }

// String is the state as systemctl shows it.
func (st State) String() string {
	text := fmt.Sprintf("%s (%s)", st.Active, st.Sub)
	if st.MainPID != 0 {
		text += fmt.Sprintf(", main process %d", st.MainPID)
	}
	if st.Result != "" && st.Result != "success" {
		text += ", result " + st.Result
	}
	return text
}

// Watch reads the unit until enough says yes to its state, or span is over, and
// returns the state that it read last. If ctx ends before that, the error tells how
// the unit is.
func (u *Unit) Watch(ctx context.Context, span time.Duration, enough func(State) bool) (State, error) {
	st, err := u.watch(ctx, span, enough)
	if err != nil {
		return st, u.overdue(ctx, err)
	}
	return st, nil
}

// watch is Watch with the bare error. Signals of systemd wake it, and it looks every
// second besides.
func (u *Unit) watch(ctx context.Context, span time.Duration, enough func(State) bool) (State, error) {
	u.waitsFor("what becomes of the unit")
	slow := time.NewTicker(slowLook)
	defer slow.Stop()
	end := time.After(span)
	for over := false; ; {
		st, err := u.awaitState(ctx)
		if err != nil || over || enough(st) {
			return st, err
		}
		select {
		case <-u.signals:
		case <-slow.C:
		case <-end:
			over = true
		case <-ctx.Done():
			return st, context.Cause(ctx)
		}
	}
}

// awaitState is state, but waits while the bus or systemd is away.
func (u *Unit) awaitState(ctx context.Context) (st State, err error) {
	err = u.again(ctx, func() (err error) { st, err = u.state(ctx); return err })
	return st, err
}
