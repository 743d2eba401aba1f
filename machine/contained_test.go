package machine_test

import (
	"maps"
	"strings"
	"testing"

	"netwatch"
	"netwatch/machine"
	"netwatch/machine/machinetest"
)

// mounted are the files of a container of Docker called turn, which runs a program with a
// file of this machine.
func mounted(line, inside, text string) machinetest.Files {
	files := processFiles("42", "/system.slice/docker-"+dockerID+".scope", line)
	maps.Copy(files, machinetest.Files{
		"/srv/file":              text,
		"/proc/1/mountinfo":      "20 1 8:1 / / rw - ext4 /dev/a rw\n",
		"/proc/42/mountinfo":     "30 1 0:9 / / rw - overlay o rw\n31 30 8:1 /srv/file " + inside + " rw - x x rw\n",
		"/proc/42/root" + inside: text,
		"/proc/42/environ":       "TZ=UTC\x00",
		"/var/lib/docker/containers/" + dockerID + "/config.v2.json": `{"Name": "/turn"}`,
	})
	program, _, _ := strings.Cut(line, " ")
	files["/proc/42/comm"] = program + "\n"
	return files
}

const (
	hosts     = "-> /dev/null"
	livekits  = "livekit-server --config /livekit.yaml"
	plainConf = "use-auth-secret\nstatic-auth-secret=a\nrealm=a.example\nexternal-ip=203.0.113.5\n"
)

// sharesNetwork has the container the machine's network.
var sharesNetwork = machinetest.Files{"/proc/1/ns/net": hosts, "/proc/42/ns/net": hosts}

// A server in a container whose file is mounted from this machine is kept right like any
// other, by the unit that restarts it.
func TestContainedAmongTheRest(t *testing.T) {
	const unit = "netwatch-docker@turn.service"
	m := machine.Running(mounted("turnserver -c /t.conf", "/t.conf", plainConf).And(sharesNetwork).Build(t), program, nil)
	if len(m.Turns) != 1 || m.Turns[0].Unit != unit || m.Turns[0].Elsewhere || m.Turns[0].Unproven != nil {
		t.Errorf("coturn is %+v, of %+v", m.Turns, m.Contained)
	}
	calls := "port: 7880\nrtc:\n  node_ip: 203.0.113.5\nkeys:\n  a: b\n"
	m = machine.Running(mounted(livekits, "/livekit.yaml", calls).And(sharesNetwork).Build(t), program, nil)
	if len(m.Servers) != 1 || m.Servers[0].Unit != unit || m.Servers[0].Drain != "" || !m.Servers[0].Proven() {
		t.Errorf("LiveKit is %+v, of %+v", m.Servers, m.Contained)
	}
	m = machine.Running(mounted(livekits, "/livekit.yaml", calls).Build(t), program, nil)
	if len(m.Servers) != 1 || m.Servers[0].Proven() || m.Servers[0].Binds {
		t.Errorf("on a bridge LiveKit is %+v, of %+v", m.Servers, m.Contained)
	}
}

// A container of Docker's that a unit waits for is that unit's, which would else make it anew
// once more.
func TestContainedByAttachedUnit(t *testing.T) {
	for line, want := range map[string]string{
		"docker start --attach turn":           "matrix-coturn.service",
		"docker run --rm --name=turn turn:1":   "matrix-coturn.service",
		"docker run --rm --name turn turn:1":   "matrix-coturn.service",
		"docker start --attach turn2":          "netwatch-docker@turn.service",
		"docker run --rm --name=other turn2:1": "netwatch-docker@turn.service",
	} {
		client := processFiles("41", "/system.slice/matrix-coturn.service", line)
		client["/proc/41/comm"] = "docker\n"
		m := machine.Running(mounted("turnserver -c /t.conf", "/t.conf", plainConf).And(client).Build(t), program, nil)
		if got := turnsOf(m); got != want+" /srv/file" {
			t.Errorf("by %s it is %q", line, got)
		}
	}
}

