package doctor

import (
	"context"
	"fmt"
	"path"
	"slices"

	"netwatch"
	"netwatch/machine"
	"netwatch/servers"
)

// checkFlags compares the drop-ins that leave an option with our address out of the command
// line of a unit with that unit's own.
func checkFlags(_ context.Context, s *scene) (found []Finding) {
	rotated := s.cfg.Needs().Rewrites
	for _, u := range s.inUse() {
		rotates := func(t servers.Target) bool { return t.Server == u.Name && s.sameFile(t.File, u.File) }
		if u.Flag.Name != "" && slices.ContainsFunc(rotated, rotates) {
			found = append(found, s.judgeFlag(u.Flag, u.File)...)
		}
	}
	return found
}

// judgeFlag says what is wrong with the drop-in for an option. Where it is not in force, the
// option goes before the file, and where it is an old one, so does the rest of an old
// command line.
func (s *scene) judgeFlag(f machine.Flag, file string) []Finding {
	name, want, stands := f.DropIn(), f.Wanted(), string(f.Stands)
	reread := "systemctl daemon-reload && " + restart(f.Unit)
	grant := "netwatch grant -c " + netwatch.ShellPath(s.Config) + " && "
	finding := Finding{Problem, f.Unit, "", grant + restart(f.Unit)}
	switch {
	case f.InForce && f.Later != "":
		finding.Found = fmt.Sprintf("it is started with %s, which goes before %s: %s comes after %s, which leaves it out",
			f.Name, file, f.Later, name)
		finding.Hint = fmt.Sprintf("mv %s %s && systemctl daemon-reload && %s",
			netwatch.ShellPath(f.Later), netwatch.ShellPath(before(f.Later)), finding.Hint)
	case want == "" && f.InForce:
		finding.Found = fmt.Sprintf("it is started with %s, which goes before %s, and in a way that no drop-in of "+
			"netwatch's leaves out", f.Name, file)
		finding.Hint = fmt.Sprintf("systemctl edit --full %s, and have it in one ExecStart= once, or take it out; then %s",
			netwatch.ShellPath(f.Unit), finding.Hint)
	case want == "" && stands == "":
		return nil
	case want == "":
		finding.Level = Warning
		finding.Found = fmt.Sprintf("it has no %s, and %s still leaves it out of an older command line", f.Name, name)
		finding.Hint = reread
	case !f.Marked:
		finding.Found = fmt.Sprintf("it is started with %s, which goes before %s, and nothing leaves it out", f.Name, file)
	case stands == "":
		finding.Found = fmt.Sprintf("it is started with %s, which goes before %s: netwatch-generator has not made %s",
			f.Name, file, name)
	case stands != want, f.InForce:
		finding.Found = fmt.Sprintf("%s has another command line than the unit itself", name)
		finding.Hint = reread
	default:
		return []Finding{{OK, f.Unit, fmt.Sprintf("%s leaves %s out, so that %s counts", name, f.Name, file), ""}}
	}
	return []Finding{finding}
}

// before is a name for a drop-in by which it comes before ours, and after all others.
func before(file string) string { return path.Join(path.Dir(file), "zz-0-"+path.Base(file)) }
