package doctor

import (
	"context"
	"errors"
	"testing"

	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/systemd"
	"netwatch/systemd/systemdtest"
)

// A server in a container that no rule keeps right is said, and so is one that still has the
// file that was there before; of one that is kept right nothing is.
func TestContainers(t *testing.T) {
	const file, unit = "/srv/turn.conf", "netwatch-docker@turn.service"
	kept := doing("rotate coturn "+file, "restart "+unit)
	for _, c := range []struct {
		name, toml string
		machine.Container
		absent      bool
		level       Level
		words, hint string
	}{
		{"kept", kept, machine.Container{File: file, Keeper: unit}, false, "", "", ""},
		{
			"has the old file", kept,
			machine.Container{File: file, Keeper: unit, Replaced: true},
			false, Problem,
			"it still has the file that was there before " + file, "systemctl restart " + unit,
		},
		{"found like any other", stopped, machine.Container{File: file, Keeper: unit}, false, "", "", ""},
		{
			"unkept", stopped,
			machine.Container{File: file, Keeper: unit},
			true, Warning, "no rule keeps it right",
			"netwatch init --dry-run shows one: with that in /etc/netwatch/netwatch.toml, netwatch init puts " + unit +
				" in place, and systemctl reload netwatch.service has both in force",
		},
		{
			"not to be kept", stopped,
			machine.Container{Users: true},
			true, Warning, "no rule keeps it right",
			"it is of a user's own, and netwatch can restart only what a unit of the system runs: have one run it",
		},
	} {
		s := sceneOf(t, machinetest.Files{file: "realm=a\n"}, c.toml, nil)
		if c.absent {
			s.lookUnit = func(context.Context, string) (look systemd.UnitLook, err error) { return look, errors.New("none") }
		}
		c.Server, c.ID, c.Inside, s.Config = "coturn", "0123456789abcdef", file, "/etc/netwatch/netwatch.toml"
		s.found.Contained = []machine.Container{c.Container}
		found := checkContainers(t.Context(), s)
		if c.words == "" {
			none(t, c.name, found)
			continue
		}
		one(t, c.name, found, c.level, c.words)
		if len(found) == 1 && found[0].Hint != c.hint {
			t.Errorf("%s: the remedy is %s", c.name, found[0].Hint)
		}
	}
}

// A pair with the address of a container is right, and said to be one that nobody here knows; a
// rewriting would leave it.
func TestPairOfAContainer(t *testing.T) {
	const file = "/srv/turn.conf"
	systemdtest.New(t)
	s := sceneOf(t, machinetest.Files{file: "external-ip=203.0.113.1/172.31.255.2\n"},
		doing("rotate coturn "+file, "restart netwatch-docker@turn.service"), nil)
	one(t, "a pair", checkExternal(t.Context(), s), Warning, "172.31.255.2 is no address of this machine, and stays")
}
