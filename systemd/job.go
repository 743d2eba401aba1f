package systemd

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
)

// A Verb is something that systemd can do with a unit, by its name in systemctl(1)
// and in polkit's rules alike.
type Verb string

// The verbs.
const (
	Restart         Verb = "restart"
	TryRestart      Verb = "try-restart"
	Reload          Verb = "reload"
	ReloadOrRestart Verb = "reload-or-restart"
	Start           Verb = "start"
	Stop            Verb = "stop"
)

// Kill is polkit's name for sending a signal. polkit does not see which signal
// (measured).
const Kill = "kill"

// methods are the methods of org.freedesktop.systemd1.Manager for each verb.
var methods = map[Verb]string{
	Restart: "RestartUnit", TryRestart: "TryRestartUnit", Reload: "ReloadUnit", ReloadOrRestart: "ReloadOrRestartUnit",
	Start: "StartUnit", Stop: "StopUnit",
}

// Revives says that the job can bring a dead unit to life.
func (v Verb) Revives() bool { return v == Restart || v == ReloadOrRestart || v == Start }

// WillStart says whether the job would start the unit, given how it is.
func (v Verb) WillStart(st State) bool {
	switch v {
	case Restart:
		return true
	case Start:
		return !st.Running()
	case TryRestart:
		return !st.Down()
	case ReloadOrRestart:
		return !st.Running() || !st.canReload
	}
	return false
}

// The results of a job that a step makes something of, beside those that are in
// org.freedesktop.systemd1(5), JobRemoved.
const (
	// Done is the result of a job that went well.
	Done = "done"
	// Lost is the result of a job that ended while its signal could not be heard.
	Lost = "lost"
)

// Do has systemd do a job, waits for its end and returns its result. If there is no
// job, or it does not end before ctx, it returns an error with the remedy.
func (u *Unit) Do(ctx context.Context, v Verb) (result string, err error) {
	job, err := u.queue(ctx, methods[v])
	if err != nil {
		return "", u.refused(ctx, err, u.explain(ctx, string(v), orCause(ctx, err)))
	}
	if job == noJob {
		return Lost, nil // It was done while nobody heard of it
	}
	result, err = u.await(ctx, job)
	if err != nil {
		return "", u.overdue(ctx, err)
	}
	return result, nil
}

// A Refused is the error of a job that was not even queued.
type Refused struct{ error }

func (r Refused) Unwrap() error { return r.error }

// refused is an explained error as a Refused, if it is systemd's answer.
func (u *Unit) refused(ctx context.Context, err, explained error) error {
	if answer := (dbus.Error{}); ctx.Err() != nil || !errors.As(err, &answer) || away(err) || timedOut(err) {
		return explained
	}
	return Refused{explained}
}

// Signal has systemd send a signal to the unit's main process.
func (u *Unit) Signal(ctx context.Context, sig syscall.Signal) error {
	_, err := u.once(ctx, func() error {
		return u.call(ctx, "KillUnit", u.name, "main", int32(sig)).Err //nolint:gosec // A signal number.
	})
	if err != nil {
		return u.explain(ctx, Kill, orCause(ctx, err))
	}
	return nil
}

// Unmet says whether, by the last signal about the unit, one of its conditions is not
// met.
func (u *Unit) Unmet() bool { return u.unmet }

// queue asks for a job and returns its object path, or noJob if it has ended already.
// By the mode "replace" the job takes the place of jobs that contradict it, as those of
// systemctl do.
func (u *Unit) queue(ctx context.Context, method string) (job dbus.ObjectPath, err error) {
	moved, err := u.once(ctx, func() error { return u.call(ctx, method, u.name, "replace").Store(&job) })
	if moved != nil {
		job = moved.mark.job
	}
	return job, err
}

// await returns the result of a job, Lost if it ended unheard, or an error if ctx
// ends. It does not rely on the signal, which may be lost with the bus, but also
// looks whether the job still exists. A job keeps its path when systemd executes
// itself anew.
func (u *Unit) await(ctx context.Context, job dbus.ObjectPath) (string, error) {
	u.waitsFor("the end of systemd's job")
	slow := time.NewTicker(slowLook)
	defer slow.Stop()
	for gone := false; ; {
		select {
		case sig, open := <-u.signals:
			u.hear(sig)
			if result, is := removed(sig, job); is && u.fromSystemd(ctx, sig) {
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
		err := u.again(ctx, func() (err error) { gone, err = u.gone(ctx, job); return err })
		if err != nil {
			return "", err
		}
		if was && gone { // Twice, because the signal may be on its way
			return Lost, nil
		}
	}
}

// fromSystemd says whether a signal comes from systemd: on the system bus everyone
// may send signals to anyone, whether asked for or not.
func (u *Unit) fromSystemd(ctx context.Context, sig *dbus.Signal) bool {
	var owner string
	err := u.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, systemd).Store(&owner)
	return err == nil && owner == sig.Sender
}

// removed returns the result of the job if the signal says that it has ended. The
// signature of JobRemoved is: id, job, unit, result.
func removed(sig *dbus.Signal, job dbus.ObjectPath) (string, bool) {
	if sig == nil || sig.Name != manager+".JobRemoved" || len(sig.Body) < 4 || sig.Body[1] != job {
		return "", false
	}
	result, is := sig.Body[3].(string)
	return result, is
}

// hear notes what a signal about the unit says of its conditions. systemd sends it
// before the one about the job. The signature of PropertiesChanged is: interface,
// changed properties, names of others.
func (u *Unit) hear(sig *dbus.Signal) {
	if sig == nil || sig.Path != u.path || sig.Name != properties+".PropertiesChanged" || len(sig.Body) < 2 {
		return
	}
	changed, _ := sig.Body[1].(map[string]dbus.Variant)
	if _, told := changed["ConditionResult"]; told {
		u.unmet = unmet(changed)
	}
}

// gone says whether the job's object no longer exists.
func (u *Unit) gone(ctx context.Context, job dbus.ObjectPath) (bool, error) {
	err := u.conn.Object(systemd, job).CallWithContext(ctx, properties+".Get", 0, systemd+".Job", "State").Err
	if isBusError(err, busError+"UnknownObject") {
		return true, nil
	}
	return false, err
}
