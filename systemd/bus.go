package actions

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"netwatch"
)

// The names of systemd's D-Bus interface, org.freedesktop.systemd1(5).
const (
	systemd      = "org.freedesktop.systemd1"
	manager      = systemd + ".Manager"
	managerPath  = dbus.ObjectPath("/org/freedesktop/systemd1")
	properties   = "org.freedesktop.DBus.Properties"
	busError     = "org.freedesktop.DBus.Error."
	polkit       = "org.freedesktop.PolicyKit1"
	polkitAction = systemd + ".manage-units"
)

const (
	// slowLook is how often the state is read although no signal said so: a
	// signal may be lost, and then this is what ends the wait.
	slowLook = time.Second
	// redialPause is between two attempts to reach a bus that went away.
	redialPause = 100 * time.Millisecond
	// lastLook is what the look at a unit after the deadline may take.
	lastLook = time.Second
)

// Whom a step waits for. The last two are what systemd says: polkit is asked by
// it, and by nobody else.
const (
	theBus     = "the system bus"
	theSystemd = "systemd, process 1"
	thePolkit  = "systemd, which asks polkit whether it may"
)

// silent is what is to be said of each of them that does not answer.
var silent = map[string]struct{ says, hint string }{
	theBus: {"the system bus does not answer", "see that dbus is installed and runs: systemctl status dbus"},
	theSystemd: {
		"systemd does not answer", "see whether systemctl status answers; " +
			"if not, journalctl -b _PID=1 may tell why, and a restart of the machine helps",
	},
	thePolkit: {
		"polkit does not answer systemd",
		"systemctl restart polkit.service; journalctl -u polkit.service may tell why",
	},
}

// lost stands for the result of a job that ended while nobody could hear it.
const lost = "lost"

// A unitBus is a connection to the system bus for what is done to one unit. It
// lives as long as one step: a connection takes a millisecond, and one that is
// not held cannot go stale.
type unitBus struct {
	unit    string
	id      string // the name that unit may be an alias of; polkit goes by it
	path    dbus.ObjectPath
	job     netwatch.Job
	conn    *dbus.Conn
	signals chan *dbus.Signal // closed with the connection
	awaits  string            // what the step waits for
	// unmet says that systemd last told of a condition of the unit that is not
	// met. It must be heard: once the job is done, systemd may forget a unit
	// that does not run, and with it what its conditions were.
	unmet bool
}

// openUnit connects and asks to be told of the unit's changes, for a job. The
// caller closes what it returns.
func openUnit(ctx context.Context, unit string, job netwatch.Job) (*unitBus, error) {
	b := &unitBus{unit: unit, job: job}
	err := b.dial(ctx)
	if err == nil {
		return b, nil
	}
	if b.conn == nil {
		return nil, netwatch.WithHint(fmt.Errorf("connecting to the system bus: %w", err), silent[theBus].hint)
	}
	err = fmt.Errorf("asking systemd about %s: %w", b.unit, b.explain(ctx, "", err))
	b.close()
	return nil, err
}

// dial connects and subscribes; the connection ends with ctx at the latest. The
// caller closes it, if there is one, whether it is of use or not.
func (b *unitBus) dial(ctx context.Context) error {
	b.waitsFor(theBus)
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return orCause(ctx, err)
	}
	b.conn, b.signals = conn, make(chan *dbus.Signal)
	conn.Signal(b.signals)
	b.waitsFor(theSystemd)
	return orCause(ctx, b.subscribe(ctx))
}

// waitsFor notes what the step waits for, and tells it.
func (b *unitBus) waitsFor(what string) {
	b.awaits = what
	b.job.WaitsFor(what)
}

