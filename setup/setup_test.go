package setup_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/machine"
	"netwatch/machine/machinetest"
	"netwatch/packaging"
	"netwatch/setup"
)

const (
	program = "/usr/bin/netwatch"
	conf    = "/etc/netwatch/netwatch.toml"
)

// The configuration for each machine is right, and the one that was looked at.
func TestConfiguration(t *testing.T) {
	for name, m := range machinetest.Machines {
		t.Run(name, func(t *testing.T) {
			text := setup.Text(machine.Find(m.Build(t), program))
			machinetest.Golden(t, name+".toml", text)
			if _, err := config.Parse("written", []byte(text), actions.Env{}); err != nil && name != "nothing" {
				t.Error(err)
			}
		})
	}
}

// What is left to do by hand is said for each machine.
func TestAdvice(t *testing.T) {
	for name, m := range machinetest.Machines {
		t.Run(name, func(t *testing.T) {
			tree := m.Build(t)
			plan, err := setup.NewPlan(tree, conf, machine.Find(tree, program), setup.Wish{})
			if name == "nothing" {
				plan = &setup.Plan{}
			} else if err != nil {
				t.Fatal(err)
			}
			machinetest.Golden(t, name+".advice", strings.Join(plan.Advice, "\n"))
		})
	}
}

// carryOut does what a wish wants of a machine and returns the plan and its backup.
func carryOut(t *testing.T, tree machine.Tree, wish setup.Wish) (*setup.Plan, string) {
	t.Helper()
	plan, err := setup.NewPlan(tree, conf, machine.Find(tree, program), wish)
	if err != nil {
		t.Fatal(err, netwatch.Hint(err))
	}
	backup, err := plan.Apply(func(setup.Change) {})
	if err != nil {
		t.Fatal(err)
	}
	return plan, backup
}

// A file is what must be the same again: content, mode and owner.
type file struct {
	Content string
	Mode    os.FileMode
	UID     uint32
	GID     uint32
}

// snapshot is every file of a tree but the backups.
func snapshot(t *testing.T, tree machine.Tree) map[string]file {
	t.Helper()
	all := map[string]file{}
	err := filepath.WalkDir(string(tree), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, string(tree))
		if strings.HasPrefix(name, "/var/backups") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		f := file{Mode: info.Mode(), UID: st.Uid, GID: st.Gid}
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f.Content = string(text)
		}
		all[name] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(all, "/var") // Has the backups
	return all
}

// To migrate takes out what is old and nothing else, and to restore brings all of
// it back: content, mode and owner.
func TestMigrateAndRestore(t *testing.T) {
	for _, name := range []string{"yunohost-before-2024", "yunohost-renamed"} {
		t.Run(name, func(t *testing.T) {
			tree := machinetest.Machines[name].Build(t)
			special(t, tree)
			before := snapshot(t, tree)
			_, backup := carryOut(t, tree, setup.Wish{Migrate: true})
			if backup == "" {
				t.Fatal("there is no backup")
			}
			migrated(t, before, snapshot(t, tree))
			if again, _ := carryOut(t, tree, setup.Wish{Migrate: true}); len(again.Changes) > 0 {
				t.Errorf("done again, it changes %v", again.Changes)
			}
			restore(t, tree, nil)
			if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
				t.Error("restored, there is a difference", diff)
			}
			if r, err := setup.NewRestore(tree, backup, false); err != nil || len(r.Changes)+len(r.Moved) > 0 {
				t.Error("restored twice, there is something to do", r, err)
			}
		})
	}
}

