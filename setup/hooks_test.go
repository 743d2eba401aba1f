package setup_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/contrib"
	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/setup"
)

const (
	yunohostHook = "/etc/yunohost/hooks.d/post_cert_update/50-netwatch"
	certbotHook  = "/etc/letsencrypt/renewal-hooks/deploy/netwatch"
	client       = "/etc/openvpn/client/home.conf"
	dropIn       = "/etc/systemd/system/openvpn-client@.service.d/netwatch.conf"
	debianUnit   = "/usr/lib/systemd/system/openvpn-client@.service"
	vpnText      = "client\nremote vpn.example.org\n<key>\nsecret\n</key>"
)

// withVPN is a Debian with an OpenVPN client, and the unit of Debian 12 for it.
func withVPN(text string) machinetest.Files {
	return machinetest.Machines["debian"].And(machinetest.Files{
		client: text, debianUnit: "[Service]\nLimitNPROC=10\n", "/etc/openvpn/home.conf": "nothing\n",
	})
}

// What init puts in place for others to call is what contrib has, and all of it is gone
// when it is restored.
func TestHooks(t *testing.T) {
	for _, c := range []struct {
		machine machinetest.Files
		files   map[string][]byte
	}{
		{machinetest.Machines["yunohost-two"], map[string][]byte{yunohostHook: contrib.YunoHost}},
		{withVPN(vpnText + "\n"), map[string][]byte{
			certbotHook: contrib.Certbot, dropIn: contrib.Limit, client: append([]byte(vpnText+"\n"), contrib.Client...),
		}},
		{withVPN(vpnText), map[string][]byte{
			client: append([]byte(vpnText+"\n"), bytes.TrimSuffix(contrib.Client, []byte("\n"))...),
		}},
	} {
		tree := c.machine.Build(t)
		before := snapshot(t, tree)
		carryOut(t, tree, setup.Wish{})
		after := snapshot(t, tree)
		for name, want := range c.files {
			if diff := cmp.Diff(string(want), after[name].Content); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			if _, was := before[name]; !was && (after[name].Mode == 0o755) != (name != dropIn) {
				t.Errorf("%s has the mode %s", name, after[name].Mode)
			}
		}
		if again, _ := carryOut(t, tree, setup.Wish{}); len(again.Changes) > 0 {
			t.Errorf("done again, it changes %v", again.Changes)
		}
		restore(t, tree, nil)
		if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
			t.Error("restored, there is a difference", diff)
		}
	}
}

// Another program is called by its own path.
func TestHooksCallTheirProgram(t *testing.T) {
	tree := withVPN(vpnText).Build(t)
	carryOut(t, tree, setup.Wish{Program: "/usr/local/bin/netwatch"})
	text := snapshot(t, tree)[client].Content
	if strings.Contains(text, "/usr/bin/") || !strings.Contains(text, `ipchange "/usr/local/bin/netwatch hook openvpn"`) {
		t.Errorf("it says\n%s", text)
	}
}

// Where others have hooks of their own, or nobody waits for them, nothing is put in
// place; and it is said what to do where something is left to do.
func TestHooksThatStayAway(t *testing.T) {
	const own = "#!/bin/sh\necho mine\n"
	for name, c := range map[string]struct {
		files  machinetest.Files
		stays  []string
		advice string
	}{
		"a program of their own": {
			withVPN("client\nup /etc/openvpn/update-resolv-conf\n"),
			[]string{client, dropIn},
			"have that run `GOMAXPROCS=1 /usr/bin/netwatch hook openvpn || :`",
		},
		"no programs": {
			withVPN("client\nscript-security 1\n"), []string{client, dropIn}, "write `script-security 2`",
		},
		"called already": {
			withVPN("client\nup \"/usr/bin/netwatch hook openvpn\"\n"), []string{client, dropIn}, "",
		},
		"a hook of another name": {
			withVPN("").And(machinetest.Files{
				"/etc/letsencrypt/renewal-hooks/deploy/mine": "#!/bin/sh\nexec /usr/bin/netwatch fire cert-renewed\n",
			}), []string{certbotHook}, "",
		},
		"somebody else's of this name": {
			withVPN("").And(machinetest.Files{certbotHook: own}),
			[]string{certbotHook},
			certbotHook + " is not netwatch's and stays",
		},
		"no rule": {
			withVPN(vpnText).And(machinetest.Files{conf: "[[rule]]\non = [\"started\"]\ndo = [\"restart x.service\"]\n"}),
			[]string{certbotHook, client, dropIn},
			"",
		},
		"a certificate that is watched": {
			withVPN("").And(machinetest.Files{conf: "[source.cert]\n" +
				"files = [\"/etc/letsencrypt/live/turn.example.org/fullchain.pem\"]\n" +
				"[[rule]]\non = [\"cert-renewed\"]\ndo = [\"signal USR2 coturn.service\"]\n"}),
			[]string{certbotHook},
			"",
		},
		"a limit of one's own": {
			withVPN(vpnText).And(machinetest.Files{filepath.Dir(dropIn) + "/mine.conf": "[Service]\nLimitNPROC=200\n"}),
			[]string{dropIn},
			"systemctl try-restart openvpn-client@home.service",
		},
		"no limit": {
			withVPN(vpnText).And(machinetest.Files{debianUnit: "[Service]\nTasksMax=20\n"}),
			[]string{dropIn},
			"systemctl try-restart openvpn-client@home.service",
		},
	} {
		tree := c.files.Build(t)
		before := snapshot(t, tree)
		plan, _ := carryOut(t, tree, setup.Wish{})
		for _, file := range c.stays {
			if diff := cmp.Diff(before[file], snapshot(t, tree)[file]); diff != "" {
				t.Errorf("%s: %s: %s", name, file, diff)
			}
		}
		advice := strings.Join(plan.Advice, "\n")
		if !strings.Contains(advice, c.advice) || (advice == "") != (c.advice == "") {
			t.Errorf("%s: it says\n%s", name, advice)
		}
	}
}

