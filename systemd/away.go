package systemd

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
)

// awayTime is how long the bus, or systemd on it, may be away before that is an error.
// Either is back within a second when it begins anew (measured with systemd 252 to 262).
const awayTime = 5 * time.Second

// broken are the errors of a connection that has ended.
var broken = []error{dbus.ErrClosed, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE}

// An unconnected error is why there is no connection. While it ends, a bus may refuse
// to connect in many ways, as by saying that it does not know us (measured).
type unconnected struct{ error }

func (u unconnected) Unwrap() error { return u.error }

// notStarted is the error of a bus that has asked systemd in vain to start somebody, as
// polkit: it goes on so for 25 s where systemd just executed itself anew (measured).
const notStarted = busError + "TimedOut"

// away says whether an error is one of a bus, or of a systemd on it, that begins anew.
// What was asked for can be asked for again, and may have been done all the same.
func away(err error) bool {
	switch {
	case errors.As(err, &unconnected{}):
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission)
	case isBusError(err, busError+"NoReply"):
		return strings.Contains(err.Error(), "disconnected") // Else somebody was waited for
	}
	return isBusError(err, busError+"Disconnected", busError+"ServiceUnknown", busError+"NameHasNoOwner",
		busError+"Spawn.ChildExited", notStarted) ||
		slices.ContainsFunc(broken, func(e error) bool { return errors.Is(err, e) })
}

// through does f, and again while the bus or systemd is away, over a new connection
// where the old one has ended. f must do no harm when it is done twice.
func (u *Unit) through(ctx context.Context, f func() error) error {
	var end time.Time
	for {
		err := f()
		if !away(err) {
			return err
		}
		if end.IsZero() { // It may have taken long to hear of it
			end = time.Now().Add(u.bears)
		}
		if time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(redialPause):
		}
		if u.conn != nil && !u.conn.Connected() {
			u.redial(ctx)
		}
	}
}

// once asks for something to be done to the unit. If the answer is lost with the bus or
// with systemd, it looks at the unit, and asks again only if that is as it was before;
// else it returns how the unit is.
func (u *Unit) once(ctx context.Context, ask func() error) (moved *State, err error) {
	var before State
	err = u.through(ctx, func() (err error) { before, err = u.state(ctx); return err })
	if err != nil {
		return nil, err
	}
	asked := false
	err = u.through(ctx, func() error {
		if asked {
			now, err := u.state(ctx)
			if err != nil {
				return err
			}
			if now.mark != before.mark {
				moved = &now
				return nil
			}
		}
		asked = true
		u.waitsFor(thePolkit)
		return ask()
	})
	return moved, err
}

// A mark is what another has once something was done to the unit: its last start, when
// its state last changed, and the job that is queued for it.
type mark struct {
	invocation string
	changed    uint64
	job        dbus.ObjectPath
}

// noJob is the path where none is queued.
const noJob = dbus.ObjectPath("/")

// markOf is the mark in a unit's properties.
func markOf(p map[string]dbus.Variant) mark {
	m := mark{string(value[[]byte](p, "InvocationID")), value[uint64](p, "StateChangeTimestampMonotonic"), noJob}
	if job := value[[]any](p, "Job"); len(job) == 2 {
		m.job, _ = job[1].(dbus.ObjectPath)
	}
	return m
}