// orCause is why ctx ended, if it did, since the errors that follow from that
// only say that something was closed.
func orCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// subscribe asks for the signals about jobs and about the unit. systemd sends
// those about units only while somebody is subscribed.
func (b *unitBus) subscribe(ctx context.Context) error {
	if err := b.call(ctx, "LoadUnit", b.unit).Store(&b.path); err != nil {
		return err
	}
	if err := b.call(ctx, "Subscribe").Err; err != nil {
		return err
	}
	err := b.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(systemd), dbus.WithMatchObjectPath(managerPath),
		dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved"))
	if err != nil {
		return err
	}
	return b.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(systemd), dbus.WithMatchObjectPath(b.path),
		dbus.WithMatchInterface(properties), dbus.WithMatchMember("PropertiesChanged"))
}

func (b *unitBus) close() {
	if b.conn != nil {
		_ = b.conn.Close()
	}
}

// call calls a method of systemd's manager.
func (b *unitBus) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return b.conn.Object(systemd, managerPath).CallWithContext(ctx, manager+"."+method, 0, args...)
}

// again does f until it succeeds or ctx ends, over a new connection if the bus
// went away. It is for what cannot fail but for a bus or a systemd that is
// being restarted.
func (b *unitBus) again(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(redialPause):
		}
		if !b.conn.Connected() {
			b.redial(ctx)
		}
	}
}

// redial replaces the connection if it can; if not, the old one stays closed.
func (b *unitBus) redial(ctx context.Context) {
	fresh := &unitBus{unit: b.unit}
	if err := fresh.dial(ctx); err != nil {
		b.awaits = fresh.awaits
		fresh.close()
		return
	}
	b.close()
	fresh.awaits, fresh.unmet = b.awaits, b.unmet
	*b = *fresh
}

// queue asks for a job and returns its object path. The mode "replace" lets it
// take the place of jobs that contradict it, as systemctl does.
func (b *unitBus) queue(ctx context.Context, method string) (dbus.ObjectPath, error) {
	b.waitsFor(thePolkit)
	var job dbus.ObjectPath
	err := b.call(ctx, method, b.unit, "replace").Store(&job)
	return job, err
}

// await returns the result of a job, or lost when it ended unheard, or an
// error when ctx ends. The signal alone is not believed in: it may be lost with
// the bus. A job keeps its path when systemd executes itself anew.
func (b *unitBus) await(ctx context.Context, job dbus.ObjectPath) (string, error) {
	b.waitsFor("the end of systemd's job")
	slow := time.NewTicker(slowLook)
	defer slow.Stop()
	for gone := false; ; {
		select {
		case sig, open := <-b.signals:
			b.hear(sig)
			if result, is := removed(sig, job); is && b.fromSystemd(ctx, sig) {
				return result, nil
			}
			if open {
				continue
			}
		case <-slow.C:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		was := gone
		err := b.again(ctx, func() (err error) { gone, err = b.gone(ctx, job); return err })
		if err != nil {
			return "", err
		}
		if was && gone { // twice, because the signal may be on its way
			return lost, nil
		}
	}
}

// fromSystemd says that a signal is systemd's: on the system bus everyone may
// send one to anyone, and what is sent to a connection needs no match.
func (b *unitBus) fromSystemd(ctx context.Context, sig *dbus.Signal) bool {
	var owner string
	err := b.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, systemd).Store(&owner)
	return err == nil && owner == sig.Sender
}

// removed is the result of the job if the signal says that it has ended.
// Signature of JobRemoved: id, job, unit, result.
func removed(sig *dbus.Signal, job dbus.ObjectPath) (string, bool) {
	if sig == nil || sig.Name != manager+".JobRemoved" || len(sig.Body) < 4 || sig.Body[1] != job {
		return "", false
	}
	result, is := sig.Body[3].(string)
	return result, is
}

// hear keeps what a signal about the unit says of its conditions. systemd sends
// it before the one about the job. Signature of PropertiesChanged: interface,
// changed properties, names of others.
func (b *unitBus) hear(sig *dbus.Signal) {
	if sig == nil || sig.Path != b.path || sig.Name != properties+".PropertiesChanged" || len(sig.Body) < 2 {
		return
	}
	changed, _ := sig.Body[1].(map[string]dbus.Variant)
	if _, told := changed["ConditionResult"]; told {
		b.unmet = unmet(changed)
	}
}