// A level of security that suffices stays, and is not lowered.
func TestSecurityStays(t *testing.T) {
	tree := withVPN("client\nscript-security 3\n").Build(t)
	carryOut(t, tree, setup.Wish{})
	if text := snapshot(t, tree)[client].Content; strings.Count(text, "script-security") != 1 ||
		!strings.Contains(text, "ipchange") {
		t.Errorf("it says\n%s", text)
	}
}

// YunoHost's VPN client rewrites its configuration, and runs what lies in directories.
func TestScriptsOfYunoHost(t *testing.T) {
	const up, down = scriptsDir + "route-up.d/90-netwatch", scriptsDir + "route-down.d/90-netwatch"
	app := machinetest.Machines["yunohost-since-2024"].And(machinetest.Files{
		"/etc/openvpn/client.conf": "tls-client\nscript-security 2\n" +
			"route-up \"" + scriptsDir + "run-parts.sh route-up\"\ndown \"" + scriptsDir + "run-parts.sh route-down\"\n",
		scriptsDir + "route-up.d/10-app": "#!/bin/sh\n", scriptsDir + "route-down.d/10-app": "#!/bin/sh\n",
	})
	tree := app.Build(t)
	before := snapshot(t, tree)
	plan, _ := carryOut(t, tree, setup.Wish{})
	after := snapshot(t, tree)
	for _, name := range []string{up, down} {
		if after[name].Content != string(contrib.Script) || after[name].Mode != 0o755 {
			t.Errorf("%s is %+v", name, after[name])
		}
	}
	if len(plan.Advice) > 0 || after["/etc/openvpn/client.conf"] != before["/etc/openvpn/client.conf"] {
		t.Errorf("something is left to do, or the app's own file is another: %v", plan.Advice)
	}
	if again, _ := carryOut(t, tree, setup.Wish{}); len(again.Changes) > 0 {
		t.Errorf("done again, it changes %v", again.Changes)
	}
	restore(t, tree, nil)
	if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
		t.Error(diff)
	}
}

const scriptsDir = "/etc/openvpn/scripts/"

// A hook that an earlier version put there gives way to the new one; both inits are
// undone by one restore.
func TestNewerHook(t *testing.T) {
	tree := machinetest.Machines["yunohost-two"].Build(t)
	before := snapshot(t, tree)
	carryOut(t, tree, setup.Wish{})
	older(t, tree)
	carryOut(t, tree, setup.Wish{})
	if got := snapshot(t, tree)[yunohostHook]; got.Content != string(contrib.YunoHost) || got.Mode != 0o755 {
		t.Errorf("it is %+v", got)
	}
	restore(t, tree, nil)
	if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
		t.Error(diff)
	}
}

