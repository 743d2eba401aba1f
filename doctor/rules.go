package doctor

import (
	"context"
	"fmt"
	"slices"

	"netwatch"
	"netwatch/servers"
)

// checkRules looks whether the rules rotate the file of each coturn in use.
func checkRules(_ context.Context, s *scene) (found []Finding) {
	rotated := s.cfg.Needs().Rewrites
	for _, t := range s.turns() {
		if !slices.ContainsFunc(rotated, func(r servers.Target) bool { return s.sameFile(r.File, t.File) }) {
			found = append(found, s.uncovered(t))
		}
	}
	return found
}

// uncovered says that no rule rotates the file of a coturn: a problem if it is wrong
// already.
func (s *scene) uncovered(t coturn) Finding {
	f := Finding{
		Warning, t.File, fmt.Sprintf("%s runs with it, and no rule rotates it: once the public address is another, "+
			"its callers get the old one", t.Unit),
		fmt.Sprintf("netwatch init shows what is missing in %s: add that, or have netwatch init --force write it anew; then "+
			"systemctl reload netwatch.service", netwatch.ShellPath(s.Config)),
	}
	if server, err := servers.Named("coturn"); err == nil && len(s.known()) > 0 {
		target := servers.Target{Server: server.Name, File: t.File}
		now := judgeExternal(target.To(s.confirmed(), netwatch.OwnAddresses()), t.text)
		if now.Level == Problem {
			f.Level, f.Found = Problem, fmt.Sprintf("%s runs with it, and no rule rotates it: %s", t.Unit, now.Found)
			f.Hint += " && netwatch fire ip-changed"
		}
	}
	return f
}
