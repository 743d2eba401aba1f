// Package systemd asks systemd about units, and has it do something with them: over
// D-Bus, which nobody else speaks, or by systemctl(1) where root asks without it.
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

// Whom a step waits for. The last two are what systemd says: polkit is asked by
// it, and by nobody else.
const (
	theBus     = "the system bus"
	theSystemd = "systemd, process 1"
	thePolkit  = "systemd, which asks polkit whether it may"
)

// A Unit is a connection to the system bus for what is done to one unit. It
// lives as long as one step: a connection takes a millisecond, and one that is
// not held cannot go stale.
type Unit struct {
	name    string
	id      string // the name that name may be an alias of; polkit goes by it
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

// Open connects and asks to be told of the unit's changes, for a job. The caller
// closes what it returns.
func Open(ctx context.Context, unit string, job netwatch.Job) (*Unit, error) {
	u := &Unit{name: unit, job: job}
	err := u.dial(ctx)
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

// dial connects and subscribes; the connection ends with ctx at the latest. The
// caller closes it, if there is one, whether it is of use or not.
func (u *Unit) dial(ctx context.Context) error {
	u.waitsFor(theBus)
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return orCause(ctx, err)
	}
	u.conn, u.signals = conn, make(chan *dbus.Signal)
	conn.Signal(u.signals)
	u.waitsFor(theSystemd)
	return orCause(ctx, u.subscribe(ctx))
}

// waitsFor notes what the step waits for, and tells it.
func (u *Unit) waitsFor(what string) {
	u.awaits = what
	u.job.WaitsFor(what)
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
func (u *Unit) subscribe(ctx context.Context) error {
	if err := u.call(ctx, "LoadUnit", u.name).Store(&u.path); err != nil {
		return err
	}
	if err := u.call(ctx, "Subscribe").Err; err != nil {
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

// again does f until it succeeds or ctx ends, over a new connection if the bus
// went away. It is for what cannot fail but for a bus or a systemd that is
// being restarted.
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

// redial replaces the connection if it can; if not, the old one stays closed.
func (u *Unit) redial(ctx context.Context) {
	fresh := &Unit{name: u.name}
	if err := fresh.dial(ctx); err != nil {
		u.awaits = fresh.awaits
		fresh.Close()
		return
	}
	u.Close()
	fresh.id, fresh.job, fresh.awaits, fresh.unmet = u.id, u.job, u.awaits, u.unmet
	*u = *fresh
}
