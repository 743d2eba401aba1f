package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	"netwatch"
	"netwatch/actions"
	"netwatch/sources"
	"netwatch/systemd"
)

// checkUnits looks whether the units of the rules are there, run, and will after
// the next boot.
func checkUnits(ctx context.Context, s *scene) []Finding {
	var units []string
	for _, n := range s.cfg.Needs().Units {
		// What is started or stopped need not run now.
		if n.Verb != "start" && n.Verb != "stop" && n.Verb != "try-restart" && !slices.Contains(units, n.Unit) {
			units = append(units, n.Unit)
		}
	}
	found := make([]Finding, len(units))
	var wg sync.WaitGroup
	for i, unit := range units {
		wg.Go(func() { found[i] = lookAtUnit(ctx, unit) })
	}
	wg.Wait()
	return found
}

// lookUnit looks at a unit. Where there is no systemd, nobody is waited for.
func lookUnit(systemdIs bool) func(context.Context, string) (systemd.UnitLook, error) {
	if systemdIs {
		return systemd.LookUnit
	}
	return func(_ context.Context, unit string) (systemd.UnitLook, error) {
		return systemd.UnitLook{}, netwatch.WithHint(fmt.Errorf("looking at %s: %w", unit, errNoSystemd),
			"see by what starts it here whether it runs")
	}
}

var errNoSystemd = errors.New("systemd did not start this machine")

func lookAtUnit(ctx context.Context, unit string) Finding {
	look, err := systemd.LookUnit(ctx, unit)
	if err != nil {
		return wrong(Problem, unit, err)
	}
	return judgeUnit(unit, look)
}

func judgeUnit(unit string, look systemd.UnitLook) Finding {
	name := netwatch.ShellPath(unit)
	switch {
	case look.AtLimit:
		return Finding{
			Problem, unit, fmt.Sprintf("it is %s: it was started more often than %s", look.State, look.Limit),
			fmt.Sprintf("see journalctl -u %s for who starts it, then "+
				"systemctl reset-failed %[1]s && systemctl start %[1]s", name),
		}
	case look.Moving:
		return Finding{Unknown, unit, "it is " + look.State, "run netwatch doctor again when it has started or stopped"}
	case !look.Running:
		hint := fmt.Sprintf("see journalctl -u %s for why, then systemctl start %[1]s", name)
		return Finding{Problem, unit, "it is " + look.State, hint}
	case look.File == "disabled":
		return Finding{Warning, unit, "it runs, but will not after the next boot: it is disabled", "systemctl enable " + name}
	}
	text := "it is " + look.State
	if look.Limit != "" {
		text += ", allowed " + look.Limit
	}
	return Finding{OK, unit, text, ""}
}

// checkPermissions asks polkit whether the daemon may do what the rules say.
func checkPermissions(ctx context.Context, s *scene) []Finding {
	const what = "permissions"
	d, err := s.daemon()
	if err != nil {
		return []Finding{{Unknown, what, "the daemon does not say who it is", ""}}
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d", d.PID))
	if err != nil {
		return []Finding{{Unknown, what, fmt.Sprintf("the daemon, process %d, is not seen from here", d.PID), ""}}
	}
	uid := int(info.Sys().(*syscall.Stat_t).Uid) // It is one on Linux
	switch {
	case uid == 0:
		return []Finding{{OK, what, "the daemon is root, and needs none", ""}}
	case os.Geteuid() != 0:
		return []Finding{{Unknown, what, "only root may ask polkit about others", "run netwatch doctor as root"}}
	}
	found := s.checkHelper(ctx)
	for _, n := range append(s.cfg.Needs().Units, s.reopening()...) {
		if err := systemd.Permitted(ctx, uid, n.Unit, n.Verb); err != nil {
			found = append(found, wrong(Problem, what, err))
		}
	}
	if found == nil {
		found = []Finding{{OK, what, "the daemon may do all that the rules say", ""}}
	}
	return found
}

// reopening is that root opens files to the daemon again, where it reads some.
func (s *scene) reopening() []actions.UnitNeed {
	reads := len(s.cfg.Needs().Reads)
	for _, source := range s.cfg.Sources {
		needs := sources.NeedsOf(source.Settings)
		reads += len(needs.Watches) + len(needs.Reads)
	}
	if reads == 0 {
		return nil
	}
	return []actions.UnitNeed{actions.Reopening}
}

// errAsked ends a rewriting that was only to be asked for.
var errAsked = errors.New("it would be rewritten")

// checkHelper has the helper look at each file that it is to rewrite, up to where it
// would change it.
func (s *scene) checkHelper(ctx context.Context) (found []Finding) {
	known := s.confirmed()
	for _, r := range s.cfg.Needs().Rewrites {
		if len(known) == 0 {
			continue
		}
		refuse := func(netwatch.Replacement) error { return errAsked }
		result, asked := s.Files.Rotate(ctx, r.To(known, netwatch.OwnAddresses()), refuse)
		switch {
		case !asked:
			found = append(found, Finding{
				Problem, "permissions", fmt.Sprintf("the daemon may not write %s, and there is no helper for that", r.File),
				"systemctl enable --now netwatch-file.socket",
			})
		case result.Err != nil && !errors.Is(result.Err, errAsked):
			found = append(found, wrong(Problem, "permissions", result.Err))
		}
	}
	return found
}