// older makes the hook, and the manifest that has its fingerprint, that of an earlier
// version.
func older(t *testing.T, tree machine.Tree) {
	t.Helper()
	const text = "#!/bin/sh\n# An older one\nnetwatch fire cert-renewed\n"
	write(t, tree, yunohostHook, text)
	all, err := filepath.Glob(filepath.Join(string(tree), "var/backups/netwatch/*/manifest.json"))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	manifest, err := os.ReadFile(all[0])
	if err != nil {
		t.Fatal(err)
	}
	manifest = bytes.ReplaceAll(manifest, []byte(netwatch.Fingerprint(contrib.YunoHost)),
		[]byte(netwatch.Fingerprint([]byte(text))))
	if err := os.WriteFile(all[0], manifest, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever several inits did, a restore puts everything back as it was before the first;
// and then there is nothing to undo when somebody goes on.
func TestRestoreOfSeveral(t *testing.T) {
	tree := machinetest.Machines["yunohost-before-2024"].And(machinetest.Files{conf: "# mine\n"}).Build(t)
	before := snapshot(t, tree)
	_, first := carryOut(t, tree, setup.Wish{Force: true})
	once := snapshot(t, tree)
	_, second := carryOut(t, tree, setup.Wish{Migrate: true})
	if first == "" || second == "" || first == second {
		t.Fatalf("the backups are %q and %q", first, second)
	}
	one, err := setup.NewRestore(tree, second, false)
	if err != nil || one.Apply(func(setup.Change) {}) != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(once, snapshot(t, tree)); diff != "" {
		t.Error("as before the second:", diff)
	}
	carryOut(t, tree, setup.Wish{Migrate: true})
	restore(t, tree, nil)
	if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
		t.Error("as before the first:", diff)
	}
	write(t, tree, conf, "# mine, and another\n")
	if r, err := setup.NewRestore(tree, "", false); err != nil || len(r.Changes)+len(r.Moved) > 0 {
		t.Errorf("what is undone is undone again: %v, %v", r, err)
	}
}

func write(t *testing.T, tree machine.Tree, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(string(tree), name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// away has netwatch taken out before it goes.
func away(t *testing.T, tree machine.Tree) {
	t.Helper()
	r, err := setup.NewAway(tree)
	if err == nil {
		err = r.Apply(func(setup.Change) {})
	}
	if err != nil {
		t.Fatal(err, netwatch.Hint(err))
	}
}

// callers are those who call netwatch.
func callers(t *testing.T, tree machine.Tree) []machine.Caller {
	t.Helper()
	r, err := setup.NewAway(tree)
	if err != nil {
		t.Fatal(err)
	}
	r.Changes = nil
	return r.Callers(program)
}

// Before netwatch goes its hooks do, and of others' files our lines alone, whatever else
// somebody wrote there since.
func TestAway(t *testing.T) {
	tree := withVPN(vpnText).Build(t)
	before := snapshot(t, tree)
	carryOut(t, tree, setup.Wish{})
	text := snapshot(t, tree)[client].Content
	write(t, tree, client, "# new\n"+text+"\nverb 3\n")
	if len(callers(t, tree)) == 0 {
		t.Error("nobody is found who calls it")
	}
	away(t, tree)
	after := snapshot(t, tree)
	if got, want := after[client].Content, "# new\n"+vpnText+"\nverb 3\n"; got != want {
		t.Errorf("the configuration is\n%s\nnot\n%s", got, want)
	}
	if called := callers(t, tree); len(called) > 0 {
		t.Errorf("it is called by %v", called)
	}
	for name := range after {
		_, was := before[name]
		if !was && !strings.HasPrefix(name, "/etc/netwatch") {
			t.Errorf("%s stays", name)
		}
	}
	left, _ := filepath.Glob(filepath.Join(string(tree), "var/backups/netwatch/*"))
	if len(left) > 0 {
		t.Errorf("of the backups there is left %v", left)
	}
}

// What somebody has changed since is his.
func TestAwayLeavesWhatMoved(t *testing.T) {
	tree := withVPN(vpnText).Build(t)
	carryOut(t, tree, setup.Wish{})
	text := strings.Replace(snapshot(t, tree)[client].Content, "setenv GOMAXPROCS 1", "setenv GOMAXPROCS 2", 1)
	write(t, tree, client, text)
	write(t, tree, certbotHook, "#!/bin/sh\necho mine\n")
	away(t, tree)
	after := snapshot(t, tree)
	if after[client].Content != text || after[certbotHook].Content != "#!/bin/sh\necho mine\n" {
		t.Errorf("they are %+v and %+v", after[client], after[certbotHook])
	}
	called := callers(t, tree)
	if !slices.ContainsFunc(called, func(c machine.Caller) bool { return c.File == client && c.Needs }) {
		t.Errorf("that the configuration calls netwatch is not seen: %v", called)
	}
}

// Where --migrate put netwatch for the old script, its unit gets the drop-in too.
func TestMigrateRaisesTheLimit(t *testing.T) {
	tree := machinetest.Machines["yunohost-before-2024"].And(machinetest.Files{
		debianUnit: "[Service]\nLimitNPROC=10\n",
	}).Build(t)
	plan, _ := carryOut(t, tree, setup.Wish{Migrate: true})
	if _, ok := snapshot(t, tree)[dropIn]; !ok || !strings.Contains(strings.Join(plan.Advice, "\n"), "vpn.service") {
		t.Errorf("there is no %s, or nothing is said of it: %v", dropIn, plan.Advice)
	}
}

// Where no rule waits for what OpenVPN then tells, that is said; and OpenVPN has to read its
// file again all the same, for the script that it knows is gone.
func TestMigrateWithoutRule(t *testing.T) {
	tree := machinetest.Machines["yunohost-before-2024"].Build(t)
	carryOut(t, tree, setup.Wish{})
	text := strings.ReplaceAll(snapshot(t, tree)[conf].Content, `, "vpn-changed"`, "")
	write(t, tree, conf, text)
	plan, _ := carryOut(t, tree, setup.Wish{Migrate: true})
	advice := strings.Join(plan.Advice, "\n")
	if !strings.Contains(advice, "try-restart openvpn-client@vpn.service") ||
		!strings.Contains(advice, "add the [source.openvpn]") {
		t.Errorf("it says %q", advice)
	}
	if !strings.Contains(string(plan.Differs), "vpn-changed") {
		t.Errorf("above is not shown what to add: %s", plan.Differs)
	}
}

// Whom rights kept from seeing is not told to start the coturn that he does see: it may be
// Debian's, beside those that are used.
func TestUnseenIsNotIdle(t *testing.T) {
	m := machine.Machine{
		Idle: []machine.Idle{{
			Turn: machine.Turn{Unit: "coturn.service"}, Why: "it neither runs", Remedy: "systemctl enable --now coturn.service",
		}},
		Unread: []error{fmt.Errorf("looking into /etc/x: %w", fs.ErrPermission)},
	}
	_, err := setup.NewPlan(machine.Tree(t.TempDir()), conf, m, setup.Wish{})
	if hint := netwatch.Hint(err); !strings.Contains(hint, "root sees all") || strings.Contains(hint, "enable") {
		t.Errorf("%v: the remedy is %q", err, hint)
	}
}

// Whoever reads a file that is put back has to read it again.
func TestRestoreSaysNext(t *testing.T) {
	tree := withVPN(vpnText).Build(t)
	_, first := carryOut(t, tree, setup.Wish{})
	one, err := setup.NewRestore(tree, first, false)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(one.Next(conf), "\n")
	for _, want := range []string{
		"systemctl daemon-reload\n", "systemctl try-restart openvpn-client@home.service ", "systemctl stop netwatch.socket",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it says %q, without %q", got, want)
		}
	}
}

// What --migrate took out stays out, and is kept in its backup; the lines that it put in
// the place of the old ones go.
func TestAwayAfterMigrate(t *testing.T) {
	tree := machinetest.Machines["yunohost-before-2024"].Build(t)
	before := snapshot(t, tree)
	carryOut(t, tree, setup.Wish{Migrate: true})
	away(t, tree)
	text := snapshot(t, tree)["/etc/openvpn/client/vpn.conf"].Content
	want := strings.Replace(before["/etc/openvpn/client/vpn.conf"].Content,
		"ipchange /usr/local/bin/openvpn_up_script.sh\n", "", 1)
	if text != want || len(callers(t, tree)) > 0 {
		t.Errorf("OpenVPN has\n%s", text)
	}
	restore(t, tree, nil)
	after := snapshot(t, tree)
	for _, name := range []string{"/etc/sudoers", "/usr/local/bin/openvpn_up_script.sh"} {
		if diff := cmp.Diff(before[name], after[name]); diff != "" {
			t.Error(name, diff)
		}
	}
}

// By what others than root can write root removes nothing.
func TestManifestOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give it to another")
		return
	}
	tree := withVPN(vpnText).Build(t)
	_, backup := carryOut(t, tree, setup.Wish{})
	host := filepath.Join(string(tree), backup)
	for _, spoil := range []func() error{
		func() error { return os.Chmod(host+"/manifest.json", 0o666) },
		func() error { return os.Chmod(host, 0o777) },
		func() error { return os.Chown(filepath.Dir(host), 12, 34) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		_, err := setup.NewAway(tree)
		if err == nil || !strings.Contains(err.Error(), "others than root can write") || netwatch.Hint(err) == "" {
			t.Error(err)
		}
		err = filepath.WalkDir(filepath.Dir(host), func(path string, d fs.DirEntry, err error) error {
			mode := fs.FileMode(0o600)
			if d.IsDir() {
				mode = 0o700
			}
			return errors.Join(err, os.Chown(path, 0, 0), os.Chmod(path, mode))
		})
		if _, again := setup.NewAway(tree); err != nil || again != nil {
			t.Fatal(err, again)
		}
	}
}
