package doctor

import (
	"os"
	"testing"

	"netwatch/machine/machinetest"
)

func TestHooks(t *testing.T) {
	const (
		pem     = "/etc/yunohost/certs/matrix.example.org/crt.pem"
		live    = "/etc/letsencrypt/live/turn.example.org/fullchain.pem"
		wanted  = "[[rule]]\non = [\"cert-renewed\"]\ndo = [\"signal USR2 x.service\"]\n"
		ynh     = "/etc/yunohost/hooks.d/post_cert_update/50-netwatch"
		deploy  = "/etc/letsencrypt/renewal-hooks/deploy/netwatch"
		renewal = "/etc/letsencrypt/renewal/turn.example.org.conf"
		fires   = "#!/bin/sh\nset -- cert-renewed file=x\nnetwatch fire --no-wait \"$@\"\n"
	)
	for _, c := range []struct {
		name, cert, toml string
		hooks            machinetest.Files
		level            Level
		words            string
	}{
		{"none of YunoHost's", pem, wanted, nil, Warning, "no hook of yunohost tells"},
		{"YunoHost's", pem, wanted, machinetest.Files{ynh: fires}, OK, ynh + " tells"},
		{"a comment", pem, wanted, machinetest.Files{ynh: "# netwatch fire cert-renewed\n"}, Warning, "no hook of yunohost"},
		{"a copy of an editor's", pem, wanted, machinetest.Files{ynh + "~": fires}, Warning, "no hook of yunohost"},
		{"another's", pem, wanted, machinetest.Files{ynh: "systemctl restart synapse\n"}, Warning, "no hook of yunohost"},
		{"another renewer's", pem, wanted, machinetest.Files{deploy: fires}, Warning, "no hook of yunohost"},
		{"none of certbot's", live, wanted, nil, Warning, "no hook of certbot"},
		{"certbot's", live, wanted, machinetest.Files{deploy: fires}, OK, deploy + " tells"},
		{
			"in certbot's settings", live, wanted,
			machinetest.Files{renewal: "renew_hook = /usr/bin/netwatch fire cert-renewed\n"},
			OK, renewal + " tells",
		},
		{"watched", pem, wanted + "[source.cert]\nfiles = [\"" + pem + "\"]\n", nil, "", ""},
		{"elsewhere", "/etc/coturn/crt.pem", wanted, nil, "", ""},
		{"nobody waits", pem, "", nil, Note, "no rule waits for cert-renewed"},
	} {
		files := app(secret + "cert=" + c.cert + "\npkey=/k\n").And(c.hooks)
		s := sceneOf(t, files, rotating(c.toml), nil)
		for hook := range c.hooks {
			if err := os.Chmod(s.Tree.Host(hook), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if found := checkHooks(t.Context(), s); c.words == "" {
			none(t, c.name, found)
		} else {
			one(t, c.name, found, c.level, c.words)
		}
	}
	none(t, "TLS is off", checkHooks(t.Context(), sceneOf(t, app(secret+"no-tls\ncert="+pem+"\npkey=/k\n"),
		rotating(wanted), nil)))
	notRun := app(secret + "cert=" + live + "\npkey=/k\n").And(machinetest.Files{deploy: fires})
	one(t, "no program", checkHooks(t.Context(), sceneOf(t, notRun, rotating(wanted), nil)), Warning, "is no program")
}
