package setup

import (
	"maps"
	"slices"
	"strings"

	"netwatch/actions"
	"netwatch/config"
	"netwatch/contrib"
	"netwatch/machine"
)

// Contained says what to do for each server in a container for which init writes no rule,
// and which have to be started anew first. One thing is on a line.
func Contained(m machine.Machine) (lines []string) {
	for _, c := range m.Contained {
		if text := c.Lacks(); text != "" {
			lines = append(lines, c.String()+": "+text)
		}
		if c.Sealed != "" && c.Keeper != "" {
			lines = append(lines, c.String()+": "+c.Unrenewed())
		}
	}
	return lines
}

// restarters are the templates of units by which engines restart containers that no unit
// runs.
var restarters = map[string][]byte{"docker": contrib.Docker, "podman": contrib.Podman}

// restarters puts the templates in place whose instances the rules name.
func (p *Plan) restarters(cfg *config.Config) {
	for _, engine := range slices.Sorted(maps.Keys(restarters)) {
		stem := "netwatch-" + engine + "@"
		named := func(n actions.UnitNeed) bool { return strings.HasPrefix(n.Unit, stem) }
		if slices.ContainsFunc(cfg.Needs().Units, named) {
			p.place("/etc/systemd/system/"+stem+".service", restarters[engine], dropInMode, "docker/"+stem+".service")
		}
	}
}
