// Package machinetest makes copies of machines for tests, cut down to the files that
// are looked at.
package machinetest

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch/machine"
)

// Files are those of a machine by name; a content "-> NAME" is a symlink. They are
// what the packages write there.
type Files map[string]string

const debianTurnUnit = "[Service]\nUser=turnserver\nType=notify\n" +
	"ExecStart=/usr/bin/turnserver -c /etc/turnserver.conf --pidfile=\nRestart=on-failure\n"

// YunoHost is an instance of the Synapse app of YunoHost, with its unit of coturn
// named as before or since 2024.
func YunoHost(app, unit, domain string) Files {
	dir := "/etc/matrix-" + app
	history := "/etc/yunohost/certs/" + domain + "-history/20260101.000000-letsencrypt"
	return Files{
		"/usr/lib/systemd/system/coturn.service":                     debianTurnUnit,
		"/etc/turnserver.conf":                                       "# nothing is set\nsyslog\n",
		"/etc/systemd/system/multi-user.target.wants/coturn.service": "-> /usr/lib/systemd/system/coturn.service",
		"/etc/yunohost/apps/" + app + "/settings.yml": "app: " + app + "\ndomain: " + domain + "\nid: " + app + "\n" +
			"port_turnserver_tls: '5349'\n",
		"/etc/yunohost/certs/" + domain: "-> " + history,
		history + "/crt.pem":            "the certificate",
		history + "/key.pem":            "the key",
		dir + "/coturn.conf": "use-auth-secret\nstatic-auth-secret=hidden\nrealm=" + domain + "\n" +
			"cert=/etc/yunohost/certs/" + domain +
			"/crt.pem\npkey=/etc/yunohost/certs/" + domain + "/key.pem\nexternal-ip=203.0.113.5\n",
		dir + "/coturn_env": "EXTRA_OPTIONS=\n",
		dir + "/homeserver.yaml": "server_name: " + domain + "\nlisteners:\n" +
			"  - port: 8008\n    tls: false\n",
		"/etc/systemd/system/" + unit: "[Service]\nUser=turnserver\nType=notify\n" +
			"EnvironmentFile=" + dir + "/coturn_env\n" +
			"ExecStart=/usr/bin/turnserver -c " + dir + "/coturn.conf $EXTRA_OPTIONS --pidfile=\n",
		"/etc/systemd/system/" + app + ".service": "[Service]\nType=simple\n" +
			"ExecStart=/opt/yunohost/matrix-" + app + "/bin/python -m synapse.app.homeserver" +
			" --config-path " + dir + "/homeserver.yaml\n",
		"/etc/systemd/system/multi-user.target.wants/" + unit:             "-> /etc/systemd/system/" + unit,
		"/var/www/" + app + "/Coturn_config_rotate.sh":                    "#!/bin/bash\nexit 0\n",
		"/etc/yunohost/apps/nextcloud/settings.yml":                       "id: nextcloud\ndomain: cloud.example.org\n",
		"/opt/yunohost/galene/Coturn_config_rotate.sh":                    "#!/bin/bash\nexit 0\n",
		"/etc/systemd/system/multi-user.target.wants/" + app + ".service": "-> /etc/systemd/system/" + app + ".service",
	}
}

// ServesTLS is a YunoHost whose Synapse has no proxy before it. It says so in the second
// of its files, and the app restarts it itself when the certificate was renewed.
var ServesTLS = YunoHost("synapse", "synapse-coturn.service", "matrix.example.org").And(Files{
	"/etc/systemd/system/synapse.service": "[Service]\nType=simple\n" +
		"ExecStart=/opt/yunohost/matrix-synapse/bin/python -m synapse.app.homeserver" +
		" --config-path=/etc/matrix-synapse/homeserver.yaml --config-path=/etc/matrix-synapse/conf.d/\n",
	"/etc/matrix-synapse/conf.d/listeners.yaml": "listeners:\n  - {port: 8448, tls: true}\n" +
		"tls_certificate_path: /etc/yunohost/certs/matrix.example.org/crt.pem\n" +
		"tls_private_key_path: /etc/yunohost/certs/matrix.example.org/key.pem\n",
	"/etc/yunohost/hooks.d/post_cert_update/50-synapse": "#!/bin/bash\n" +
		"if [ \"$1\" = matrix.example.org ]; then systemctl restart synapse; fi\n",
})

// Calls are LiveKit as YunoHost's app has it: with the address in its unit.
func Calls(app string) Files {
	dir := "/etc/matrix-" + app
	unit := "/etc/systemd/system/" + app + "-livekit.service"
	return Files{
		dir + "/livekit.yml": "port: 7880\nrtc:\n  port_range_start: 49153\n  port_range_end: 49193\n  tcp_port: 7881\n" +
			"  use_external_ip: false\nkeys:\n  element_call: hidden\n",
		unit: "[Service]\nType=simple\nUser=" + app + "\n" + "ExecStart=/opt/yunohost/matrix-" + app +
			"/livekit-server --config " + dir + "/livekit.yml --node-ip 203.0.113.5\n",
		"/etc/systemd/system/multi-user.target.wants/" + app + "-livekit.service": "-> " + unit,
		"/opt/yunohost/matrix-" + app + "/livekit-server":                         goProgram,
	}
}

