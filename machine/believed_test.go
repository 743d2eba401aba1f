package machine_test

import (
	"maps"
	"strings"
	"testing"

	"netwatch/machine"
	"netwatch/machine/machinetest"
)

// A process in a container that calls itself coturn names whatever it has of this machine: a
// file is believed to be its own where it has something of coturn's, and no link is followed
// that the container can have put into its mount.
func TestContainedNamesAnything(t *testing.T) {
	sshd := mounted("turnserver -c /sshd_config", "/sshd_config", "Port 22\n")
	link := mounted("turnserver -c /v/t.conf", "/v/t.conf", plainConf)
	maps.Copy(link, machinetest.Files{
		"/proc/42/mountinfo": "30 1 0:9 / / rw - overlay o rw\n31 30 8:1 /srv/v /v rw - x x rw\n",
		"/srv/v/t.conf":      "-> /etc/turnserver.conf", "/etc/turnserver.conf": plainConf,
	})
	for want, files := range map[string]machinetest.Files{
		"nothing of coturn's in it": sshd, "a link in its mount leads to /srv/v/t.conf": link,
	} {
		m := machine.Running(files.Build(t), program, nil)
		if len(m.Turns) > 0 || len(m.Contained) != 1 || !strings.Contains(m.Contained[0].Lacks(), want) {
			t.Errorf("it does not say %q, and found %q of %+v", want, turnsOf(m), m.Contained)
		}
	}
}

// Whoever calls his process conmon or docker gets no container's unit to be his.
func TestEnginesOfAnother(t *testing.T) {
	for comm, line := range map[string]string{
		"conmon": "conmon -c " + dockerID, "docker": "docker start --attach turn",
	} {
		for uids, want := range map[string]string{
			"0\t0\t0\t0": "his.service", "1000\t1000\t1000\t1000": "netwatch-docker@turn.service",
			"1000\t0\t0\t0": "netwatch-docker@turn.service",
		} {
			his := processFiles("41", "/system.slice/his.service", line)
			his["/proc/41/comm"], his["/proc/41/status"] = comm+"\n", "Name:\tx\nUid:\t"+uids+"\n"
			m := machine.Running(mounted("turnserver -c /t.conf", "/t.conf", plainConf).And(his).Build(t), program, nil)
			if got := turnsOf(m); got != want+" /srv/file" {
				t.Errorf("%s of %s: it is %q", comm, uids, got)
			}
		}
	}
}

// What an image says of itself is no file that a container is made of.
func TestSourceIsThere(t *testing.T) {
	for label, want := range map[string]string{
		"/srv/c.yaml": "/srv/c.yaml", "/srv/c.yaml,/srv/d.yaml": "", "/srv/c.yaml; then run x": "",
	} {
		files := mounted("turnserver -c /t.conf", "/t.conf", plainConf)
		files["/srv/c.yaml"] = "services:\n"
		files["/var/lib/docker/containers/"+dockerID+"/config.v2.json"] = `{"Name": "/turn", "Config": {"Labels": {` +
			`"com.docker.compose.project.config_files": "` + label + `"}}}`
		m := machine.Running(files.Build(t), program, nil)
		if len(m.Contained) != 1 || m.Contained[0].Source != want {
			t.Errorf("%s: it is %+v", label, m.Contained)
		}
	}
}