// unmet says that conditions were checked and one was not met.
func unmet(p map[string]dbus.Variant) bool {
	return !value[bool](p, "ConditionResult") && value[uint64](p, "ConditionTimestamp") != 0
}

// gone says whether the job's object exists no more.
func (b *unitBus) gone(ctx context.Context, job dbus.ObjectPath) (bool, error) {
	err := b.conn.Object(systemd, job).CallWithContext(ctx, properties+".Get", 0, systemd+".Job", "State").Err
	if isBusError(err, busError+"UnknownObject") {
		return true, nil
	}
	return false, err
}

// look reads the unit until enough is true of it or span is over, and returns
// what it read last. It is woken by systemd, and looks each second besides.
func (b *unitBus) look(ctx context.Context, span time.Duration, enough func(unitState) bool) (unitState, error) {
	b.waitsFor("what becomes of the unit")
	slow := time.NewTicker(slowLook)
	defer slow.Stop()
	end := time.After(span)
	for over := false; ; {
		st, err := b.settledState(ctx)
		if err != nil || over || enough(st) {
			return st, err
		}
		select {
		case <-b.signals:
		case <-slow.C:
		case <-end:
			over = true
		case <-ctx.Done():
			return st, context.Cause(ctx)
		}
	}
}

// settledState is state, but waits for a bus or a systemd that is away.
func (b *unitBus) settledState(ctx context.Context) (st unitState, err error) {
	err = b.again(ctx, func() (err error) { st, err = b.state(ctx); return err })
	return st, err
}

// A unitState is what systemd says about a unit at one moment. Properties that
// a type of unit or an older systemd does not have are empty.
type unitState struct {
	id                   string // the name that aliases stand for
	load, active, sub    string
	result, reload, kind string // Result, ReloadResult, Type
	invocation           string // another one after each start
	program              string // the first of ExecStart
	mainPID              uint32
	restarts             uint32 // automatic ones since the last start by hand
	canReload            bool
	limit                limit
	started              time.Time     // by the clock of the wall, InactiveExitTimestamp
	startedAgo           time.Duration // by the monotonic clock, as systemd reckons; -1 is never
	loadError            string
}

// state reads the unit; it needs no privilege.
func (b *unitBus) state(ctx context.Context) (unitState, error) {
	p := map[string]dbus.Variant{}
	interfaces := []string{systemd + ".Unit"}
	if strings.HasSuffix(b.unit, ".service") {
		interfaces = append(interfaces, systemd+".Service")
	}
	for _, name := range interfaces {
		var some map[string]dbus.Variant
		err := b.conn.Object(systemd, b.path).CallWithContext(ctx, properties+".GetAll", 0, name).Store(&some)
		if err != nil {
			return unitState{}, fmt.Errorf("reading the state of %s: %w", b.unit, orCause(ctx, err))
		}
		for k, v := range some {
			p[k] = v
		}
	}
	st := stateOf(p)
	b.id = st.id
	return st, nil
}

