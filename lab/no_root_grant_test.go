//go:build lab

// 7. No root, no sudo, no shell: who may what, and no more.

package lab

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// following is a configuration that has netwatch follow and verify a coturn's
// file.
func following(c Coturn) string {
	return sourceAddress() +
		fmt.Sprintf("\n[source.file]\nfiles = [%q]\n\n[[rule]]\non = [\"started\", "+
			"\"file-changed\"]\ndo = [\"verify turn %[1]s\"]\n", c.File)
}

// acls are the access lists of a coturn's file and its directory.
func acls(t *testing.T, c Coturn) string {
	t.Helper()
	return shell(t, "getfacl -p "+c.File+" $(dirname "+c.File+")")
}

// The daemon can read what it follows as soon as it starts, nobody else can what
// he could not before, and a reload takes it back.
func TestGrantOpens(t *testing.T) {
	for _, c := range []Coturn{YunoHost, Debian} {
		t.Run(c.Unit, func(t *testing.T) {
			fresh(t, c)
			watching(t, sourceAddress()+ruleCoturn(c.File, c.Unit), FirstPublic) // Whatever was open is closed
			before := acls(t, c)
			must(t, server.WriteFile("/etc/netwatch/netwatch.toml", following(c), 0o644))
			shell(t, "systemctl restart netwatch.service")
			idle(t, FirstPublic)
			if out := shell(t, "netwatch status"); strings.Contains(out, "denied") || strings.Contains(out, "watching, but") {
				t.Errorf("it cannot follow the file:\n%s", out)
			}
			news := follow(t)
			shell(t, "echo '# an upgrade' >>"+c.File)
			_, err := news.wait(t.Context(), 1, aboutFile(netwatch.FileChanged, c.File))
			must(t, err)
			runs, err := news.wait(t.Context(), 1, ended(netwatch.FileChanged))
			must(t, err)
			if runs[0].Outcome != netwatch.Unchanged {
				t.Errorf("verifying it was %s: %s", runs[0].Outcome, runs[0].Error)
			}
			if open := acls(t, c); open == before || strings.Contains(open, "default:") {
				t.Errorf("the lists are\n%s\nbefore\n%s", open, before)
			}
			onlyNetwatchReads(t, c)
			if again := shell(t, "netwatch grant"); strings.Contains(again, ": changed") {
				t.Errorf("granting again:\n%s", again)
			}
			must(t, server.WriteFile("/etc/netwatch/netwatch.toml", sourceAddress()+ruleCoturn(c.File, c.Unit), 0o644))
			shell(t, "systemctl reload netwatch.service")
			if after := acls(t, c); after != before {
				t.Errorf("after a reload without a need:\n%s\nbefore\n%s", after, before)
			}
			if left := shell(t, "ls -A /var/lib/netwatch-grant"); left != "" {
				t.Errorf("there is still a record: %s", left)
			}
		})
	}
}

// onlyNetwatchReads fails unless of the users that have no business there only
// netwatch can read a coturn's file, and not even it another file beside.
func onlyNetwatchReads(t *testing.T, c Coturn) {
	t.Helper()
	const secret = "/etc/matrix-synapse/homeserver.yaml"
	must(t, server.WriteFile(secret, "secret", 0o640))
	shell(t, "chown synapse:synapse "+secret+"; useradd -G netwatch alice")
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", "rm "+secret+"; userdel alice"); err != nil {
			t.Error(err)
		}
	})
	for user, can := range map[string]bool{
		"netwatch": true, "turnserver": true, "nobody": false, "alice": false,
		"www-data": false,
	} {
		if out, well := as(t, user, "cat "+c.File); well != can {
			t.Errorf("%s can read %s: %v\n%s", user, c.File, well, out)
		}
		if out, well := as(t, user, "cat "+secret); well {
			t.Errorf("%s can read the other file: %s", user, out)
		}
		if _, well := as(t, user, "sh -c 'echo >>"+c.File+"'"); well {
			t.Errorf("%s can write %s", user, c.File)
		}
	}
}

