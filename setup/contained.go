package setup

import (
	"fmt"
	"strings"

	"netwatch"
	"netwatch/machine"
)

// Contained says what to do for each coturn in a container, for which init writes no
// rule: it does not know the ways in there. One thing is on a line, and file is the
// path of the configuration.
func Contained(m machine.Machine, file string) (lines []string) {
	for _, c := range m.Contained {
		lines = append(lines, fmt.Sprintf("coturn in %s: %s", nameOf(c), remedy(c, file)))
	}
	return lines
}

// nameOf is what a container is called.
func nameOf(c machine.Container) string {
	name := c.Name
	if name == "" {
		name = c.ID[:12]
	}
	return strings.TrimSpace(c.Engine + " " + name)
}

// remedy says how netwatch can keep the coturn in a container right: it rewrites files
// of this machine and has units of its systemd restarted, and nothing else. A rewritten
// file is a new one: what is mounted alone is the old one until the container is
// started anew.
func remedy(c machine.Container, file string) string {
	made := c.Source
	if made == "" {
		made = "what the container is made of"
	}
	switch {
	case c.Users:
		return "it is of a user's own, and netwatch can restart only what a unit of the system runs: have one run it"
	case c.Inside == "":
		return "it is started without a file that netwatch could rewrite: have -c name one, by its full path"
	case c.File == "":
		return fmt.Sprintf("its %s is in the image: in %s, mount a file of this machine there, then run netwatch init again",
			c.Inside, made)
	case c.Unit == "":
		return "no unit of systemd runs it, and netwatch restarts nothing else: " + unitFor(c, file)
	}
	return fmt.Sprintf("add to %s %s", file, ruleFor(c, c.Unit))
}

// unitFor says how a unit can restart a container. Docker's daemon does so for whoever
// asks it. What podman(1) starts itself in a unit ends with that unit (measured), so
// that this must be one that goes on.
func unitFor(c machine.Container, file string) string {
	name := c.Name
	if name == "" {
		name = "coturn"
	}
	switch {
	case c.Engine == "podman":
		return "make a quadlet of it, /etc/containers/systemd/" + name +
			".container (podman-systemd.unit(5)), then run netwatch init again"
	case c.Engine != "docker" || c.Name == "":
		return "have one run it, then run netwatch init again"
	}
	return fmt.Sprintf("write `[Service]`, `Type=oneshot` and `ExecStart=/usr/bin/docker restart %s` into "+
		"/etc/systemd/system/%[1]s-restart.service, run systemctl daemon-reload, and add to %s %s", name, file,
		ruleFor(c, name+"-restart.service"))
}

// ruleFor is the rule for a container that a unit restarts. Only where it has this
// machine's network does a proof know its ways in.
func ruleFor(c machine.Container, unit string) string {
	do := []string{"rotate coturn " + word(c.File), "restart " + unit}
	if c.HostNetwork {
		do = append(do, "verify turn "+word(c.File))
	}
	rule := fmt.Sprintf("a [[rule]] with `on = [\"started\", \"ip-changed\"]` and `do = %s`", list(do))
	if c.Replaced {
		rule += fmt.Sprintf("; now it still has the file that was there before %s was written anew: systemctl restart %s",
			c.File, netwatch.ShellPath(unit))
	}
	return rule
}