func stateOf(p map[string]dbus.Variant) unitState {
	st := unitState{
		id: value[string](p, "Id"), load: value[string](p, "LoadState"),
		active: value[string](p, "ActiveState"), sub: value[string](p, "SubState"),
		result: value[string](p, "Result"), reload: value[string](p, "ReloadResult"), kind: value[string](p, "Type"),
		invocation: hex.EncodeToString(value[[]byte](p, "InvocationID")),
		mainPID:    value[uint32](p, "MainPID"), restarts: value[uint32](p, "NRestarts"),
		canReload: value[bool](p, "CanReload"),
		limit: limit{
			burst:    int(value[uint32](p, "StartLimitBurst")),
			interval: microseconds(value[uint64](p, "StartLimitIntervalUSec")),
		},
		started:    time.UnixMicro(int64(value[uint64](p, "InactiveExitTimestamp"))), //nolint:gosec // Fits until the year 294246.
		startedAgo: ago(value[uint64](p, "InactiveExitTimestampMonotonic")),
	}
	if commands := value[[][]any](p, "ExecStart"); len(commands) > 0 && len(commands[0]) > 0 {
		st.program, _ = commands[0][0].(string)
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

// microseconds is a span that D-Bus gives. systemd's "infinity" is the largest
// number, which a Duration cannot hold; a century is as long for us.
func microseconds(us uint64) time.Duration {
	const century = uint64(100 * 365 * 24 * time.Hour / time.Microsecond)
	return time.Duration(min(us, century)) * time.Microsecond
}

// ago is how long ago an instant of CLOCK_MONOTONIC was; -1 if it never was.
func ago(us uint64) time.Duration {
	var now unix.Timespec
	if us == 0 || unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return -1
	}
	return max(0, time.Duration(now.Nano())-microseconds(us))
}

// running says that the unit is up, as far as systemd knows.
func (st unitState) running() bool {
	return st.active == "active" || st.active == "reloading" || st.active == "refreshing"
}

// down says that the unit has ended and is not being started.
func (st unitState) down() bool { return st.active == "inactive" || st.active == "failed" }

// ended says that the unit did all it had to do: a oneshot that ran through.
func (st unitState) ended() bool {
	return st.kind == "oneshot" && st.active == "inactive" && st.result == "success"
}

// String is the state as systemctl shows it.
func (st unitState) String() string {
	text := fmt.Sprintf("%s (%s)", st.active, st.sub)
	if st.mainPID != 0 {
		text += fmt.Sprintf(", main process %d", st.mainPID)
	}
	if st.result != "" && st.result != "success" {
		text += ", result " + st.result
	}
	return text
}

// overdue is the error for a wait that ctx has ended: it tells in which state
// the unit is, and what that means. It takes a new connection, for the old one
// has ended with ctx.
func (b *unitBus) overdue(ctx context.Context, cause error) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	st, err := b.settledState(last)
	if err != nil {
		return fmt.Errorf("no end in time, and %w", b.silence(cause))
	}
	hint := "see systemctl list-jobs for what it waits for"
	switch st.active {
	case "reloading":
		hint = fmt.Sprintf("it said RELOADING=1 and never READY=1: systemctl restart %s clears that, and journalctl -u %s may say why", b.unit, b.unit)
	case "activating":
		hint = fmt.Sprintf("see journalctl -u %s for what its start waits for, as a port that is in use", b.unit)
	case "deactivating":
		hint = fmt.Sprintf("it does not stop: see journalctl -u %s, and its TimeoutStopSec=", b.unit)
	}
	return netwatch.WithHint(fmt.Errorf("no end in time, the unit is %s: %w", st, cause), hint)
}

// unanswered is the error for a call that ctx has ended: it says who does not
// answer, which is whom the step waits for unless nobody before him does either.
func (b *unitBus) unanswered(ctx context.Context, cause error) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	_, _ = b.settledState(last) // It notes who does not answer.
	return b.silence(cause)
}

// silence is err, and who does not answer.
func (b *unitBus) silence(err error) error {
	s, known := silent[b.awaits]
	if !known {
		s = silent[theSystemd]
	}
	return netwatch.WithHint(fmt.Errorf("%s: %w", s.says, err), s.hint)
}

func isBusError(err error, names ...string) bool {
	var e dbus.Error
	return errors.As(err, &e) && slices.Contains(names, e.Name)
}

