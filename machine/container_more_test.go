package machine_test

import (
	"maps"
	"strings"
	"testing"

	"netwatch/machine"
	"netwatch/machine/machinetest"
)

const tlsConf = plainConf + "tls-listening-port=5349\ncert=/certs/live/a/full.pem\npkey=/certs/live/a/key.pem\n"

// certificateOf has the directory of a certificate mounted, or the file alone, or neither.
func certificateOf(root, point string) machinetest.Files {
	files := mounted("turnserver -c /t.conf", "/t.conf", tlsConf).And(sharesNetwork).And(machinetest.Files{
		"/etc/le/live/a/full.pem": "c", "/etc/le/live/a/key.pem": "k", "/proc/42/root/certs/live/a/full.pem": "c",
	})
	if root != "" {
		files["/proc/42/mountinfo"] += "32 30 8:1 " + root + " " + point + " ro - x x rw\n"
	}
	return files
}

// A certificate that is mounted from this machine is the coturn's in a container, which its unit
// may reload, but not where the old file would be read again. One in the image is said.
func TestContainedCertificate(t *testing.T) {
	client := processFiles("41", "/system.slice/own.service", "docker start --attach turn")
	client["/proc/41/comm"] = "docker\n"
	const here = "/etc/le/live/a/full.pem"
	for _, c := range []struct {
		name              string
		files             machinetest.Files
		file, key, renews string
	}{
		{"its directory", certificateOf("/etc/le", "/certs"), here, "/etc/le/live/a/key.pem", "restart"},
		{"with a unit", certificateOf("/etc/le", "/certs").And(client), here, "/etc/le/live/a/key.pem", "reload-or-restart"},
		{"alone", certificateOf(here, "/certs/live/a/full.pem").And(client), here, "", "restart"},
		{"in the image", certificateOf("", ""), "", "", "restart"},
	} {
		m := machine.Running(c.files.Build(t), program, nil)
		if len(m.Turns) != 1 || m.Turns[0].Certificate.File != c.file || m.Turns[0].Certificate.Key != c.key ||
			m.Turns[0].Renews != c.renews || (m.Turns[0].TLS != 0) != (c.file != "") ||
			(m.Contained[0].Sealed != "") != (c.file == "") {
			t.Errorf("%s: it is %+v of %+v", c.name, m.Turns, m.Contained)
		}
	}
	option := certificateOf("/etc/le", "/certs")
	option["/proc/42/cmdline"] = "turnserver\x00-c\x00/t.conf\x00--cert=/certs/live/a/full.pem\x00"
	option["/srv/file"] = plainConf
	if m := machine.Running(option.Build(t), program, nil); len(m.Turns) != 1 || m.Turns[0].Certificate.File != here {
		t.Errorf("by an option it is %+v", m.Turns)
	}
}

// What Podman's netavark keeps of ports says at which of them callers ask, where these are the
// same in the container and at all addresses.
func TestContainedPortsOfPodman(t *testing.T) {
	const udp = `{"container_port": 3478, "host_ip": "", "host_port": 3478, "protocol": "udp", "range": 1}`
	for ports, want := range map[string]string{
		udp + `, {"container_port": 3478, "host_ip": "0.0.0.0", "host_port": 3478, "protocol": "tcp", "range": 1}`: "asked",
		`{"container_port": 3470, "host_port": 3470, "protocol": "tcp,udp", "range": 10}`:                          "asked",
		udp: "",
		udp + `, {"container_port": 3478, "host_ip": "127.0.0.1", "host_port": 3478, "protocol": "tcp"}`: "",
		udp + `, {"container_port": 3478, "host_ip": "", "host_port": 13478, "protocol": "tcp"}`:         "",
		``: "",
	} {
		files := mounted("turnserver -c /t.conf", "/t.conf", plainConf+"no-tls\nno-dtls\n")
		maps.Copy(files, processFiles("42", "/machine.slice/libpod-"+dockerID+".scope/container", "turnserver -c /t.conf"))
		maps.Copy(files, machinetest.Files{
			"/proc/42/comm": "turnserver\n",
			"/var/lib/containers/storage/overlay-containers/containers.json": `[{"id": "` + dockerID + `", "names": ["turn"]}]`,
			"/run/containers/networks/firewall/ports/2f25_" + dockerID:       `{"port_mappings": [` + ports + `]}`,
		})
		m := machine.Running(files.Build(t), program, nil)
		if len(m.Turns) != 1 || (m.Turns[0].Unproven == nil) != (want == "asked") {
			t.Errorf("with %s it is %+v of %+v", ports, m.Turns, m.Contained)
		}
	}
}

// A unit that waits for a project of Compose is the one that runs its container, by the directory,
// a file or a name of the project, where it would end with that; who only reads its log, or has
// another project, is not.
func TestContainedByCompose(t *testing.T) {
	const labels = `{"ID": "` + dockerID + `", "Name": "/turn-coturn-1", "State": {"Running": true},
		"Config": {"Labels": {"com.docker.compose.project": "turn",
		"com.docker.compose.service": "coturn", "com.docker.compose.project.working_dir": "/srv/turn",
		"com.docker.compose.project.config_files": "/srv/turn/compose.yaml,/srv/turn/more.yaml"}}}`
	const other = `{"ID": "1", "State": {"Running": true}, "Config": {"Labels": {"com.docker.compose.project": "turn"}}}`
	for _, c := range []struct {
		line, cwd string
		runs      bool
		other     string
	}{
		{"docker compose up", "/srv/turn", true, ""},
		{"docker-compose compose up", "/srv/turn", true, ""},
		{"docker compose up", "/srv/other", false, ""},
		{"docker compose --project-directory ../turn up", "/srv/other", true, ""},
		{"docker compose -f more.yaml up coturn", "/srv/turn", true, ""},
		{"docker compose --file=/srv/turn/compose.yaml up", "/", true, ""},
		{"docker compose -f compose.yaml up", "/srv/other", false, ""},
		{"docker compose -p turn up", "/", true, ""},
		{"docker compose -p other up", "/srv/turn", false, ""},
		{"docker compose logs -f", "/srv/turn", false, ""},
		{"docker logs -f turn-coturn-1", "/srv/turn", false, ""},
		{"docker compose up", "/srv/turn", false, other},
		{"docker compose up --abort-on-container-exit", "/srv/turn", true, other},
		{"docker compose up", "/srv/turn", true, strings.Replace(other, "true", "false", 1)},
		{"docker compose up", "/srv/turn", true, strings.Replace(other, `": "turn"`, `": "else"`, 1)},
	} {
		client := processFiles("41", "/system.slice/own.service", c.line)
		comm, _, _ := strings.Cut(c.line, " ")
		client["/proc/41/comm"], client["/proc/41/cwd"] = comm+"\n", "-> "+c.cwd
		files := mounted("turnserver -c /t.conf", "/t.conf", plainConf).And(client)
		files["/var/lib/docker/containers/"+dockerID+"/config.v2.json"] = labels
		files["/var/lib/docker/containers/other/config.v2.json"] = c.other
		want := "netwatch-docker@turn-coturn-1.service /srv/file"
		if c.runs {
			want = "own.service /srv/file"
		}
		if got := turnsOf(machine.Running(files.Build(t), program, nil)); got != want {
			t.Errorf("by %s in %s it is %q", c.line, c.cwd, got)
		}
	}
}