// goProgram is a program as far as it says of what modules Go has made it.
const goProgram = "\x7fELF, and what else there is, 32\xff Go buildinf:\x08\x02" +
	"0123456789abcdef" + "\x08go1.25.0" + "\x4c" + "0w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6path\tx\n" +
	"mod\tgithub.com/livekit\tv1.9.12\th1:x=\n\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2"

// Servers are those that Debian's packages and others bring.
var Servers = Files{
	"/var/lib/dpkg/status": "Package: ejabberd\nStatus: install ok installed\nVersion: 23.01-1\n\n" +
		"Package: janus\nStatus: deinstall ok config-files\nVersion: 1.1.2-1\n",
	"/lib/systemd/system/ejabberd.service": "[Service]\nType=notify\nUser=ejabberd\n" +
		"ExecStart=/bin/sh -c '/usr/sbin/ejabberdctl foreground'\n",
	"/etc/ejabberd/ejabberd.yml": "hosts: [localhost]\nlisten:\n  -\n    port: 5222\n    module: ejabberd_c2s\n" +
		"  -\n    port: 3478\n    transport: udp\n    module: ejabberd_stun\n    use_turn: true\n",
	"/lib/systemd/system/eturnal.service": "[Service]\nExecStart=/usr/sbin/eturnalctl foreground\n",
	"/etc/eturnal.yml":                    "eturnal:\n  secret: hidden\n",
	"/lib/systemd/system/janus.service":   "[Service]\nExecStart=/usr/bin/janus --disable-colors --daemon --log-stdout\n",
	"/etc/janus/janus.jcfg":               "media: {\n\t#rtp_port_range = \"20000-40000\"\n}\nnat: {\n}\n",
	"/lib/systemd/system/rtpengine-daemon.service": "[Service]\nEnvironmentFile=/etc/default/rtpengine-daemon\n" +
		"ExecStart=/usr/bin/rtpengine -f -E --config-file /etc/rtpengine/rtpengine.conf\n",
	"/lib/systemd/system/rtpengine.service": "[Service]\nEnvironmentFile=/etc/default/rtpengine-daemon\n" +
		"ExecStart=/usr/bin/rtpengine -f -E --config-file /etc/rtpengine/rtpengine.conf\n",
	"/etc/default/rtpengine-daemon": "CONFIG_FILE=/etc/rtpengine/rtpengine.conf\n",
	"/etc/rtpengine/rtpengine.conf": "[rtpengine]\ninterface = 192.168.50.2\nport-min = 30000\nport-max = 40000\n",
}

// Itself is a LiveKit that asks for its address itself, and whose TURN server speaks TLS.
var Itself = Files{
	"/etc/livekit.yml": "keys:\n  calls: hidden\nrtc:\n  use_external_ip: true\n  udp_port: 7882\n" +
		"turn:\n  enabled: true\n  domain: turn.example.org\n  tls_port: 5349\n" +
		"  cert_file: /etc/letsencrypt/live/turn.example.org/fullchain.pem\n" +
		"  key_file: /etc/letsencrypt/live/turn.example.org/privkey.pem\n",
	"/etc/systemd/system/livekit.service": "[Service]\n" +
		"ExecStart=livekit-server --config=/etc/livekit.yml\n",
	"/etc/letsencrypt/live/turn.example.org/fullchain.pem": "the certificate",
}

// And is this machine with more files.
func (f Files) And(more Files) Files {
	all := maps.Clone(f)
	maps.Copy(all, more)
	return all
}

// old are the files that YunoHost's documentation of Synapse had made by hand.
func old(app, unit string) Files {
	return Files{
		"/etc/cron.d/coturn_config_rotate": "*/15 * * * * root bash /var/www/" + app + "/Coturn_config_rotate.sh;\n",
		"/etc/sudoers": "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n" +
			"openvpn    ALL=(ALL) NOPASSWD: /bin/systemctl restart " + unit + "\n%sudo ALL=(ALL:ALL) ALL\n",
		"/usr/local/bin/openvpn_up_script.sh": "#!/bin/bash\n\n(\n    sleep 5\n    sudo systemctl restart " + unit + "\n" +
			") &\nexit 0\n",
		"/etc/openvpn/client/vpn.conf": "client\nremote vpn.example.org 1194\nuser nobody\nscript-security 2\n" +
			"ipchange /usr/local/bin/openvpn_up_script.sh\n# the end",
	}
}

