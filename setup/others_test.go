package setup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/setup"
)

// ofAnother gives a directory to a user who is not root.
func ofAnother(t *testing.T, tree machine.Tree, dir string) {
	t.Helper()
	if err := os.Chown(filepath.Join(string(tree), dir), 61001, 61001); err != nil {
		t.Fatal(err)
	}
}

// lead puts a link in the place of a name; what was there is to be seen under name.was.
func lead(t *testing.T, tree machine.Tree, name, to string) {
	t.Helper()
	host := filepath.Join(string(tree), name)
	if err := os.Rename(host, host+".was"); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.Symlink(to, host); err != nil {
		t.Fatal(err)
	}
}

const elsewhere = "/etc/cron.d/elsewhere"

// vpnApp is YunoHost with its VPN client, whose user may write where its scripts lie.
func vpnApp(t *testing.T) machine.Tree {
	t.Helper()
	tree := machinetest.Machines["yunohost-since-2024"].And(machinetest.Files{
		"/etc/openvpn/client.conf": "tls-client\nscript-security 2\n" +
			"route-up \"" + scriptsDir + "run-parts.sh route-up\"\n",
		scriptsDir + "route-up.d/10-app": "#!/bin/sh\n", "/etc/cron.d/system": "",
	}).Build(t)
	ofAnother(t, tree, "/etc/openvpn")
	return tree
}

// Who may write where a file of ours is to lie leads root nowhere by a link.
func TestNoStrangersLinkIsFollowed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give it to another")
		return
	}
	for name, c := range map[string]struct {
		tree       func(t *testing.T) machine.Tree
		link, to   string
		said, file string
	}{
		"in the place of a configuration": {func(t *testing.T) machine.Tree {
			tree := withVPN(vpnText).And(machinetest.Files{elsewhere: vpnText}).Build(t)
			ofAnother(t, tree, "/etc/openvpn/client")
			return tree
		}, client, elsewhere, client, elsewhere},
		"in the place of a directory": {
			vpnApp, scriptsDir + "route-up.d", "/etc/cron.d", scriptsDir + "route-up.d/90-netwatch", "/etc/cron.d/90-netwatch",
		},
		"that leads to nothing yet": {
			vpnApp, scriptsDir + "route-up.d/90-netwatch", "/etc/nologin", scriptsDir + "route-up.d/90-netwatch", "/etc/nologin",
		},
	} {
		tree := c.tree(t)
		lead(t, tree, c.link, c.to)
		before := snapshot(t, tree)[c.file]
		plan, _ := carryOut(t, tree, setup.Wish{})
		if snapshot(t, tree)[c.file] != before {
			t.Errorf("%s: %s is another", name, c.file)
		}
		if said := strings.Join(plan.Advice, "\n"); !strings.Contains(said, c.said+" is not written: ") {
			t.Errorf("%s: it says\n%s", name, said)
		}
	}
}

// Nor does he when he puts it there after all was looked at: neither when something is
// put in place, nor when it is put back.
func TestNoLaterLinkIsFollowed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give it to another")
		return
	}
	const hook = scriptsDir + "route-up.d/90-netwatch"
	tree := vpnApp(t)
	if _, backup := carryOut(t, tree, setup.Wish{}); backup == "" {
		t.Fatal("nothing was done")
	}
	r, err := setup.NewRestore(tree, "", false)
	if err != nil {
		t.Fatal(err)
	}
	write(t, tree, "/etc/cron.d/90-netwatch", snapshot(t, tree)[hook].Content)
	before := snapshot(t, tree)
	lead(t, tree, filepath.Dir(hook), "/etc/cron.d")
	if err := r.Apply(func(setup.Change) {}); err == nil || netwatch.Hint(err) == "" {
		t.Error("it is put back:", err)
	}
	if diff := snapshot(t, tree)["/etc/cron.d/90-netwatch"] != before["/etc/cron.d/90-netwatch"]; diff {
		t.Error("what his link leads to is another")
	}
}

// That OpenVPN's file names a user who is not there makes no configuration that is wrong.
func TestUserWhoIsNotThere(t *testing.T) {
	tree := withVPN("client\nuser no-such-user\n").Build(t)
	carryOut(t, tree, setup.Wish{})
	text := snapshot(t, tree)[conf].Content
	if _, err := config.Parse(conf, []byte(text), actions.Env{}); err != nil {
		t.Error(err)
	}
}
