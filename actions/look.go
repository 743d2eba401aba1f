package actions

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"netwatch"
)

// A UnitLook is how a unit is at one moment, read without any privilege.
type UnitLook struct {
	// State is as systemctl shows it.
	State string
	// Running says that it is up, or that it ran through and had only that to do.
	Running bool
	// AtLimit says that it hit its start limit, and stays down.
	AtLimit bool
	// Limit is the start limit, as "5 starts in 10s"; empty if there is none.
	Limit string
	// File is the state of its file: enabled, disabled, static and so on; empty
	// without one (systemctl(1), is-enabled).
	File string
}

// LookUnit reads how a unit is. That there is none to be started is an error with
// the remedy.
func LookUnit(ctx context.Context, unit string) (UnitLook, error) {
	b, err := openUnit(ctx, unit, netwatch.Job{})
	if err != nil {
		return UnitLook{}, err
	}
	defer b.close()
	st, err := b.state(ctx)
	if err == nil {
		err = b.loadable(ctx, st)
	}
	if err != nil {
		return UnitLook{}, fmt.Errorf("looking at %s: %w", unit, err)
	}
	look := UnitLook{State: st.String(), Running: st.running() || st.ended(), AtLimit: st.result == "start-limit-hit"}
	if !st.limit.none() {
		look.Limit = st.limit.String()
	}
	var file dbus.Variant
	err = b.conn.Object(systemd, b.path).CallWithContext(ctx, properties+".Get", 0, systemd+".Unit", "UnitFileState").Store(&file)
	if err != nil {
		return UnitLook{}, fmt.Errorf("looking at %s: %w", unit, orCause(ctx, err))
	}
	look.File, _ = file.Value().(string)
	return look, nil
}

// VerifyTurn asks coturn for relayed addresses, as the step `verify turn FILE` does.
func VerifyTurn(ctx context.Context, file netwatch.Path, confirmed netwatch.Addresses) netwatch.Result {
	v := verification{file, LocalAddress, verifyTime}
	return v.Do(ctx, netwatch.Job{Confirmed: confirmed})
}

// A subject is whom polkit is asked about, and its kind.
type subject struct {
	Kind    string
	Details map[string]dbus.Variant
}

// Permitted asks polkit, without doing anything, whether a process may have
// systemd do to a unit what polkit calls verb; an error tells why not, with the
// remedy. Only root may ask (polkit's CheckAuthorization, with details).
func Permitted(ctx context.Context, pid int, unit, verb string) error {
	b, err := openUnit(ctx, unit, netwatch.Job{})
	if err != nil {
		return err
	}
	defer b.close()
	if _, err := b.state(ctx); err != nil { // finds the name that polkit goes by
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
	details := map[string]string{"unit": cmp.Or(b.id, unit), "verb": verb}
	b.waitsFor(thePolkit)
	authority := b.conn.Object(polkit, "/org/freedesktop/PolicyKit1/Authority")
	err = authority.CallWithContext(ctx, polkit+".Authority.CheckAuthorization", 0, who, polkitAction, details, uint32(0), "").Store(&answer)
	switch {
	case err != nil:
		return fmt.Errorf("asking polkit: %w", b.explain(ctx, verb, orCause(ctx, err)))
	case !answer.Authorized:
		return netwatch.WithHint(fmt.Errorf("polkit does not let process %d %s %s", pid, verb, unit), "run netwatch grant, as root")
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
	words := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the name may have blanks in it
	if len(words) < 20 {
		return subject{}, fmt.Errorf("looking at process %d: its stat has no start time", pid)
	}
	start, err := strconv.ParseUint(words[19], 10, 64)
	if err != nil {
		return subject{}, fmt.Errorf("looking at process %d: %w", pid, err)
	}
	return subject{"unix-process", map[string]dbus.Variant{
		"pid": dbus.MakeVariant(uint32(pid)), "start-time": dbus.MakeVariant(start), //nolint:gosec // Linux has no larger ones.
	}}, nil
}