// Machines are those that tests look at, by what they are.
var Machines = map[string]Files{
	"yunohost-before-2024": YunoHost("synapse", "coturn-synapse.service", "matrix.example.org").
		And(old("synapse", "coturn-synapse.service")),
	"yunohost-since-2024": YunoHost("synapse", "synapse-coturn.service", "matrix.example.org"),
	"yunohost-renamed": YunoHost("synapse", "synapse-coturn.service", "matrix.example.org").And(Files{
		"/etc/systemd/system/coturn-synapse.service": "[Service]\n" +
			"ExecStart=/usr/bin/turnserver -c /etc/matrix-synapse/coturn.conf\n",
	}).And(old("synapse", "coturn-synapse.service")),
	"yunohost-two": YunoHost("synapse", "synapse-coturn.service", "matrix.example.org").
		And(YunoHost("synapse__2", "synapse__2-coturn.service", "chat.example.net")),
	"yunohost-serves-tls": ServesTLS,
	"debian": {
		"/usr/lib/systemd/system/coturn.service": debianTurnUnit,
		"/etc/turnserver.conf": "realm=turn.example.org\nuse-auth-secret\nstatic-auth-secret=hidden\n" +
			"cert=/etc/letsencrypt/live/turn.example.org/fullchain.pem\n" +
			"pkey=/etc/letsencrypt/live/turn.example.org/privkey.pem\n",
		"/etc/letsencrypt/live/turn.example.org/fullchain.pem": "the certificate",
		"/etc/letsencrypt/live/www.example.org/fullchain.pem":  "another",
		"/etc/ssl/matrix.crt": "Synapse's",
		"/usr/lib/systemd/system/matrix-synapse.service": "[Service]\nType=notify\n" +
			"ExecStart=/usr/bin/python3 -m synapse.app.homeserver" +
			" --config-path=/etc/matrix-synapse/homeserver.yaml --config-path=/etc/matrix-synapse/homeserver.yaml\n",
		"/etc/matrix-synapse/homeserver.yaml": "listeners:\n  - port: 8448\n    tls: true\n" +
			"tls_certificate_path: \"/etc/ssl/matrix.crt\"\ntls_private_key_path: \"/etc/ssl/private/matrix.key\" # for root\n",
		"/etc/systemd/system/turn.service": "-> /usr/lib/systemd/system/coturn.service",
		"/etc/openvpn/server.conf":         "mode server\n",
		"/etc/openvpn/home.conf":           ";comment\nremote vpn.example.org\n",
	},
	"yunohost-calls": YunoHost("synapse", "synapse-coturn.service", "matrix.example.org").And(Calls("synapse")).
		And(YunoHost("synapse__2", "synapse__2-coturn.service", "chat.example.net")).And(Calls("synapse__2")),
	"servers": Servers,
	"livekit": Itself,
	"refused": {
		"/etc/systemd/system/livekit.service": "[Service]\nExecStart=livekit-server --config /etc/livekit.yml\n",
		"/etc/livekit.yml":                    "rtc:\n  node_ip: {{ ip }}\n",
		"/etc/systemd/system/none.service":    "[Service]\nExecStart=livekit-server --config /etc/none.yml\n",
		"/etc/systemd/system/env.service": "[Service]\nEnvironment=NODE_IP=203.0.113.5\n" +
			"ExecStart=livekit-server --config /etc/livekit.yml\n",
		"/etc/systemd/system/xmpp.service": "[Service]\nExecStart=ejabberdctl foreground\n",
		"/etc/ejabberd/ejabberd.yml":       "listen:\n  -\n    port: 5222\n    module: ejabberd_c2s\n",
		"/etc/systemd/system/sip.service":  "[Service]\nExecStart=rtpengine\n",
		"/etc/rtpengine/rtpengine.conf":    "[rtpengine]\ninterface = any\n",
		"/etc/systemd/system/one.service":  "[Service]\nExecStart=janus\n",
		"/etc/janus/janus.jcfg":            "nat: {\n}\n",
	},
	"nothing": {"/etc/hostname": "plain\n"},
}

// Build makes a machine's files below a scratch directory.
func (f Files) Build(t *testing.T) machine.Tree {
	t.Helper()
	root := t.TempDir()
	for name, content := range f {
		host := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(host), 0o755) //nolint:gosec // What everyone may read there, everyone may here.
		if target, link := strings.CutPrefix(content, "-> "); link && err == nil {
			err = os.Symlink(target, host)
		} else if err == nil {
			err = os.WriteFile(host, []byte(content), 0o644) //nolint:gosec // See above.
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return machine.Tree(root)
}

var update = flag.Bool("update", false, "write the goldens anew")

// Golden wants a text to be what the file in testdata says.
func Golden(t *testing.T, file, text string) {
	t.Helper()
	golden := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Error(diff)
	}
}
