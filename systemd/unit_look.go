package systemd

import (
	"context"
	"fmt"

	"github.com/godbus/dbus/v5"

	"netwatch"
)

// A UnitLook is how a unit is at one moment, read without any privilege.
type UnitLook struct {
	// State is as systemctl shows it.
	State string
	// Running says that it is up, or that it ran through and had only that to do.
	Running bool
	// Moving says that it is being started or stopped, or waits for that behind others, and
	// will soon be another.
	Moving bool
	// AtLimit says that it hit its start limit, and stays down.
	AtLimit bool
	// Limit is the start limit, as "5 starts in 10s"; empty if there is none.
	Limit string
	// File is the state of its file: enabled, disabled, static and so on; empty
	// without one (systemctl(1), is-enabled).
	File string
	// PID is its main process, 0 if there is none.
	PID uint32
}

// LookUnit reads how a unit is. A unit that does not exist or cannot be loaded is an
// error with the remedy.
func LookUnit(ctx context.Context, unit string) (UnitLook, error) {
	u, err := Open(ctx, unit, netwatch.Job{})
	if err != nil {
		return UnitLook{}, err
	}
	defer u.Close()
	st, err := u.state(ctx)
	if err == nil {
		err = u.Loadable(ctx, st)
	}
	if err != nil {
		return UnitLook{}, fmt.Errorf("looking at %s: %w", unit, err)
	}
	look := UnitLook{
		State: st.String(), Running: st.Running() || st.Ended(), Moving: st.Moving() || st.queued,
		AtLimit: st.Result == "start-limit-hit",
		PID:     st.MainPID,
	}
	if !st.Limit.none() {
		look.Limit = st.Limit.String()
	}
	var file dbus.Variant
	object := u.conn.Object(systemd, u.path)
	err = object.CallWithContext(ctx, properties+".Get", 0, systemd+".Unit", "UnitFileState").Store(&file)
	if err != nil {
		return UnitLook{}, fmt.Errorf("looking at %s: %w", unit, orCause(ctx, err))
	}
	look.File, _ = file.Value().(string)
	return look, nil
}
