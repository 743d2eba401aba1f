package setup_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netwatch/setup"
)

// A machine is the files of one by name; a content "-> NAME" is a symlink. They
// are what the packages write there, cut down to what is looked at.
type machine map[string]string

const debianTurnUnit = "[Service]\nUser=turnserver\nType=notify\nExecStart=/usr/bin/turnserver -c /etc/turnserver.conf --pidfile=\nRestart=on-failure\n"

// yunohost is an instance of the Synapse app of YunoHost, with its unit of coturn
// named as before or since 2024.
func yunohost(app, unit, domain string) machine {
	dir := "/etc/matrix-" + app
	history := "/etc/yunohost/certs/" + domain + "-history/20260101.000000-letsencrypt"
	return machine{
		"/usr/lib/systemd/system/coturn.service":      debianTurnUnit,
		"/etc/turnserver.conf":                        "# nothing is set\n",
		"/etc/yunohost/apps/" + app + "/settings.yml": "app: " + app + "\ndomain: " + domain + "\nid: " + app + "\nport_turnserver_tls: '5349'\n",
		"/etc/yunohost/certs/" + domain:               "-> " + history,
		history + "/crt.pem":                          "the certificate",
		history + "/key.pem":                          "the key",
		dir + "/coturn.conf": "use-auth-secret\nstatic-auth-secret=hidden\nrealm=" + domain + "\ncert=/etc/yunohost/certs/" + domain +
			"/crt.pem\npkey=/etc/yunohost/certs/" + domain + "/key.pem\nexternal-ip=203.0.113.5\n",
		dir + "/homeserver.yaml":                                          "server_name: " + domain + "\nlisteners:\n  - port: 8008\n    tls: false\n",
		"/etc/systemd/system/" + unit:                                     "[Service]\nUser=turnserver\nType=notify\nEnvironmentFile=" + dir + "/coturn_env\nExecStart=/usr/bin/turnserver -c " + dir + "/coturn.conf $EXTRA_OPTIONS --pidfile=\n",
		"/etc/systemd/system/" + app + ".service":                         "[Service]\nType=simple\nExecStart=/opt/yunohost/matrix-" + app + "/bin/python -m synapse.app.homeserver --config-path " + dir + "/homeserver.yaml\n",
		"/etc/systemd/system/multi-user.target.wants/" + unit:             "-> /etc/systemd/system/" + unit,
		"/var/www/" + app + "/Coturn_config_rotate.sh":                    "#!/bin/bash\nexit 0\n",
		"/etc/yunohost/apps/nextcloud/settings.yml":                       "id: nextcloud\ndomain: cloud.example.org\n",
		"/opt/yunohost/galene/Coturn_config_rotate.sh":                    "#!/bin/bash\nexit 0\n",
		"/etc/systemd/system/multi-user.target.wants/" + app + ".service": "-> /etc/systemd/system/" + app + ".service",
	}
}

// and is this machine with more files.
func (m machine) and(more machine) machine {
	all := maps.Clone(m)
	maps.Copy(all, more)
	return all
}

// old are the files that YunoHost's documentation of Synapse had made by hand.
func old(app, unit string) machine {
	return machine{
		"/etc/cron.d/coturn_config_rotate":    "*/15 * * * * root bash /var/www/" + app + "/Coturn_config_rotate.sh;\n",
		"/etc/sudoers":                        "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\nopenvpn    ALL=(ALL) NOPASSWD: /bin/systemctl restart " + unit + "\n%sudo ALL=(ALL:ALL) ALL\n",
		"/usr/local/bin/openvpn_up_script.sh": "#!/bin/bash\n\n(\n    sleep 5\n    sudo systemctl restart " + unit + "\n) &\nexit 0\n",
		"/etc/openvpn/client/vpn.conf":        "client\nremote vpn.example.org 1194\nuser nobody\nscript-security 2\nipchange /usr/local/bin/openvpn_up_script.sh\n# the end",
	}
}

var machines = map[string]machine{
	"yunohost-before-2024": yunohost("synapse", "coturn-synapse.service", "matrix.example.org").and(old("synapse", "coturn-synapse.service")),
	"yunohost-since-2024":  yunohost("synapse", "synapse-coturn.service", "matrix.example.org"),
	"yunohost-renamed": yunohost("synapse", "synapse-coturn.service", "matrix.example.org").and(machine{
		"/etc/systemd/system/coturn-synapse.service": "[Service]\nExecStart=/usr/bin/turnserver -c /etc/matrix-synapse/coturn.conf\n",
	}).and(old("synapse", "coturn-synapse.service")),
	"yunohost-two": yunohost("synapse", "synapse-coturn.service", "matrix.example.org").
		and(yunohost("synapse__2", "synapse__2-coturn.service", "chat.example.net")),
	"debian": {
		"/usr/lib/systemd/system/coturn.service":               debianTurnUnit,
		"/etc/turnserver.conf":                                 "realm=turn.example.org\ncert=/etc/letsencrypt/live/turn.example.org/fullchain.pem\npkey=/etc/letsencrypt/live/turn.example.org/privkey.pem\n",
		"/etc/letsencrypt/live/turn.example.org/fullchain.pem": "the certificate",
		"/etc/letsencrypt/live/www.example.org/fullchain.pem":  "another",
		"/usr/lib/systemd/system/matrix-synapse.service":       "[Service]\nType=notify\nExecStart=/usr/bin/python3 -m synapse.app.homeserver --config-path=/etc/matrix-synapse/homeserver.yaml --config-path=/etc/matrix-synapse/homeserver.yaml\n",
		"/etc/matrix-synapse/homeserver.yaml":                  "listeners:\n  - port: 8448\n    tls: true\ntls_certificate_path: \"/etc/ssl/matrix.crt\"\ntls_private_key_path: \"/etc/ssl/private/matrix.key\" # for root\n",
		"/etc/systemd/system/turn.service":                     "-> /usr/lib/systemd/system/coturn.service",
		"/etc/openvpn/server.conf":                             "mode server\n",
		"/etc/openvpn/home.conf":                               ";comment\nremote vpn.example.org\n",
	},
	"nothing": {"/etc/hostname": "plain\n"},
}

// build makes a machine's files below a scratch directory.
func (m machine) build(t *testing.T) setup.Tree {
	t.Helper()
	root := t.TempDir()
	for name, content := range m {
		host := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(host), 0o755)
		if target, link := strings.CutPrefix(content, "-> "); link && err == nil {
			err = os.Symlink(target, host)
		} else if err == nil {
			err = os.WriteFile(host, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return setup.Tree(root)
}

// A file is what must be the same again: content, mode and owner.
type file struct {
	Content string
	Mode    os.FileMode
	UID     uint32
	GID     uint32
}
