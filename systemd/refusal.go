package systemd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"

	"netwatch"
)

// silent is what to say if the one that a step waits for does not answer.
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

// overdue is the error for a wait that ctx has ended. It tells in which state the
// unit is, and what that means. It connects anew: the old connection has ended with
// ctx.
func (u *Unit) overdue(ctx context.Context, cause error) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	st, err := u.awaitState(last)
	if err != nil {
		return fmt.Errorf("no end in time, and %w", u.silence(cause))
	}
	hint := "see systemctl list-jobs for what it waits for"
	switch st.Active {
	case "reloading":
		hint = fmt.Sprintf("it said RELOADING=1 and never READY=1: systemctl restart %s clears that, "+
			"and journalctl -u %[1]s may say why", u.name)
	case "activating":
		hint = fmt.Sprintf("see journalctl -u %s for what its start waits for, as a port that is in use", u.name)
	case "deactivating":
		hint = fmt.Sprintf("it does not stop: see journalctl -u %s, and its TimeoutStopSec=", u.name)
	}
	return netwatch.WithHint(fmt.Errorf("no end in time, the unit is %s: %w", st, cause), hint)
}

// unanswered is the error for a call that ctx has ended. It says who does not answer:
// the one that the step waits for, unless one on the way to that is silent too.
func (u *Unit) unanswered(ctx context.Context, cause error) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	_, _ = u.awaitState(last) // It notes who does not answer.
	return u.silence(cause)
}

// silence adds to err who does not answer.
func (u *Unit) silence(err error) error {
	s, known := silent[u.awaits]
	if !known {
		s = silent[theSystemd]
	}
	return netwatch.WithHint(fmt.Errorf("%s: %w", s.says, err), s.hint)
}

func isBusError(err error, names ...string) bool {
	var e dbus.Error
	return errors.As(err, &e) && slices.Contains(names, e.Name)
}

// explain adds the remedy to an error by which systemd, D-Bus or polkit refused
// something. verb is what was to be done to the unit, by its name in polkit's rules.
// The names of the errors are those that systemd 252 gives.
func (u *Unit) explain(ctx context.Context, verb string, err error) error {
	hint := ""
	switch {
	case ctx.Err() != nil:
		return u.unanswered(ctx, err)
	case u.awaits == thePolkit && timedOut(err):
		return u.silence(err)
	case isBusError(err, busError+"InteractiveAuthorizationRequired"):
		hint = u.grant(verb)
	case isBusError(err, busError+"AccessDenied"):
		hint = u.denied(ctx, verb)
	case isBusError(err, systemd+".UnitMasked"):
		hint = "systemctl unmask " + u.name
		if strings.Contains(err.Error(), polkitUnit) && u.name != polkitUnit {
			hint = polkitMasked
		}
	case isBusError(err, systemd+".NoSuchUnit"):
		return u.NoSuchUnit(ctx)
	case isBusError(err, systemd+".NoSuchProcess"):
		hint = "see systemctl status " + u.name + " for why it does not run"
	case isBusError(err, systemd+".JobTypeNotApplicable"):
		hint = fmt.Sprintf("it has no ExecReload=: use \"reload-or-restart %s\" or \"signal HUP %s\"", u.name, u.name)
	case isBusError(err, systemd+".BadUnitSetting", systemd+".LoadFailed"):
		hint = "see systemd-analyze verify " + u.name
	case isBusError(err, busError+"InvalidArgs"):
		hint = "see that " + u.name + " is the name that systemctl shows"
	case isBusError(err, busError+"ServiceUnknown", busError+"NameHasNoOwner", busError+"NoReply",
		busError+"Spawn.ChildExited"):
		hint = "systemd or polkit did not answer on the bus: see systemctl status dbus polkit"
	case !u.conn.Connected():
		hint = "the system bus went away: see systemctl status dbus"
	}
	if hint == "" {
		return err
	}
	return netwatch.WithHint(err, hint)
}

// timedOut says whether systemd answered that it had waited for an answer in vain. If
// systemd itself does not answer, the bus says that it has disconnected.
func timedOut(err error) bool {
	return isBusError(err, busError+"NoReply", busError+"Timeout", notStarted) &&
		!strings.Contains(err.Error(), "disconnected")
}