// What others can do to the way there is no way to have another file opened.
func TestGrantOpensNothingElse(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	shell(t, "mkdir -m 700 /root/lab-closed; echo secret >/root/lab-closed/secret; "+
		"chown synapse /root/lab-closed/secret; chmod 600 /root/lab-closed/secret; touch /etc/matrix-synapse/lab-root; "+
		"chmod 600 /etc/matrix-synapse/lab-root")
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c",
			"rm -rf /root/lab-closed /var/tmp/lab-link /etc/matrix-synapse/lab-root /etc/matrix-synapse/sub "+
				YunoHost.File); err != nil {
			t.Error(err)
		}
	})
	victims := "/etc/shadow /root /root/lab-closed /root/lab-closed/secret /etc/matrix-synapse/lab-root"
	before := shell(t, "getfacl -p "+victims)
	for name, c := range map[string]struct{ prepare, file, says string }{
		"a link to root's file": {
			"ln -sfn /etc/shadow " + YunoHost.File, YunoHost.File,
			"opening /etc/shadow: it belongs to user 0",
		},
		"a link through root's directory": {
			"ln -sfn /root/lab-closed/secret " + YunoHost.File, YunoHost.File,
			"decides where the way leads, and may not look into /root: permission denied",
		},
		"root's file in their directory": {
			"true", "/etc/matrix-synapse/lab-root",
			"opening /etc/matrix-synapse/lab-root: it belongs to user 0",
		},
		"a link where everyone may make one": {
			"ln -sfn /root/lab-closed/secret /var/tmp/lab-link", "/var/tmp/lab-link",
			"decides where the way leads, and may not look into /root: permission denied",
		},
		"a link of a directory": {
			"ln -sfn /root/lab-closed /etc/matrix-synapse/sub",
			"/etc/matrix-synapse/sub/secret", "decides where the way leads, and may not look into /root: permission denied",
		},
		"a link of a directory, nothing in it": {
			"ln -sfn /root /etc/matrix-synapse/sub",
			"/etc/matrix-synapse/sub/coturn.conf",
			"decides where the way leads, and may not look into /root: permission denied",
		},
	} {
		shell(t, "runuser -u synapse -- "+c.prepare)
		must(t, server.WriteFile("/etc/netwatch/netwatch.toml", following(Coturn{File: c.file}), 0o644))
		out := shell(t, "netwatch grant 2>&1")
		if !strings.Contains(out, c.says) || !strings.Contains(out, "\nhint: have the directories and symlinks") ||
			strings.Contains(out, "user:netwatch:") {
			t.Errorf("%s: it says\n%s", name, out)
		}
		if after := shell(t, "getfacl -p "+victims); after != before {
			t.Errorf("%s: after\n%s\nbefore\n%s", name, after, before)
		}
	}
}

// Where there are no ACLs, that is said and the rest is done.
func TestGrantWithoutACLs(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	// A mount of its own namespace: it ends with the shell.
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", following(Coturn{File: "/mnt/coturn.conf"})+
		ruleCoturn(YunoHost.File, YunoHost.Unit)+
		"[[rule]]\non = [\"go\"]\ndo = [\"verify turn "+YunoHost.File+"\"]\n", 0o644))
	out := shell(t, "unshare -m sh -c 'mount -t ramfs none /mnt; echo >/mnt/coturn.conf; chmod 600 /mnt/coturn.conf; "+
		"netwatch grant' 2>&1")
	for _, want := range []string{
		"/mnt/coturn.conf: its file system has no ACLs", "hint: mount it with them",
		YunoHost.File + ": user:netwatch:r--: changed", "50-netwatch.rules: changed",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %s:\n%s", want, out)
		}
	}
	if out := shell(t, "netwatch grant --revoke"); !strings.Contains(out, YunoHost.File+": no user:netwatch: changed") {
		t.Errorf("revoking:\n%s", out)
	}
	if left := granted(t); left != "" {
		t.Errorf("there is still\n%s", left)
	}
}

