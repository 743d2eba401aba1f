package systemd

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"netwatch"
	"netwatch/access"
)

// A subject is whom polkit is asked about, and of what kind that is.
type subject struct {
	Kind    string
	Details map[string]dbus.Variant
}

// Permitted asks polkit whether a process may have systemd do to a unit what polkit
// calls verb. It does nothing; the error says why not, with the remedy. Only root may
// ask (polkit's CheckAuthorization, with details).
func Permitted(ctx context.Context, pid int, unit, verb string) error {
	u, err := Open(ctx, unit, netwatch.Job{})
	if err != nil {
		return err
	}
	defer u.Close()
	if _, err := u.state(ctx); err != nil { // Finds the name that polkit goes by
		return err
	}
	who, err := process(pid)
	if err != nil {
		return err
	}
	var answer struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	details := map[string]string{"unit": cmp.Or(u.id, unit), "verb": verb}
	u.waitsFor(thePolkit)
	authority := u.conn.Object(polkit, "/org/freedesktop/PolicyKit1/Authority")
	method := polkit + ".Authority.CheckAuthorization"
	err = authority.CallWithContext(ctx, method, 0, who, polkitAction, details, uint32(0), "").Store(&answer)
	switch {
	case err != nil:
		return fmt.Errorf("asking polkit: %w", u.explain(ctx, verb, orCause(ctx, err)))
	case !answer.Authorized:
		err := fmt.Errorf("polkit does not let process %d %s %s", pid, verb, unit)
		return netwatch.WithHint(err, "run netwatch grant, as root")
	}
	return nil
}

// process is a process as polkit wants it: with its start time, the 22nd word of
// /proc/PID/stat (proc_pid_stat(5)), because numbers are used again.
func process(pid int) (subject, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return subject{}, fmt.Errorf("looking at process %d: %w", pid, err)
	}
	words := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // The name may have blanks in it
	if len(words) < 20 {
		return subject{}, fmt.Errorf("looking at process %d: its stat has no start time", pid)
	}
	start, err := strconv.ParseUint(words[19], 10, 64)
	if err != nil {
		return subject{}, fmt.Errorf("looking at process %d: %w", pid, err)
	}
	return subject{"unix-process", map[string]dbus.Variant{
		"pid":        dbus.MakeVariant(uint32(pid)), //nolint:gosec // Linux has no larger ones.
		"start-time": dbus.MakeVariant(start),
	}}, nil
}

// grant is the hint by which somebody gets the permission for verb.
func (u *Unit) grant(verb string) string {
	return fmt.Sprintf("user %s needs a polkit rule for action %s with unit %s and verb %s; "+
		"run as root, netwatch grant writes those of the user netwatch",
		access.NameOf(os.Geteuid()), polkitAction, cmp.Or(u.id, u.name), verb)
}

// hasPolkit says whether polkit runs or can be started by the bus.
func (u *Unit) hasPolkit(ctx context.Context) bool {
	var names []string
	err := u.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&names)
	return err == nil && slices.Contains(names, polkit)
}