// special gives the files modes, and as root owners, that no file gets by itself.
func special(t *testing.T, tree machine.Tree) {
	t.Helper()
	for name, mode := range map[string]os.FileMode{
		"/etc/sudoers": 0o440, "/usr/local/bin/openvpn_up_script.sh": 0o751, "/etc/openvpn/client/vpn.conf": 0o604,
	} {
		if err := os.Chmod(filepath.Join(string(tree), name), mode); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(filepath.Join(string(tree), name), 12, 34); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// migrated wants a machine as it is to be after migration.
func migrated(t *testing.T, before, after map[string]file) {
	t.Helper()
	want := map[string]file{}
	for name, f := range before {
		want[name] = f
	}
	delete(want, "/etc/cron.d/coturn_config_rotate")
	delete(want, "/usr/local/bin/openvpn_up_script.sh")
	for _, name := range []string{
		"/etc/yunohost/hooks.d", "/etc/yunohost/hooks.d/post_cert_update", yunohostHook,
	} {
		want[name] = after[name]
	}
	edit := func(name string, pairs ...string) {
		f := want[name]
		f.Content = strings.NewReplacer(pairs...).Replace(f.Content)
		want[name] = f
	}
	edit("/etc/sudoers", "openvpn    ALL=(ALL) NOPASSWD: /bin/systemctl restart coturn-synapse.service\n", "")
	edit("/etc/openvpn/client/vpn.conf", "ipchange /usr/local/bin/openvpn_up_script.sh",
		"ipchange \"/usr/bin/netwatch hook openvpn\"\nsetenv GOMAXPROCS 1")
	for _, name := range []string{"/etc/netwatch", conf} {
		want[name] = after[name]
	}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error("migrated, there is a difference", diff)
	}
}

// restore puts the newest backup back and wants these files to stay.
func restore(t *testing.T, tree machine.Tree, moved []string) {
	t.Helper()
	r, err := setup.NewRestore(tree, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(func(setup.Change) {}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(moved, r.Moved); diff != "" {
		t.Error("other files stay", diff)
	}
}

// Extended attributes survive both ways.
func TestXattrsAreKept(t *testing.T) {
	tree := machinetest.Machines["yunohost-before-2024"].Build(t)
	sudoers := filepath.Join(string(tree), "etc/sudoers")
	if err := syscall.Setxattr(sudoers, "user.note", []byte("kept"), 0); err != nil {
		t.Fatal(err)
	}
	carryOut(t, tree, setup.Wish{Migrate: true})
	value := make([]byte, 16)
	if n, err := syscall.Getxattr(sudoers, "user.note", value); err != nil || string(value[:n]) != "kept" {
		t.Error("migrated:", err)
	}
	restore(t, tree, nil)
	if n, err := syscall.Getxattr(sudoers, "user.note", value); err != nil || string(value[:n]) != "kept" {
		t.Error("restored:", err)
	}
}

// What was changed after the migration is left alone, unless that is wanted.
func TestRestoreLeavesWhatMoved(t *testing.T) {
	tree := machinetest.Machines["yunohost-before-2024"].Build(t)
	before := snapshot(t, tree)
	carryOut(t, tree, setup.Wish{Migrate: true})
	vpn := filepath.Join(string(tree), "etc/openvpn/client/vpn.conf")
	if err := os.WriteFile(vpn, []byte("client\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	restore(t, tree, []string{"/etc/openvpn/client/vpn.conf"})
	if text, err := os.ReadFile(vpn); err != nil || string(text) != "client\n" {
		t.Errorf("%q, %v", text, err)
	}
	r, err := setup.NewRestore(tree, "", true)
	if err != nil || r.Apply(func(setup.Change) {}) != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
		t.Error(diff)
	}
}

// Twice is as once, and what an administrator has written stays.
func TestTwiceChangesNothing(t *testing.T) {
	for name, m := range machinetest.Machines {
		if name == "nothing" {
			continue
		}
		tree := m.Build(t)
		before := snapshot(t, tree)
		if _, backup := carryOut(t, tree, setup.Wish{}); backup == "" {
			t.Errorf("%s: nothing says what was done", name)
		}
		once := snapshot(t, tree)
		plan, _ := carryOut(t, tree, setup.Wish{})
		if diff := cmp.Diff(once, snapshot(t, tree)); diff != "" || len(plan.Changes)+len(plan.Differs) > 0 {
			t.Error(name, diff, plan)
		}
		restore(t, tree, nil)
		if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
			t.Errorf("%s: restored, there is a difference: %s", name, diff)
		}
	}
}

func TestExistingConfiguration(t *testing.T) {
	own := "[source.stun]\n\n[[rule]]\non = [\"ip-changed\"]\ndo = [\"rotate coturn /etc/turnserver.conf\"]\n"
	tree := machinetest.Machines["yunohost-before-2024"].And(machinetest.Files{conf: own}).Build(t)
	before := snapshot(t, tree)
	plan, _ := carryOut(t, tree, setup.Wish{})
	if !strings.Contains(string(plan.Differs), `+  "verify turn /etc/matrix-synapse/coturn.conf",`) {
		t.Errorf("the difference is not shown:\n%s", plan.Differs)
	}
	_, err := setup.NewPlan(tree, conf, machine.Find(tree, program), setup.Wish{Migrate: true})
	if err == nil || !strings.Contains(err.Error(), "no rule of "+conf+" rotates /etc/matrix-synapse/coturn.conf") {
		t.Error("it would take out what nothing replaces:", err)
	}
	if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
		t.Error(diff)
	}
	carryOut(t, tree, setup.Wish{Force: true})
	if got := snapshot(t, tree)[conf].Content; got == own {
		t.Error("--force has not written it")
	}
	restore(t, tree, nil)
	if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
		t.Error(diff)
	}
}

// The configuration that an installation brings is nobody's own.
func TestPackagedConfiguration(t *testing.T) {
	packaged := machinetest.Files{conf: string(packaging.Configuration)}
	tree := machinetest.Machines["yunohost-before-2024"].And(packaged).Build(t)
	if plan, _ := carryOut(t, tree, setup.Wish{}); plan.Differs != nil {
		t.Errorf("it stays:\n%s", plan.Differs)
	}
	if got := snapshot(t, tree)[conf].Content; got == string(packaging.Configuration) {
		t.Error("it was not replaced")
	}
}

func TestNothingFound(t *testing.T) {
	tree := machinetest.Machines["nothing"].Build(t)
	_, err := setup.NewPlan(tree, conf, machine.Find(tree, program), setup.Wish{})
	if err == nil || netwatch.Hint(err) == "" {
		t.Error(err)
	}
}

// A script that somebody made do more stays, and so does all that calls it.
func TestScriptOfOnesOwn(t *testing.T) {
	own := machinetest.Files{"/usr/local/bin/openvpn_up_script.sh": "#!/bin/bash\n" +
		"sudo systemctl restart coturn-synapse.service\n/usr/local/bin/tell-me\n"}
	tree := machinetest.Machines["yunohost-before-2024"].And(own).Build(t)
	before := snapshot(t, tree)
	carryOut(t, tree, setup.Wish{Migrate: true})
	after := snapshot(t, tree)
	for _, name := range []string{"/usr/local/bin/openvpn_up_script.sh", "/etc/openvpn/client/vpn.conf"} {
		if diff := cmp.Diff(before[name], after[name]); diff != "" {
			t.Error(name, diff)
		}
	}
}

// OpenVPN does not start when a script is missing that it is to call, so one that
// is called in another way than was documented stays.
func TestScriptThatIsCalled(t *testing.T) {
	tree := machinetest.Machines["yunohost-before-2024"].And(machinetest.Files{
		"/etc/openvpn/server/s.conf": "client-connect \"/usr/local/bin/openvpn_up_script.sh now\"\n",
	}).Build(t)
	carryOut(t, tree, setup.Wish{Migrate: true})
	if _, ok := snapshot(t, tree)["/usr/local/bin/openvpn_up_script.sh"]; !ok {
		t.Error("the script is gone")
	}
}

// A line among others goes alone; a file in a directory of parts goes when nothing
// else is left in it.
func TestLinesAmongOthers(t *testing.T) {
	line := "*/15 * * * * root bash /var/www/synapse/Coturn_config_rotate.sh; >/dev/null 2>&1\n"
	tree := machinetest.Machines["yunohost-since-2024"].And(machinetest.Files{
		"/etc/crontab":                              "SHELL=/bin/sh\n" + line + "0 3 * * * root backup\n",
		"/etc/cron.d/mixed":                         "# mine\n" + line + "0 3 * * * root backup\n",
		"/etc/cron.d/alone":                         "# every quarter of an hour\nMAILTO=root\n" + line,
		"/etc/sudoers.d/vpn":                        "openvpn ALL=(ALL) NOPASSWD: /bin/systemctl restart coturn-synapse\n",
		"/etc/openvpn/scripts/route-up.d/90-coturn": "#!/bin/sh\n# late\nsleep 5\nsystemctl restart synapse-coturn\n",
	}).Build(t)
	carryOut(t, tree, setup.Wish{Migrate: true})
	after := snapshot(t, tree)
	for name, want := range map[string]string{
		"/etc/crontab": "SHELL=/bin/sh\n0 3 * * * root backup\n", "/etc/cron.d/mixed": "# mine\n0 3 * * * root backup\n",
		"/etc/openvpn/scripts/route-up.d/90-coturn": "#!/bin/sh\nGOMAXPROCS=1 /usr/bin/netwatch hook openvpn || :\n",
	} {
		if got := after[name].Content; got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	for _, name := range []string{"/etc/cron.d/alone", "/etc/sudoers.d/vpn"} {
		if _, ok := after[name]; ok {
			t.Error(name, "is still there")
		}
	}
}

// What visudo refuses is not written, nor anything else of the plan. This visudo
// is a fake that refuses everything.
func TestVisudoRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/visudo", []byte("#!/bin/sh\necho \"$2: a mistake\"\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if _, err := exec.LookPath("visudo"); err != nil {
		t.Fatal(err)
	}
	tree := machinetest.Machines["yunohost-before-2024"].Build(t)
	_, err := setup.NewPlan(tree, conf, machine.Find(tree, program), setup.Wish{Migrate: true})
	if err == nil || !strings.Contains(err.Error(), "visudo refuses it") {
		t.Error(err)
	}
}