// On a bridge coturn is asked only where all its ports lead into its container under their
// own numbers.
func TestContainedIsAskedWherePublished(t *testing.T) {
	for ports, want := range map[string]bool{
		`"3478/tcp": [{"HostIp": "", "HostPort": "3478"}], "3478/udp": [{"HostIp": "0.0.0.0", "HostPort": "3478"}]`: true,
		`"3478/udp": [{"HostIp": "", "HostPort": "3478"}]`:                                                          false,
		`"3478/tcp": [{"HostPort": "3478"}], "3478/udp": [{"HostPort": "13478"}]`:                                   false,
		`"3478/tcp": [{"HostPort": "3478"}], "3478/udp": [{"HostIp": "127.0.0.1", "HostPort": "3478"}]`:             false,
		``: false,
	} {
		files := mounted("turnserver -c /t.conf", "/t.conf", plainConf+"no-tls\nno-dtls\n").And(machinetest.Files{
			"/var/lib/docker/containers/" + dockerID + "/hostconfig.json": `{"PortBindings": {` + ports + `}}`,
		})
		m := machine.Running(files.Build(t), program, nil)
		if len(m.Turns) != 1 || !m.Turns[0].Elsewhere || (m.Turns[0].Unproven == nil) != want {
			t.Errorf("with %s it is %+v", ports, m.Turns)
		}
	}
}

// Where a rewritten file would not make it right, or make it wrong, it is left alone, and is
// said why.
func TestContainedRefused(t *testing.T) {
	pair := strings.Replace(plainConf, "203.0.113.5", "203.0.113.5/172.17.0.2", 1)
	for want, files := range map[string]machinetest.Files{
		"take --external-ip out": mounted("turnserver -c /t.conf --external-ip=203.0.113.5", "/t.conf",
			pair+"relay-ip=172.17.0.2\n"),
		"take --node-ip out":    mounted(livekits+" --node-ip 203.0.113.5", "/livekit.yaml", "port: 7880\n"),
		"leave /172.17.0.2 out": mounted("turnserver -c /t.conf", "/t.conf", pair),
		"(LIVEKIT_CONFIG says what its file should): in what the container is made of, have its command": mounted(
			livekits, "/livekit.yaml", "port: 7880\n").And(machinetest.Files{
			"/proc/42/environ": "LIVEKIT_CONFIG=port: 7880\x00",
		}),
		"no unit of systemd runs it": mounted("turnserver -c /t.conf", "/t.conf", plainConf).And(machinetest.Files{
			"/var/lib/docker/containers/" + dockerID + "/config.v2.json": `{"Name": "/a b"}`,
		}),
	} {
		m := machine.Running(files.Build(t), program, nil)
		if len(m.Turns)+len(m.Servers) > 0 || len(m.Contained) != 1 || !strings.Contains(m.Contained[0].Lacks(), want) {
			t.Errorf("it does not say %q but %+v (hint: %s)", want, m.Contained, netwatch.Hint(m.Contained[0].Refused))
		}
	}
	named := mounted("turnserver -c /t.conf", "/t.conf", pair+"relay-ip=172.17.0.2\n").Build(t)
	if m := machine.Running(named, program, nil); len(m.Turns) != 1 {
		t.Errorf("a pair that the file names is %+v", m.Contained)
	}
	own := mounted("turnserver -c /t.conf", "/t.conf", strings.Replace(pair, "172.17.0.2", "127.0.0.1", 1))
	for want, network := range map[bool]machinetest.Files{true: sharesNetwork, false: {}} {
		if m := machine.Running(own.And(network).Build(t), program, nil); len(m.Turns) != 1 || m.Turns[0].Auto != want {
			t.Errorf("a pair of this machine's is %+v of %+v", m.Turns, m.Contained)
		}
	}
	both := mounted("turnserver -c /t.conf --external-ip=203.0.113.5", "/t.conf", plainConf).Build(t)
	if m := machine.Running(both, program, nil); len(m.Turns) != 1 {
		t.Errorf("a plain line, which goes before the option, is %+v", m.Contained)
	}
}
