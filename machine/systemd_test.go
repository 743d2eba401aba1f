package machine_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/systemd"
)

// service is one that runs and starts at boot, as systemd tells it.
func service(name string, words ...string) systemd.Service {
	return systemd.Service{
		Name: name, Enabled: true, Running: true, MainPID: 42, Commands: []systemd.Command{{Words: words}},
	}
}

// turnsOf are the coturns that were found, each with its file.
func turnsOf(m machine.Machine) string {
	var all []string
	for _, t := range m.Turns {
		all = append(all, t.Unit+" "+t.File)
	}
	return strings.Join(all, ", ")
}

const ownConf = "realm=turn.example.org\nstatic-auth-secret=x\n"

// What a command starts is followed through what systemd and wrappers do with it, or
// it is said that it is not.
func TestCommands(t *testing.T) {
	tree := machinetest.Files{
		"/etc/a b.conf": ownConf, "/etc/turnserver.conf": ownConf, "/etc/coturn/own.conf": ownConf,
	}.Build(t)
	const found, left = "t.service /etc/a b.conf", ""
	for line, want := range map[string]string{
		"/usr/bin/turnserver|-c|/etc/a b.conf":                             found,
		"turnserver|-c/etc/a b.conf":                                       "t.service /etc/turnserver.conf",
		"/usr/bin/turnserver|-c|/etc/none|-c|/etc/a b.conf":                found,
		"/usr/bin/turnserver|--config=/etc/a b.conf":                       left,
		"/usr/bin/turnserver|-c|/etc/a b.conf|-n":                          left,
		"/usr/bin/turnserver":                                              "t.service /etc/turnserver.conf",
		"/usr/bin/env|LANG=C|turnserver|-c|/etc/a b.conf":                  found,
		"/bin/sh|-c|turnserver -c '/etc/a b.conf'":                         found,
		"/bin/bash|-e|-c|X=1 exec nice -n 5 turnserver -c '/etc/a b.conf'": found,
		"/usr/bin/busybox|sh|-c|exec turnserver -c \"/etc/a b.conf\"":      found,
		"/bin/sh|-c|cd /etc && exec turnserver -c '/etc/a b.conf'":         left,
		"/bin/sh|-c|turnserver -c \"$CONF\"":                               left,
		"/usr/bin/turnserver|-n":                                           left,
		"/usr/bin/turnserver|-c|own.conf":                                  "t.service /etc/coturn/own.conf",
		"/usr/bin/turnserver|-c|none.conf":                                 left,
		"/usr/bin/turnserver|-c|${STATE_DIRECTORY}/t.conf":                 left,
		"/usr/bin/turnserver|-c|/etc/none":                                 left,
	} {
		m := machine.Running(tree, program, []systemd.Service{service("t.service", strings.Split(line, "|")...)})
		if got := turnsOf(m); got != want {
			t.Errorf("%s: found %q", line, got)
		}
		if said := len(m.Unread) == 1; said != (want == left) {
			t.Errorf("%s: it says %v", line, m.Unread)
		}
	}
}

// Variables are the unit's own, over those of the manager; files come after, and what
// is taken out is empty.
func TestVariables(t *testing.T) {
	tree := machinetest.Files{
		"/etc/one.conf": ownConf, "/etc/two.conf": ownConf, "/etc/env.d/a": "N=one\n", "/etc/env.d/b": "N=two\n",
	}.Build(t)
	s := service("t.service", "turnserver", "-c", "/etc/${N}.conf", "$MORE")
	s.Environment, s.Unset = []string{"N=none", "N=one", "MORE=-n"}, []string{"MORE"}
	want := func(file string, unread int) {
		t.Helper()
		m := machine.Running(tree, program, []systemd.Service{s})
		if got := turnsOf(m); got != file || len(m.Unread) != unread {
			t.Errorf("found %q, and says %v", got, m.Unread)
		}
	}
	want("t.service /etc/one.conf", 0)
	s.Files = []systemd.EnvironmentFile{{Path: "/etc/env.d/*"}, {Path: "/etc/none", Optional: true}}
	want("t.service /etc/two.conf", 0)
	s.Files = append(s.Files, systemd.EnvironmentFile{Path: "/etc/none"})
	want("", 1)
	s.Commands[0] = systemd.Command{Words: []string{"turnserver", "-c", "/etc/one.conf", "$MORE"}, Literal: true}
	want("t.service /etc/one.conf", 0)
}

