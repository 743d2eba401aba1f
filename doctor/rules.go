package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"netwatch"
	"netwatch/actions"
	"netwatch/machine"
	"netwatch/servers"
	"netwatch/systemd"
)

// An inUse is a server that runs, or will at the next boot, with its file.
type inUse struct {
	machine.Server
	look systemd.UnitLook
}

// lookAtServers looks at all servers that were found.
func (s *scene) lookAtServers(ctx context.Context) (all []inUse) {
	for _, t := range s.turns() {
		if server, err := servers.Named("coturn"); err == nil {
			all = append(all, inUse{machine.Server{Server: server, Unit: t.Unit, File: t.File, Text: t.text}, t.unit})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	for _, found := range s.found.Servers {
		look, err := s.lookUnit(ctx, found.Unit)
		if err == nil && (look.Running || look.Moving || look.File == "enabled") {
			all = append(all, inUse{found, look})
		}
	}
	return all
}

// asks says whether it finds out its address itself, so that no rule is to rotate its file.
func (u inUse) asks() bool { return u.Itself != nil && u.Itself(u.Text) }

// checkRules looks whether the rules rotate the file of each server in use, and have its
// unit heed it then.
func checkRules(ctx context.Context, s *scene) (found []Finding) {
	for _, u := range s.inUse() {
		covering := s.covering(ctx, u)
		switch {
		case len(covering) == 0 && u.Refused != nil:
			found = append(found, refused(u))
		case len(covering) == 0 && !s.needless(u):
			found = append(found, s.uncovered(u))
		case len(covering) > 0 && !slices.ContainsFunc(covering, func(do steps) bool { return s.follows(ctx, do, u) }):
			found = append(found, s.unfollowed(u))
		}
	}
	return found
}

// steps are those of a rule.
type steps = []netwatch.Step

// covering are the steps of the rules that rotate the file of a server; of one that asks for its address
// itself, those that are for another one and have it follow.
func (s *scene) covering(ctx context.Context, u inUse) (all []steps) {
	for _, r := range s.cfg.Rules {
		rotates := func(t servers.Target) bool { return s.sameFile(t.File, u.File) }
		itself := u.asks() && slices.Contains(r.On, netwatch.IPChanged) && s.follows(ctx, r.Do, u)
		if itself || slices.ContainsFunc(actions.NeedsOf(r.Do...).Rewrites, rotates) {
			all = append(all, r.Do)
		}
	}
	return all
}

// needless says that a file without an address is right as it is: the server has the
// public one from its machine, also when it is another.
func (s *scene) needless(u inUse) bool {
	public, known := s.known()[netwatch.IPv4]
	return known && netwatch.IsOwn(public) && !u.Binds && !u.asks() && len(u.Advertised(u.Text, nil)) == 0
}

// followers are the units that a rule has follow in a way that a server heeds. A reload is
// none for a server that reads its file only when it starts.
func followers(do steps, u inUse) (units []string) {
	verbs := []string{string(systemd.Restart), string(systemd.TryRestart), string(systemd.ReloadOrRestart)}
	if u.Follow == string(systemd.ReloadOrRestart) {
		verbs = append(verbs, string(systemd.Reload))
	}
	for _, n := range actions.NeedsOf(do...).Units {
		if slices.Contains(verbs, n.Verb) {
			units = append(units, n.Unit)
		}
	}
	return units
}

// follows says whether a rule has the unit of a server follow, by any of its names. What a
// program does that it runs, nobody can tell.
func (s *scene) follows(ctx context.Context, do steps, u inUse) bool {
	return slices.ContainsFunc(do, func(step netwatch.Step) bool { return strings.HasPrefix(step.Text, "exec ") }) ||
		slices.ContainsFunc(followers(do, u), func(unit string) bool {
			if unit == u.Unit {
				return true
			}
			look, err := s.lookUnit(ctx, unit)
			return err == nil && look.PID != 0 && look.PID == u.look.PID
		})
}

// uncovered says that no rule rotates the file of a server: a problem if it is wrong
// already.
func (s *scene) uncovered(u inUse) Finding {
	what, on := "no rule rotates it: once the public address is another, its callers get the old one",
		[]string{`on = ["started", "ip-changed"]`}
	if u.asks() {
		what, on = "no rule restarts it: it asks for its address only when it starts, and its callers get the old one "+
			"once that is another", []string{`on = ["ip-changed"]`, `match = { old = "?*" }`}
	}
	f := Finding{Warning, u.File, fmt.Sprintf("%s runs with it, and %s", u.Unit, what), s.addRule(on, u)}
	if len(s.known()) > 0 && !u.asks() {
		target := servers.Target{Server: u.Name, File: u.File}
		now := judgeExternal(target.To(s.confirmed(), netwatch.OwnAddresses()), u.Text)
		if now.Level == Problem {
			f.Level, f.Found = Problem, fmt.Sprintf("%s runs with it, and no rule rotates it: %s", u.Unit, now.Found)
			f.Hint += " && netwatch fire ip-changed"
		}
	}
	return f
}

// addRule is the command that adds the rule for a server to the configuration, and has the
// daemon go by it. on are its lines before its steps.
func (s *scene) addRule(on []string, u inUse) string {
	var do []string
	for _, step := range u.Steps(u.File, u.Unit, u.Text, false) {
		do = append(do, strconv.Quote(step))
	}
	line := `printf '%s\n' ''`
	for _, text := range slices.Concat([]string{"[[rule]]"}, on, []string{"do = [" + strings.Join(do, ", ") + "]"}) {
		line += " " + netwatch.ShellPath(text)
	}
	file := netwatch.ShellPath(s.Config)
	return fmt.Sprintf("%s >>%s && netwatch check -c %[2]s && systemctl reload netwatch.service", line, file)
}

// refused says that no rule could do it.
func refused(u inUse) Finding {
	hint := netwatch.Hint(u.Refused)
	if hint == "" {
		hint = "see what rotate takes in netwatch.toml(5)"
	}
	return Finding{Note, u.File, fmt.Sprintf("%s runs with it, and no step could rotate it: %v", u.Unit, u.Refused), hint}
}

// unfollowed says that a file is rewritten, and its server does not heed that.
func (s *scene) unfollowed(u inUse) Finding {
	return Finding{
		Warning, u.File, fmt.Sprintf("a rule rotates it, and has not %s follow: its callers get the old address until "+
			"somebody does", u.Unit), fmt.Sprintf("write the step `%s` behind that in %s, and systemctl reload netwatch.service",
			u.FollowStep(u.Unit, false, u.Drain), netwatch.ShellPath(s.Config)),
	}
}
