package machine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/systemd"
)

// serversOf are the other servers that were found, each with its file.
func serversOf(m machine.Machine) string {
	var all []string
	for _, s := range m.Servers {
		all = append(all, s.Unit+" "+s.File)
	}
	return strings.Join(all, ", ")
}

// Of units with one file that one counts that runs; those that neither run nor start at
// boot are nobody's, and so are others that only have to do with a server.
func TestServersInUse(t *testing.T) {
	tree := machinetest.Servers.And(machinetest.Calls("synapse")).Build(t)
	words := func(line string) []string { return strings.Split(line, "|") }
	const calls = "nice|-n|5|livekit-server|--config|/etc/matrix-synapse/livekit.yml|--node-ip|203.0.113.5"
	off := func(s systemd.Service) systemd.Service { s.Enabled, s.Running = false, false; return s }
	boots := service("a-rtpengine.service", words("/usr/bin/rtpengine|--config-file|/etc/rtpengine/rtpengine.conf")...)
	boots.Running = false
	all := []systemd.Service{
		boots, service("rtpengine-daemon.service", words("rtpengine|--config-file=/etc/rtpengine/rtpengine.conf")...),
		off(service("janus.service", "/usr/bin/janus")),
		service("copies.service", words("/usr/bin/rsync|/usr/bin/janus|/backup")...),
		service("ejabberd.service", words("/bin/sh|-c|/usr/sbin/ejabberdctl foreground")...),
		service("a.service", words(calls)...),
		off(service("broken.service", words("sh|-c|livekit-server --config $X")...)),
	}
	m := machine.Running(tree, program, all)
	const want = "a.service /etc/matrix-synapse/livekit.yml, ejabberd.service /etc/ejabberd/ejabberd.yml, " +
		"rtpengine-daemon.service /etc/rtpengine/rtpengine.conf"
	if got := serversOf(m); got != want || len(m.Unread) > 0 {
		t.Errorf("found %s, and says %v", got, m.Unread)
	}
	if f := m.Servers[0].Flag; !f.InForce || f.Written {
		t.Errorf("the flag that only systemd knows is %+v", f)
	}
	all[len(all)-1].Running = true
	if m := machine.Running(tree, program, all); len(m.Unread) != 1 {
		t.Errorf("of what is not followed it says %v", m.Unread)
	}
}

// Root does not rewrite what others than root name, as the file of a server.
func TestServerNamedByOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root has something to lose")
		return
	}
	tree := machinetest.Files{
		"/etc/livekit.yml": "rtc:\n  udp_port: 7882\n", "/etc/theirs/env": "FILE=/etc/livekit.yml\n",
	}.Build(t)
	if err := os.Chown(filepath.Join(string(tree), "/etc/theirs"), 61001, 61001); err != nil {
		t.Fatal(err)
	}
	s := service("a.service", "livekit-server", "--config", "$FILE")
	s.Files = []systemd.EnvironmentFile{{Path: "/etc/theirs/env"}}
	m := machine.Running(tree, program, []systemd.Service{s})
	if len(m.Servers) > 0 || len(m.Unread) != 1 || !strings.Contains(m.Unread[0].Error(), "others than root can write") {
		t.Errorf("found %s, and says %v", serversOf(m), m.Unread)
	}
	s.Commands[0].Words = []string{"livekit-server", "--config", "/etc/livekit.yml"}
	if m := machine.Running(tree, program, []systemd.Service{s}); len(m.Servers) != 1 {
		t.Errorf("what root names is not seen: %v", m.Unread)
	}
}
