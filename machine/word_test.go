package machine_test

import (
	"os"
	"path/filepath"
	"testing"

	"netwatch"
	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/systemd"
)

// A file of variables in a directory of Synapse's user, as YunoHost's app has it, does
// not decide which file root rewrites.
func TestVariablesOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give it to another")
		return
	}
	const env = "/etc/matrix-synapse/coturn_env"
	for text, want := range map[string]string{
		"EXTRA_OPTIONS=\n":                          "t.service /etc/matrix-synapse/coturn.conf",
		"EXTRA_OPTIONS=--verbose\n":                 "t.service /etc/matrix-synapse/coturn.conf",
		"EXTRA_OPTIONS=-c /etc/ssh/sshd_config\n":   "",
		"EXTRA_OPTIONS=\"-v -c /etc/other.conf\"\n": "",
	} {
		tree := machinetest.Files{
			env: text, "/etc/matrix-synapse/coturn.conf": ownConf, "/etc/ssh/sshd_config": "Port 22\n",
			"/etc/other.conf": ownConf,
		}.Build(t)
		s := service("t.service", "turnserver", "-c", "/etc/matrix-synapse/coturn.conf", "$EXTRA_OPTIONS")
		s.Files = []systemd.EnvironmentFile{{Path: env}}
		given := func(name string) string {
			if err := os.Chown(filepath.Join(string(tree), name), 61001, 61001); err != nil {
				t.Fatal(err)
			}
			m := machine.Running(tree, program, []systemd.Service{s})
			if said := len(m.Unread) == 1 && netwatch.Hint(m.Unread[0]) != ""; said != (want == "") {
				t.Errorf("%s: it says %v", text, m.Unread)
			}
			return turnsOf(m)
		}
		for _, name := range []string{env, filepath.Dir(env)} {
			if got := given(name); got != want {
				t.Errorf("%s: found %q", text, got)
			}
		}
	}
}

// Whatever runs as a unit's main process can call itself a coturn with any file: it is
// believed where that is one of coturn.
func TestProcessNamesAnything(t *testing.T) {
	files := machinetest.Files{
		"/etc/ssh/sshd_config": "Port 22\n", "/etc/php/pool.conf": "user = www-data\n",
	}
	for name := range files {
		tree := files.And(processFiles("42", "/system.slice/own.service", "turnserver -c "+name)).Build(t)
		s := service("own.service", "/usr/local/bin/start")
		m := machine.Running(tree, program, []systemd.Service{s})
		if len(m.Turns) > 0 || len(m.Unread) != 1 {
			t.Errorf("%s: found %q, and says %v", name, turnsOf(m), m.Unread)
		}
	}
}

// A name that netwatch.toml cannot have is said, and keeps nothing else from it.
func TestTurnOfAnOddName(t *testing.T) {
	const odd = "/home/x/a\nb.conf"
	tree := machinetest.Files{odd: ownConf, "/etc/own.conf": ownConf}.And(
		processFiles("42", "/system.slice/odd.service", "turnserver -c "+odd)).Build(t)
	own := service("own.service", "turnserver", "-c", "/etc/own.conf")
	m := machine.Running(tree, program, []systemd.Service{service("odd.service", "/usr/local/bin/start"), own})
	if got := turnsOf(m); got != "own.service /etc/own.conf" || len(m.Unread) != 1 {
		t.Errorf("found %q, and says %v", got, m.Unread)
	}
}

// Files of OpenVPN that take each other in by ever longer names are read once each.
func TestCallersEnd(t *testing.T) {
	const file = "/etc/openvpn/c.conf"
	tree := machinetest.Files{
		file:             "config d/c.conf\nconfig e/c.conf\nup \"/usr/bin/netwatch hook openvpn\"\n",
		"/etc/openvpn/d": "-> .", "/etc/openvpn/e": "-> .", program: "",
	}.Build(t)
	reads := 0
	all := machine.Callers(tree, program, func(name string) []byte {
		if reads++; reads > 100 {
			return nil
		}
		text, _ := tree.Read(name)
		return text
	})
	if len(all) != 1 || reads > 100 {
		t.Errorf("after %d reads: %v", reads, all)
	}
}

// What a container has of its own below its cgroup is no unit of this machine.
func TestContainerNamesNoUnit(t *testing.T) {
	tree := processFiles("42", "/system.slice/docker-"+dockerID+".scope/ssh.service", "turnserver").Build(t)
	m := machine.Running(tree, program, []systemd.Service{service("ssh.service", "/usr/sbin/sshd")})
	if len(m.Contained) != 1 || m.Contained[0].Unit != "" {
		t.Errorf("it is %+v", m.Contained)
	}
}