// verbsUnit is a unit with which every verb of a step does something, and verbs
// is a rule with all of them.
const (
	verbsUnit = "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n"
	verbs     = `
[[rule]]
on = ["verbs"]
settle = "0s"
retry = "0s"
do = [
	"start lab-verbs.service", "restart lab-verbs.service", "try-restart lab-verbs.service", "reload lab-verbs.service",
	"reload-or-restart lab-verbs.service", "stop lab-verbs.service always", "start lab-verbs.service always",
	"signal KILL lab-verbs.service",
]
`
)

// systemdCall calls a method of systemd's, and asks nobody for a password.
const systemdCall = "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "

// What is granted is the ordinary job of a unit, whatever else systemd asks polkit
// about by the same verb: with the unit's file gone, a transient unit of its name
// would run anything as root.
func TestVerbsThatAreShared(t *testing.T) {
	onReleases(t, func(t *testing.T) {
		fresh(t, YunoHost)
		const file = "/etc/systemd/system/lab-verbs.service"
		must(t, server.WriteFile(file, verbsUnit, 0o644))
		shell(t, "systemctl daemon-reload")
		begin(t, verbs)
		undo(t, "rm -f "+file+"; systemctl stop lab-verbs.service; systemctl daemon-reload")
		if out, code := fire(t, "verbs"); code != 0 {
			t.Errorf("what is granted:\n%s", out)
		}
		shell(t, "systemctl restart lab-verbs.service")
		refuses(t, systemdCall+"FreezeUnit s lab-verbs.service")
		refuses(t, systemdCall+"ThawUnit s lab-verbs.service")
		shell(t, "systemctl stop lab-verbs.service; rm "+file+"; systemctl daemon-reload")
		refuses(t, "systemd-run --no-ask-password --unit=lab-verbs.service --wait touch /etc/evil")
		if out := shell(t, "ls /etc/evil 2>/dev/null; rm -f /etc/evil"); out != "" {
			t.Error("the daemon's user became root")
		}
	})
}

// refuses tries what must be refused to the daemon.
func refuses(t *testing.T, line string) {
	t.Helper()
	if out, well := as(t, "netwatch", line); well || !refusesAsSystem.MatchString(out) {
		t.Errorf("%s is not refused (it ended well: %v):\n%s", line, well, out)
	}
}

// Who may fire is decided by the kernel's word on who connects: root and the
// group netwatch may, anybody else may only look.
func TestWhoMayFire(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	shell(t, "getent group netwatch || groupadd netwatch; useradd -G netwatch alice")
	undo(t, "userdel alice")
	for user, may := range map[string]bool{"root": true, "alice": true, "nobody": false} {
		out := shell(t, "runuser -u "+user+" -- netwatch fire ip-changed 2>&1; echo code $?")
		if strings.Contains(out, "code 0") != may || strings.Contains(out, "code 4") == may {
			t.Errorf("%s:\n%s", user, out)
		}
		if !may && !strings.Contains(out, "netwatch: firing ip-changed: user nobody may not fire ip-changed\nhint: ") {
			t.Errorf("%s is told:\n%s", user, out)
		}
		if out := shell(t, "runuser -u "+user+" -- netwatch history 2>&1; echo code $?"); strings.Contains(out,
			"code 0") != may {
			t.Errorf("%s reads the history:\n%s", user, out)
		}
		if out := shell(t, "runuser -u "+user+" -- netwatch status"); !strings.Contains(out, FirstPublic.String()) {
			t.Errorf("%s sees:\n%s", user, out)
		}
	}
}

// helped runs the remedy in what was said, as it stands there.
func helped(t *testing.T, said string) {
	t.Helper()
	_, hint, _ := strings.Cut(said, "hint: ")
	command := regexp.MustCompile(`systemctl restart netwatch[-a-z.]*`).FindString(hint)
	if command == "" {
		t.Fatalf("there is no remedy in\n%s", said)
	}
	if out, err := server.Exec(t.Context(), "sh", "-c", command); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, shell(t, "journalctl -b -n 20 -u netwatch.socket -u netwatch-file.socket"))
	}
}

