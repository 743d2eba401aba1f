// Package systemd asks systemd about units, and has it do jobs with them: over D-Bus,
// which no other package speaks, or by systemctl(1) where root asks without it. It
// knows no rules, and no reasons.
package systemd

import (
	"context"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"

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

// Whom a step waits for. It never waits for polkit itself, which only systemd asks.
const (
	theBus     = "the system bus"
	theSystemd = "systemd, process 1"
	thePolkit  = "systemd, which asks polkit whether it may"
)

// A Unit is a connection to the system bus for what is done to one unit. It
// lives as long as one step: a connection takes a millisecond, and one that is
// not held cannot go stale.
type Unit struct {
	bus     *Bus
	name    string
	id      string // the name that name may be an alias of; polkit goes by it
	path    dbus.ObjectPath
	job     netwatch.Job
	conn    *dbus.Conn
	signals chan *dbus.Signal // closed with the connection
	awaits  string            // what the step waits for
	// bears is how long the bus or systemd may be away.
	bears time.Duration
	// unmet says that, by the last signal about the unit, one of its conditions is not
	// met. Only signals tell that: once the job is done, systemd may forget a unit
	// that does not run, and its conditions with it.
	unmet bool
}

// Open connects to the bus, and asks to be told of changes of the unit, for a job.
// The caller closes what it returns.
func Open(ctx context.Context, unit string, job netwatch.Job) (*Unit, error) {
	return (*Bus)(nil).Open(ctx, unit, job)
}

// Open is Open on another bus.
func (b *Bus) Open(ctx context.Context, unit string, job netwatch.Job) (*Unit, error) {
	u := &Unit{bus: b, name: unit, job: job, bears: awayTime}
	err := u.through(ctx, func() error {
		u.Close()
		u.conn = nil
		return u.dial(ctx)
	})
	if err == nil {
		return u, nil
	}
	if u.conn == nil {
		return nil, netwatch.WithHint(fmt.Errorf("connecting to the system bus: %w", err), silent[theBus].hint)
	}
	err = fmt.Errorf("asking systemd about %s: %w", u.name, u.explain(ctx, "", err))
	u.Close()
	return nil, err
}

// dial connects and subscribes. The connection ends with ctx at the latest. The
// caller closes it if there is one, even after an error.
func (u *Unit) dial(ctx context.Context) error {
	u.waitsFor(theBus)
	conn, err := u.bus.connect(ctx, dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return unconnected{orCause(ctx, err)}
	}
	u.conn, u.signals = conn, make(chan *dbus.Signal)
	conn.Signal(u.signals)
	u.waitsFor(theSystemd)
	return orCause(ctx, u.subscribe(ctx))
}

// waitsFor notes what the step waits for, and tells the job.
func (u *Unit) waitsFor(what string) {
	u.awaits = what
	u.job.WaitsFor(what)
}

// orCause is the reason why ctx ended, or err if it has not: once ctx has ended, err
// only says that something was closed.
func orCause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// subscribe asks for the signals about jobs and about the unit. systemd sends signals
// about units only while somebody is subscribed.
func (u *Unit) subscribe(ctx context.Context) error {
	if err := u.call(ctx, "LoadUnit", u.name).Store(&u.path); err != nil {
		return err
	}
	// A new bus may give us a name that another had on the old one.
	if err := u.call(ctx, "Subscribe").Err; err != nil && !isBusError(err, systemd+".AlreadySubscribed") {
		return err
	}
	err := u.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(systemd), dbus.WithMatchObjectPath(managerPath),
		dbus.WithMatchInterface(manager), dbus.WithMatchMember("JobRemoved"))
	if err != nil {
		return err
	}
	return u.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(systemd), dbus.WithMatchObjectPath(u.path),
		dbus.WithMatchInterface(properties), dbus.WithMatchMember("PropertiesChanged"))
}

// Close ends the connection.
func (u *Unit) Close() {
	if u.conn != nil {
		_ = u.conn.Close()
	}
}

// call calls a method of systemd's manager.
func (u *Unit) call(ctx context.Context, method string, args ...any) *dbus.Call {
	return u.conn.Object(systemd, managerPath).CallWithContext(ctx, manager+"."+method, 0, args...)
}

// again repeats f until it succeeds or ctx ends, and connects anew if the bus went
// away. It is for calls that fail only while the bus or systemd is being restarted.
func (u *Unit) again(ctx context.Context, f func() error) error {
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
		if !u.conn.Connected() {
			u.redial(ctx)
		}
	}
}

// redial replaces the connection if it can; otherwise the old one stays, closed.
func (u *Unit) redial(ctx context.Context) {
	fresh := &Unit{bus: u.bus, name: u.name}
	if err := fresh.dial(ctx); err != nil {
		u.awaits = fresh.awaits
		fresh.Close()
		return
	}
	u.Close()
	fresh.id, fresh.job, fresh.awaits, fresh.unmet, fresh.bears = u.id, u.job, u.awaits, u.unmet, u.bears
	*u = *fresh
}