// Debian's coturn is left alone while nobody has set it up, and so is one that nobody
// starts; beside another, Debian's is not worth a word.
func TestIdle(t *testing.T) {
	tree := machinetest.Files{"/etc/turnserver.conf": "syslog\n", "/etc/own.conf": ownConf}.Build(t)
	debian, own := service("coturn.service", "turnserver"), service("own.service", "turnserver", "-c", "/etc/own.conf")
	stopped := own
	stopped.Enabled, stopped.Running = false, false
	for _, c := range []struct {
		services []systemd.Service
		turns    string
		idle     int
	}{
		{[]systemd.Service{debian}, "", 1},
		{[]systemd.Service{debian, own}, "own.service /etc/own.conf", 0},
		{[]systemd.Service{debian, stopped}, "", 1},
	} {
		m := machine.Running(tree, program, c.services)
		if turnsOf(m) != c.turns || len(m.Idle) != c.idle || len(m.Unread) != 0 {
			t.Errorf("found %q, and left alone %+v, %v", turnsOf(m), m.Idle, m.Unread)
		}
	}
}

// Where a unit starts coturn in a directory of its own, only a full path tells the file.
func TestWorkingDirectory(t *testing.T) {
	tree := machinetest.Files{"/etc/turnserver.conf": ownConf}.Build(t)
	for line, want := range map[string]string{
		"turnserver -c /etc/turnserver.conf": "t.service /etc/turnserver.conf", "turnserver": "",
	} {
		s := service("t.service", strings.Fields(line)...)
		s.Directory = "/var/lib/turn"
		m := machine.Running(tree, program, []systemd.Service{s})
		if got := turnsOf(m); got != want || (len(m.Unread) == 1) != (want == "") {
			t.Errorf("%s: found %q, and says %v", line, got, m.Unread)
		}
	}
}

// Of two units with one file that one is in use that runs.
func TestRunningUnitIsInUse(t *testing.T) {
	tree := machinetest.Files{"/etc/own.conf": ownConf}.Build(t)
	old := service("coturn-own.service", "turnserver", "-c", "/etc/own.conf")
	renamed := old
	renamed.Name, renamed.Running = "own-coturn.service", false
	m := machine.Running(tree, program, []systemd.Service{old, renamed})
	if got := turnsOf(m); got != "coturn-own.service /etc/own.conf" {
		t.Error(got)
	}
}

const dockerID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// process are the files of a process of coturn.
func processFiles(pid, cgroup, line string) machinetest.Files {
	dir := "/proc/" + pid
	return machinetest.Files{
		dir + "/comm": "turnserver\n", dir + "/cgroup": "0::" + cgroup + "\n",
		dir + "/cmdline": strings.ReplaceAll(line, " ", "\x00") + "\x00",
		dir + "/status":  "Name:\ta\nUid:\t0\t0\t0\t0\n",
	}
}

// What no command tells, a unit's main process does; of others it is said that they
// run.
func TestProcesses(t *testing.T) {
	files := machinetest.Files{"/etc/own.conf": ownConf}
	script := service("own.service", "/usr/local/bin/start")
	for cgroup, want := range map[string]string{
		"/system.slice/own.service":                             "own.service /etc/own.conf",
		"/system.slice/other.service":                           "",
		"/user.slice/user-0.slice/session-1.scope":              "",
		"/user.slice/user-1.slice/user@1.service/a/own.service": "",
		"/lxc.payload.turn/system.slice/own.service":            "",
	} {
		tree := files.And(processFiles("42", cgroup, "turnserver -c /etc/own.conf")).Build(t)
		m := machine.Running(tree, program, []systemd.Service{script})
		if got := turnsOf(m); got != want || (len(m.Unread) == 0) != (want != "") {
			t.Errorf("in %s: found %q, and says %v", cgroup, got, m.Unread)
		}
	}
	tree := files.And(processFiles("43", "/system.slice/own.service", "turnserver -c /etc/own.conf")).Build(t)
	if m := machine.Running(tree, program, []systemd.Service{script}); len(m.Turns) > 0 {
		t.Error("it takes a unit for coturn's that has one among its processes:", m.Turns)
	}
}