// When somebody has removed the control sockets, or one of them, root is told what
// helps, and it does.
func TestControlSocketRemoved(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h")+marking, FirstPublic)
	mark(t)
	for _, line := range []string{
		"rm /run/netwatch/netwatch.sock*",
		"rm -r /run/netwatch",
		"systemctl stop netwatch.socket netwatch.service",
		"rm /run/netwatch/netwatch.sock*; systemctl stop netwatch.service",
		"rm /run/netwatch/netwatch.sock*; systemctl stop netwatch.socket netwatch.service",
		"rm /run/netwatch/netwatch.sock*; systemctl kill -s KILL netwatch.service",
	} {
		shell(t, line)
		out, code := fire(t, "mark")
		if code != 3 {
			t.Errorf("after %s, fire ends with %d:\n%s", line, code, out)
			continue
		}
		helped(t, out)
		if out, code := fire(t, "mark"); code != 0 {
			t.Errorf("after %s and the remedy, fire ends with %d:\n%s", line, code, out)
		}
		for _, user := range []string{"netwatch", "synapse"} {
			if out, well := as(t, user, "netwatch status"); !well {
				t.Errorf("after %s and the remedy %s is told\n%s", line, user, out)
			}
		}
	}
	shell(t, "rm /run/netwatch/netwatch.sock.group")
	if out, code := fire(t, "mark"); code != 0 {
		t.Errorf("without the socket of the group: %d\n%s", code, out)
	}
}

// So it is with the socket of the helper.
func TestHelperSocketRemoved(t *testing.T) {
	fresh(t, YunoHost)
	watching(t, configuration(YunoHost, "1h"), FirstPublic)
	lines := []string{"rm /run/netwatch-file/socket", "rm -r /run/netwatch-file", "systemctl stop netwatch-file.socket"}
	for n, line := range lines {
		shell(t, line)
		must(t, world.SetPublic(t.Context(), Public(90+n)))
		out, code := fire(t, "ip-changed")
		if code != 1 {
			t.Errorf("after %s, a rotation ends with %d:\n%s", line, code, out)
			continue
		}
		helped(t, out)
		if out, code := fire(t, "ip-changed"); code != 0 {
			t.Errorf("after %s and the remedy, a rotation ends with %d:\n%s", line, code, out)
		}
		right(t, Public(90+n), Public(90+n), 5*time.Second)
	}
}

// Each of the sockets is for whom it is for: where systemd holds them, where it
// does not, and after the users were changed.
func TestWhoMayConnect(t *testing.T) {
	fresh(t, YunoHost)
	must(t, install())
	shell(t, "useradd -G netwatch alice")
	undo(t, "userdel alice")
	watching(t, configuration(YunoHost, "1h")+vpnRule(YunoHost), FirstPublic)
	mayConnect(t, "nobody", "synapse")
	changed := strings.Replace(vpnRule(YunoHost), "[source.openvpn]", "[source.openvpn]\nusers = [\"synapse\"]", 1)
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", configuration(YunoHost, "1h")+changed, 0o644))
	shell(t, "systemctl reload netwatch.service")
	mayConnect(t, "synapse", "nobody")
	shell(t, "systemctl stop netwatch.service; systemctl restart netwatch.socket") // As after a boot.
	for _, door := range []string{".group", ".source"} {
		if out, may := as(t, "nobody", "test -w "+controlSocket+door); may {
			t.Errorf("before netwatch starts anybody may fill the queue of %s: %s", door, out)
		}
	}
}

