package machine_test

import (
	"strings"
	"testing"

	"netwatch/machine"
	"netwatch/machine/machinetest"
)

const program = "/usr/bin/netwatch"

// What is found is printed as it was looked at.
func TestFound(t *testing.T) {
	for name, m := range machinetest.Machines {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			machine.Find(m.Build(t), program).Print(&b)
			machinetest.Golden(t, name+".found", b.String())
		})
	}
}

// Only what is clearly the old scripts' goes.
func TestNotOld(t *testing.T) {
	base := machinetest.Machines["yunohost-since-2024"]
	const script = "/var/www/synapse/Coturn_config_rotate.sh"
	const sudo = "openvpn ALL=(ALL) NOPASSWD: /bin/systemctl restart "
	for name, m := range map[string]machinetest.Files{
		"cron of another app": {
			"/etc/cron.d/galene": "*/15 * * * * root bash /opt/yunohost/galene/Coturn_config_rotate.sh;\n",
		},
		"cron of something else": {"/etc/cron.d/backup": "0 3 * * * root /usr/local/bin/backup " + script + " --verbose\n"},
		"a comment of cron":      {"/etc/cron.d/coturn": "#*/15 * * * * root bash " + script + ";\n"},
		"a name cron passes by":  {"/etc/cron.d/coturn.bak": "*/15 * * * * root bash " + script + ";\n"},
		"sudo for more":          {"/etc/sudoers": sudo + "synapse-coturn.service, /bin/ls\n"},
		"sudo for another unit":  {"/etc/sudoers": sudo + "nginx.service\n"},
		"another script of VPN":  {"/etc/openvpn/c.conf": "client\nipchange /usr/local/bin/mine.sh\n"},
		"a hook for another":     {"/etc/openvpn/scripts/route-up.d/50-dns": "#!/bin/sh\nsystemctl restart dnsmasq\n"},
	} {
		tree := base.And(m).Build(t)
		for _, o := range machine.Find(tree, program).Old {
			if o.Kept == "" {
				t.Errorf("%s: %s would go: %v", name, o.File, o.Lines)
			}
		}
	}
}

// Of two units with one file the one that starts at boot is in use, whatever its
// name is.
func TestEnabledUnitIsInUse(t *testing.T) {
	tree := machinetest.YunoHost("synapse", "coturn-synapse.service", "matrix.example.org").And(machinetest.Files{
		"/etc/systemd/system/synapse-coturn.service": "[Service]\n" +
			"ExecStart=/usr/bin/turnserver -c /etc/matrix-synapse/coturn.conf\n",
	}).Build(t)
	turns := machine.Find(tree, program).Turns
	if len(turns) != 1 || turns[0].Unit != "coturn-synapse.service" {
		t.Errorf("%+v", turns)
	}
}

// A name leads where it would if the tree were /, also where nothing is there yet.
func TestResolve(t *testing.T) {
	tree := machinetest.Files{
		"/a/file": "", "/a/absolute": "-> /a/file", "/a/up": "-> ../../../a/file",
		"/a/dangling": "-> /b/later", "/a/loop": "-> loop",
	}.Build(t)
	for name, want := range map[string]string{
		"/a/file": "/a/file", "/a/absolute": "/a/file", "/a/up": "/a/file", "/": "/", "/../a": "/a",
		"/a/dangling": "/b/later", "/none/of/it": "/none/of/it", "/a/file/below": "/a/file/below",
		"/a/loop": "", "/none/../a/absolute": "",
	} {
		got, err := tree.Resolve(name)
		if (err == nil) != (want != "") || err == nil && got != tree.Host(want) {
			t.Errorf("%s leads to %s, %v, and not to %s", name, got, err, tree.Host(want))
		}
	}
}
