package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"

	"netwatch"
	"netwatch/machine"
	"netwatch/servers"
)

// checkContainers looks whether servers in containers are kept right, and have the files that
// are written.
func checkContainers(ctx context.Context, s *scene) (found []Finding) {
	for _, c := range s.found.Contained {
		_, absent := s.lookUnit(ctx, c.Keeper)
		rotates := func(t servers.Target) bool { return s.sameFile(t.File, c.File) }
		switch rotated := slices.ContainsFunc(s.cfg.Needs().Rewrites, rotates); {
		case c.Keeper == "" && !c.Users && os.Geteuid() != 0:
			found = append(found, Finding{
				Unknown, c.String(), "which file it has is not seen from here", "run netwatch doctor as root",
			})
		case rotated && c.Replaced && c.Keeper != "":
			found = append(found, Finding{
				Problem, c.String(), fmt.Sprintf("it still has the file that was there before %s was written anew", c.File),
				restart(c.Keeper),
			})
		case !rotated && c.Lacks() != "":
			found = append(found, Finding{Warning, c.String(), "no rule keeps it right", c.Lacks()})
		case !rotated && absent != nil: // Else it is found like any other
			found = append(found, unkept(c, s.Config))
		}
	}
	return found
}

// unkept says that a server in a container could be kept right, and is not.
func unkept(c machine.Container, config string) Finding {
	return Finding{
		Warning, c.String(), "no rule keeps it right",
		fmt.Sprintf("netwatch init --dry-run shows one: with that in %s, netwatch init puts %s in place, and "+
			"systemctl reload netwatch.service has both in force", netwatch.ShellPath(config), c.Keeper),
	}
}