// explain is err with its remedy, for a refusal by systemd, D-Bus or polkit of
// what verb, by its name in polkit's rules, does to the unit. The names of the
// errors are those that systemd 252 gives.
func (b *unitBus) explain(ctx context.Context, verb string, err error) error {
	hint := ""
	switch {
	case ctx.Err() != nil:
		return b.unanswered(ctx, err)
	case b.awaits == thePolkit && timedOut(err):
		return b.silence(err)
	case isBusError(err, busError+"InteractiveAuthorizationRequired"):
		hint = b.grant(verb)
	case isBusError(err, busError+"AccessDenied"):
		hint = "polkit is not there to permit it: install polkitd"
		if b.hasPolkit(ctx) {
			hint = b.grant(verb)
		}
	case isBusError(err, systemd+".UnitMasked") && strings.Contains(err.Error(), "polkit.service") && b.unit != "polkit.service":
		hint = "polkit is masked and cannot permit it: systemctl unmask polkit.service"
	case isBusError(err, systemd+".UnitMasked"):
		hint = "systemctl unmask " + b.unit
	case isBusError(err, systemd+".NoSuchUnit"):
		return b.noSuchUnit(ctx)
	case isBusError(err, systemd+".NoSuchProcess"):
		hint = "see systemctl status " + b.unit + " for why it does not run"
	case isBusError(err, systemd+".JobTypeNotApplicable"):
		hint = fmt.Sprintf("it has no ExecReload=: use \"reload-or-restart %s\" or \"signal HUP %s\"", b.unit, b.unit)
	case isBusError(err, systemd+".BadUnitSetting", systemd+".LoadFailed"):
		hint = "see systemd-analyze verify " + b.unit
	case isBusError(err, busError+"InvalidArgs"):
		hint = "see that " + b.unit + " is the name that systemctl shows"
	case isBusError(err, busError+"ServiceUnknown", busError+"NameHasNoOwner", busError+"NoReply", busError+"Spawn.ChildExited"):
		hint = "systemd or polkit did not answer on the bus: see systemctl status dbus polkit"
	case !b.conn.Connected():
		hint = "the system bus went away: see systemctl status dbus"
	}
	if hint == "" {
		return err
	}
	return netwatch.WithHint(err, hint)
}

// timedOut says that systemd answers, and has waited for an answer in vain; when
// it is systemd that does not answer, the bus says that it has left.
func timedOut(err error) bool {
	return isBusError(err, busError+"NoReply", busError+"Timeout") && !strings.Contains(err.Error(), "disconnected")
}

// grant says what must be permitted to whom.
func (b *unitBus) grant(verb string) string {
	return fmt.Sprintf("user %s needs a polkit rule for action %s with unit %s and verb %s; run as root, netwatch grant writes those of the user netwatch",
		userName(), polkitAction, cmp.Or(b.id, b.unit), verb)
}

func userName() string {
	id := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// hasPolkit says whether polkit runs or can be started by the bus.
func (b *unitBus) hasPolkit(ctx context.Context) bool {
	var names []string
	err := b.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&names)
	return err == nil && slices.Contains(names, polkit)
}

// noSuchUnit says which units there are instead.
func (b *unitBus) noSuchUnit(ctx context.Context) error {
	err := errors.New("there is no such unit")
	near := nearest(b.unit, b.unitNames(ctx))
	if len(near) == 0 {
		return netwatch.WithHint(err, "see systemctl list-unit-files for the units that there are")
	}
	return netwatch.WithHint(err, "there is "+strings.Join(near, ", "))
}

// unitNames are the names of all units that are installed or loaded. A unit
// that is loaded only because something names it is none.
func (b *unitBus) unitNames(ctx context.Context) []string {
	var files [][]any
	_ = b.call(ctx, "ListUnitFiles").Store(&files)
	var units [][]any
	_ = b.call(ctx, "ListUnits").Store(&units)
	var names []string
	for _, f := range files {
		if path, ok := f[0].(string); ok {
			names = append(names, path[strings.LastIndexByte(path, '/')+1:])
		}
	}
	for _, u := range units {
		if name, ok := u[0].(string); ok && u[2] != "not-found" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