// The daemon's user cannot put anything in the place of a socket, which root would
// then give an owner and a mode; what systemd does not hold, he does not make.
func TestSocketsAreRoots(t *testing.T) {
	governed(t, YunoHost)
	for _, line := range []string{
		"rm /run/netwatch/netwatch.sock.group", "ln -s /etc/shadow /run/netwatch/x",
		"mv /run/netwatch/netwatch.sock.source /run/netwatch/y",
	} {
		if out, well := as(t, "netwatch", line); well || !strings.Contains(out, "Permission denied") {
			t.Errorf("%s: %s", line, out)
		}
	}
	afterwards(t, "systemctl stop netwatch.service; systemctl unmask netwatch.socket")
	shell(t, "systemctl stop netwatch.service; systemctl mask --now netwatch.socket 2>&1; rm -rf /run/netwatch")
	out := shell(t, "systemctl start netwatch.service 2>&1; journalctl -b -o cat -n 20 -u netwatch.service")
	if !strings.Contains(out,
		"hint: have systemd hold it: systemctl unmask netwatch.socket && systemctl start netwatch.socket") {
		t.Errorf("without systemd's socket it says\n%s", out)
	}
}

// mayConnect tries each of the sockets as root, as one of the group, as the user of
// a source and as a stranger.
func mayConnect(t *testing.T, ofSource, stranger string) {
	t.Helper()
	for user, own := range map[string]string{"root": "", "alice": ".group", ofSource: ".source", stranger: ""} {
		for _, door := range []string{"", ".group", ".source"} {
			out, well := as(t, user, "curl -sS --unix-socket "+controlSocket+door+" http://netwatch/v1/status")
			if want := door == "" || user == "root" || door == own; well != want {
				t.Errorf("%s at %s: %v, want %v: %s", user, door, well, want, out)
			}
		}
	}
}

// Where /etc cannot be written, what is granted in there cannot be; that is said, the
// rest is done, and the daemon does what it may. What needs nothing lacks nothing.
func TestGrantReadOnly(t *testing.T) {
	leave, err := moveIn(t.Context(), Here)
	must(t, err)
	t.Cleanup(func() { must(t, leave()) })
	fresh(t, YunoHost)
	must(t, install())
	shell(t, "install -d -m 700 /opt/lab-read; cp "+YunoHost.File+" /opt/lab-read/; chmod 600 /opt/lab-read/coturn.conf")
	const needsNothing = "\n[[rule]]\non = [\"go\"]\nsettle = \"0s\"\nretry = \"0s\"\ndo = [\"probe\"]\n"
	for _, c := range []struct {
		config string
		code   string
		says   []string
	}{
		{"", "code 0", []string{"50-netwatch.rules: unchanged", "netwatch-grant.conf: unchanged"}},
		{
			ruleCoturn(YunoHost.File, YunoHost.Unit) + "[source.file]\nfiles = [\"/opt/lab-read/coturn.conf\"]\n", "code 1",
			[]string{
				"granting: writing /etc/polkit-1/rules.d/50-netwatch.rules: read-only file system\nhint: mount it for writing",
				"granting: writing /etc/systemd/system/netwatch-file@.service.d/netwatch-grant.conf: read-only file system\nhint: ",
				"/opt/lab-read/coturn.conf: user:netwatch:r--: changed",
			},
		},
	} {
		shell(t, "systemctl stop netwatch.service; while mountpoint -q /etc; do umount -l /etc; done")
		must(t, server.WriteFile("/etc/netwatch/netwatch.toml", sourceAddress()+needsNothing+c.config, 0o644))
		shell(t, "mount --bind /etc /etc && mount -o remount,ro,bind /etc")
		out := shell(t, "netwatch grant 2>&1; echo code $?")
		for _, want := range append(c.says, c.code) {
			if !strings.Contains(out, want) {
				t.Errorf("it does not say %q:\n%s", want, out)
			}
		}
		shell(t, "systemctl start netwatch.service")
		if out, code := fire(t, "go"); code != 0 {
			t.Errorf("with a read-only /etc netwatch ends with %d:\n%s", code, out)
		}
	}
}
