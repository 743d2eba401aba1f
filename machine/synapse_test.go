package machine_test

import (
	"testing"

	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/systemd"
)

// Of several files and directories the last word counts, key by key, as Synapse takes
// them.
func TestSynapseConfiguration(t *testing.T) {
	const cert = "tls_certificate_path: /etc/ssl/a.crt\ntls_private_key_path: /etc/ssl/a.key\n"
	const tls, plain = "listeners:\n- port: 8448\n  tls: true\n", "listeners:\n- port: 8008\n  tls: false\n"
	for name, c := range map[string]struct {
		files machinetest.Files
		want  string
	}{
		"one file": {machinetest.Files{"/m/homeserver.yaml": cert + tls}, "/etc/ssl/a.crt"},
		"in flow style": {machinetest.Files{
			"/m/homeserver.yaml": cert + "listeners: [{port: 1, tls: true}]\n",
		}, "/etc/ssl/a.crt"},
		"a proxy before": {machinetest.Files{"/m/homeserver.yaml": cert + plain}, ""},
		"another's tls":  {machinetest.Files{"/m/homeserver.yaml": cert + plain + "redis:\n  tls: true\n"}, ""},
		"in the directory": {machinetest.Files{
			"/m/homeserver.yaml": plain, "/m/conf.d/tls.yaml": cert + tls,
		}, "/etc/ssl/a.crt"},
		"the last of it": {machinetest.Files{
			"/m/conf.d/1.yaml": cert + tls, "/m/conf.d/2.yaml": "tls_certificate_path: '/etc/ssl/b.crt'\n",
		}, "/etc/ssl/b.crt"},
		"taken back": {machinetest.Files{"/m/conf.d/1.yaml": cert + tls, "/m/conf.d/2.yaml": plain}, ""},
		"no yaml":    {machinetest.Files{"/m/homeserver.yaml": cert + plain, "/m/conf.d/2.yaml.bak": tls}, ""},
	} {
		files := machinetest.Files{"/m/homeserver.yaml": "", "/m/conf.d/0.yaml": ""}.And(c.files)
		m := machine.Running(files.Build(t), program, []systemd.Service{service("synapse.service", "python", "-m",
			"synapse.app.homeserver", "--config-path=/m/homeserver.yaml", "--config-path", "/m/conf.d/")})
		if len(m.Synapses) != 1 || m.Synapses[0].Certificate.File != c.want || len(m.Unread) > 0 {
			t.Errorf("%s: found %+v, and says %v", name, m.Synapses, m.Unread)
		}
	}
}

// The hook of YunoHost's app counts where it restarts Synapse.
func TestAppHook(t *testing.T) {
	const hook = "/etc/yunohost/hooks.d/post_cert_update/50-synapse"
	for text, want := range map[string]string{
		"#!/bin/bash\nif [ \"$1\" = x ]; then systemctl restart synapse; fi\n": hook,
		"#!/bin/bash\n# does not restart anything\n":                           "",
		"": "",
	} {
		m := machine.Find(machinetest.ServesTLS.And(machinetest.Files{hook: text}).Build(t), program)
		if len(m.Synapses) != 1 || m.Synapses[0].Hook != want || m.Synapses[0].Certificate.File == "" {
			t.Errorf("%q: found %+v", text, m.Synapses)
		}
	}
}