// Docker's containers are seen by their cgroup, whichever driver made it, with the
// file of this machine that is mounted there.
func TestContained(t *testing.T) {
	const inside, compose = "/etc/coturn/turnserver.conf", "/srv/turn/compose.yaml"
	want := machine.Container{
		Server: "coturn", Engine: "docker", ID: dockerID, Name: "turn", Source: compose, Inside: inside,
		File: "/srv/my turn/t.conf", Replaced: true, Keeper: "netwatch-docker@turn.service",
	}
	files := machinetest.Files{
		"/srv/my turn/t.conf": ownConf, compose: "services:\n",
		"/proc/1/mountinfo": "20 1 8:1 / / rw - ext4 /dev/a rw\n21 20 8:1 /srv /copy rw - ext4 /dev/a rw\n",
		"/proc/42/mountinfo": "30 1 0:9 / / rw - overlay o rw\n" +
			"31 30 8:1 /srv/my\\040turn/t.conf//deleted " + inside + " rw - x x rw\n",
		"/proc/42/root" + inside: "the old one",
		"/var/lib/docker/containers/" + dockerID + "/config.v2.json": `{"Name": "/turn", "Config": {"Labels": ` +
			`{"com.docker.compose.project.config_files": "` + compose + `"}}}`,
	}
	for cgroup, line := range map[string]string{
		"/docker/" + dockerID:                              "turnserver -c " + inside,
		"/system.slice/docker-" + dockerID + ".scope":      "turnserver --log-file=stdout",
		"/system.slice/docker-" + dockerID + ".scope/init": "turnserver -c turnserver.conf",
	} {
		tree := files.And(processFiles("42", cgroup, line)).Build(t)
		m := machine.Running(tree, program, nil)
		diff := cmp.Diff([]machine.Container{want}, m.Contained)
		if diff != "" || len(m.Unread) > 0 || turnsOf(m) != "netwatch-docker@turn.service /srv/my turn/t.conf" {
			t.Error(cgroup, diff, m.Unread, turnsOf(m))
		}
	}
}

// A container is run by the unit whose cgroup it is in, or which has podman's monitor;
// one of a user's own has none that counts.
func TestContainersUnit(t *testing.T) {
	monitor := machinetest.Files{
		"/proc/41/comm": "conmon\n", "/proc/41/cmdline": "conmon\x00-c\x00" + dockerID + "\x00",
		"/proc/41/cgroup": "5:name=systemd:/system.slice/container-turn.service\n0::/\n",
		"/proc/41/status": "Uid:\t0\t0\t0\t0\n",
	}
	const payload = "/libpod-" + dockerID + ".scope/container"
	for cgroup, unit := range map[string]string{
		"/system.slice/turn.service/libpod-payload-" + dockerID:                                  "turn.service",
		"/machine.slice" + payload:                                                               "container-turn.service",
		"/user.slice/user-1.slice/user@1.service/app.slice/t.service/libpod-payload-" + dockerID: "",
	} {
		files := processFiles("42", cgroup, "turnserver")
		if unit != "" {
			files = files.And(monitor)
		}
		m := machine.Running(files.Build(t), program, nil)
		if len(m.Contained) != 1 || m.Contained[0].Unit != unit || m.Contained[0].Users != (unit == "") {
			t.Errorf("in %s: %+v, %v", cgroup, m.Contained, m.Unread)
		}
	}
}

// What runs is named by whoever runs it, and printed harmlessly.
func TestProcessesPrinted(t *testing.T) {
	const evil = "\x1b[2J\u202e"
	id := dockerID[:60] + "beef"
	files := processFiles("42", "/user.slice/"+evil, "turnserver").
		And(processFiles("43", "/user.slice/user@1.service/"+id, "turnserver -c /"+evil))
	m := machine.Running(files.Build(t), program, nil)
	var b strings.Builder
	m.Print(&b)
	bad := func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }
	if text := b.String(); strings.ContainsFunc(text, bad) || len(m.Unread) != 1 || len(m.Contained) != 1 {
		t.Errorf("it prints %q", text)
	}
}