// What somebody changed after it was shown is not written over, nor is anything
// else changed then.
func TestChangedWhileShown(t *testing.T) {
	tree := machinetest.Machines["yunohost-before-2024"].Build(t)
	plan, err := setup.NewPlan(tree, conf, machine.Find(tree, program), setup.Wish{Migrate: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(string(tree), "etc/sudoers"), []byte("# anew\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, tree)
	if _, err := plan.Apply(func(setup.Change) {}); err == nil {
		t.Error("it was written over")
	}
	if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
		t.Error(diff)
	}
}

// A file that a symlink leads to is changed there, and the link stays; a link with
// an absolute target does not lead out of the tree.
func TestThroughSymlink(t *testing.T) {
	tree := machinetest.Machines["yunohost-before-2024"].And(machinetest.Files{
		"/etc/openvpn/client/vpn.conf": "-> /etc/openvpn/real",
		"/etc/openvpn/real":            "client\nipchange /usr/local/bin/openvpn_up_script.sh\n",
	}).Build(t)
	before := snapshot(t, tree)
	carryOut(t, tree, setup.Wish{Migrate: true})
	after := snapshot(t, tree)
	if got := after["/etc/openvpn/real"].Content; !strings.Contains(got, "netwatch hook openvpn") {
		t.Errorf("it holds %q", got)
	}
	if after["/etc/openvpn/client/vpn.conf"].Mode&fs.ModeSymlink == 0 {
		t.Error("the link is gone")
	}
	restore(t, tree, nil)
	if diff := cmp.Diff(before, snapshot(t, tree)); diff != "" {
		t.Error(diff)
	}
}

// What somebody writes into his own files comes into netwatch.toml as the name of
// a certificate or a host, or not at all.
func TestStrangersText(t *testing.T) {
	for _, bad := range []string{"\r", "\x1b[2J", "\u202e", "\u2028", "\xff"} {
		root := t.TempDir()
		dir := filepath.Join(root, "etc/systemd/system")
		conf := "cert=/etc/x" + bad + "crt.pem\npkey=/etc/key.pem\nrealm=a.example" + bad + ".org\n"
		err := errors.Join(os.MkdirAll(dir, 0o755),
			os.WriteFile(filepath.Join(root, "etc/turnserver.conf"), []byte(conf), 0o600),
			os.WriteFile(dir+"/coturn.service", []byte("[Service]\n"+
				"ExecStart=/usr/bin/turnserver -c /etc/turnserver.conf\n"), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		found := machine.Find(machine.Tree(root), program)
		if len(found.Turns) != 1 || len(found.Served()) != 0 || len(found.Unread) != 1 || len(found.Turns[0].Domains) != 0 {
			t.Errorf("%+q: it found %+v", bad, found)
		}
		for line := range strings.Lines(setup.Text(found)) {
			if err := netwatch.CheckPlain(strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", " ")); err != nil {
				t.Errorf("%+q: %v", bad, err)
			}
		}
	}
}
