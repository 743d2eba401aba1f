package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/control"
)

// checkDaemon looks whether the daemon runs, is this program, and is well.
func checkDaemon(ctx context.Context, s *scene) []Finding {
	const what = "daemon"
	d, err := s.daemon()
	if err != nil {
		return []Finding{s.unanswered(ctx, err)}
	}
	var found []Finding
	if d.Version != s.Version {
		found = append(found, Finding{
			Warning, what, fmt.Sprintf("it is version %s, and this program %s", d.Version, s.Version),
			netwatch.Restarting(ourUnit),
		})
	}
	if d.Refused != "" {
		found = append(found, Finding{
			Problem, what, "it goes by an older configuration: " + d.Refused,
			"netwatch check, then systemctl reload netwatch.service",
		})
	}
	if d.Refused == "" && s.notReloaded(d) {
		found = append(found, Finding{
			Warning, what, "its rules are not those of the configuration as it is now", "systemctl reload netwatch.service",
		})
	}
	if s.fleeting(ctx, d) {
		found = append(found, Finding{
			Warning, what, "it will not be started at the next boot", "systemctl enable " + ourUnit,
		})
	}
	found = append(append(found, untaken(d)...), troubles(d)...)
	if found == nil {
		found = []Finding{{OK, what, fmt.Sprintf("version %s, process %d", d.Version, d.PID), ""}}
	}
	return found
}

// fleeting says that systemd runs the daemon, and will not start it at the next boot. A bus
// that hangs is not waited for: all else that the daemon says is worth more.
func (s *scene) fleeting(ctx context.Context, d control.Status) bool {
	ctx, cancel := context.WithTimeout(ctx, shortTime)
	defer cancel()
	unit, err := s.lookUnit(ctx, ourUnit)
	return err == nil && int(unit.PID) == d.PID && unit.File == "disabled"
}

// untaken is what the disk does not take of the daemon's.
func untaken(d control.Status) (found []Finding) {
	if u := d.Unwritten; u != nil {
		found = append(found, Finding{Problem, "state", u.Error + "; " + u.Risk(), u.Hint})
	}
	if u := d.Unkept; u != nil { // It harms no run
		found = append(found, Finding{
			Warning, "history", "not kept since " + u.Since.Local().Format(time.DateTime) + ": " + u.Error, u.Hint,
		})
	}
	return found
}

// notReloaded says whether the daemon has other rules than the configuration, if that is the
// daemon's at all.
func (s *scene) notReloaded(d control.Status) bool {
	if s.cfg == nil || d.Config != s.Config {
		return false
	}
	if len(d.Rules) != len(s.cfg.Rules) {
		return true
	}
	for i, r := range s.cfg.Rules {
		is := d.Rules[i]
		if is.Name != r.Name || !slices.Equal(is.On, r.On) || !slices.Equal(is.Do, r.Texts()) {
			return true
		}
	}
	return false
}

// askDaemon asks the daemon how it stands. Behind the socket of one that cannot start,
// callers wait in vain: that one is not waited for so long.
func (s *scene) askDaemon(ctx context.Context) (control.Status, error) {
	span := addressTime
	if s.mistakes != nil {
		if unit, err := s.lookUnit(ctx, ourUnit); err == nil && !unit.Running {
			span = shortTime
		}
	}
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	return s.Daemon(ctx)
}

// ourUnit is the unit of the daemon.
const ourUnit = "netwatch.service"

// unanswered says why the daemon does not answer, and what to do. One that nobody has
// had start yet is no fault of the machine's. systemd's socket takes callers also while the
// daemon cannot start: they wait in vain.
func (s *scene) unanswered(ctx context.Context, err error) Finding {
	if !errors.Is(err, control.ErrUnreachable) && !errors.Is(err, context.DeadlineExceeded) {
		return wrong(Problem, "daemon", err)
	}
	unit, errUnit := s.lookUnit(ctx, ourUnit)
	tried := unit.File != "disabled" || unit.Moving || strings.HasPrefix(unit.State, "failed")
	switch {
	case errUnit != nil:
	case !unit.Running && !tried:
		return Finding{
			Warning, "daemon", "it is not started, and will not be at the next boot",
			"systemctl enable --now netwatch.socket netwatch.service",
		}
	case !unit.Running && s.mistakes != nil:
		return Finding{
			Problem, "daemon", fmt.Sprintf("it is %s, and cannot start with the mistakes in the configuration", unit.State),
			"mend them until netwatch check finds no more; then systemctl restart netwatch.service",
		}
	case strings.Contains(unit.State, "auto-restart"):
		return Finding{
			Problem, "daemon", "it is " + unit.State + ": it ends whenever it is started",
			"journalctl -u netwatch.service says why",
		}
	case unit.Moving:
		return Finding{
			Unknown, "daemon", "it is " + unit.State,
			"run netwatch doctor again when it has started or stopped",
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = netwatch.WithHint(fmt.Errorf("%w: it does not answer within %s", control.ErrUnreachable, addressTime),
			"it hangs: "+netwatch.Restarting(ourUnit)+"; what it has accepted it then does")
	}
	return wrong(Problem, "daemon", err)
}

// troubles are what keeps the daemon's sources and rules from working.
func troubles(d control.Status) (found []Finding) {
	add := func(what, trouble, hint string) {
		found = append(found, Finding{Problem, what, trouble, cmp.Or(hint, "netwatch status shows more")})
	}
	for _, source := range d.Sources {
		what := "source " + source.Name
		if source.Error != "" {
			add(what, "not watching: "+source.Error, source.Hint)
			continue
		}
		for _, t := range source.Trouble {
			add(what, "watching, but "+t.Error, t.Hint)
		}
	}
	for _, r := range d.Rules {
		if f := r.Failed; f != nil {
			add("rule "+r.Name, "gave up: "+f.Step+": "+f.Error, f.Hint)
		} else if w := r.Waiting; w != nil && w.Tried != nil && w.Tried.Outcome == netwatch.Failed {
			add("rule "+r.Name, "fails: "+w.Tried.Step+": "+w.Tried.Error, w.Tried.Hint)
		}
	}
	return found
}
