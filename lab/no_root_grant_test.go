//go:build lab

package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// following is a configuration that has netwatch follow and verify a coturn's
// file.
func following(c Coturn) string {
	return sourceAddress() + fmt.Sprintf("\n[source.file]\nfiles = [%q]\n\n[[rule]]\non = [\"started\", \"file-changed\"]\ndo = [\"verify turn %[1]s\"]\n", c.File)
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
			watching(t, sourceAddress()+ruleCoturn(c.File, c.Unit), FirstPublic) // whatever was open is closed
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
	for user, can := range map[string]bool{"netwatch": true, "turnserver": true, "nobody": false, "alice": false, "www-data": false} {
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
	shell(t, "mkdir -m 700 /root/lab-closed; echo secret >/root/lab-closed/secret; chown synapse /root/lab-closed/secret; chmod 600 /root/lab-closed/secret; touch /etc/matrix-synapse/lab-root; chmod 600 /etc/matrix-synapse/lab-root")
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", "rm -rf /root/lab-closed /var/tmp/lab-link /etc/matrix-synapse/lab-root /etc/matrix-synapse/sub "+YunoHost.File); err != nil {
			t.Error(err)
		}
	})
	victims := "/etc/shadow /root /root/lab-closed /root/lab-closed/secret /etc/matrix-synapse/lab-root"
	before := shell(t, "getfacl -p "+victims)
	for name, c := range map[string]struct{ prepare, file, says string }{
		"a link to root's file":                {"ln -sfn /etc/shadow " + YunoHost.File, YunoHost.File, "opening /etc/shadow: it belongs to user 0"},
		"a link through root's directory":      {"ln -sfn /root/lab-closed/secret " + YunoHost.File, YunoHost.File, "decides where the way leads, and may not look into /root: permission denied"},
		"root's file in their directory":       {"true", "/etc/matrix-synapse/lab-root", "opening /etc/matrix-synapse/lab-root: it belongs to user 0"},
		"a link where everyone may make one":   {"ln -sfn /root/lab-closed/secret /var/tmp/lab-link", "/var/tmp/lab-link", "decides where the way leads, and may not look into /root: permission denied"},
		"a link of a directory":                {"ln -sfn /root/lab-closed /etc/matrix-synapse/sub", "/etc/matrix-synapse/sub/secret", "decides where the way leads, and may not look into /root: permission denied"},
		"a link of a directory, nothing in it": {"ln -sfn /root /etc/matrix-synapse/sub", "/etc/matrix-synapse/sub/coturn.conf", "decides where the way leads, and may not look into /root: permission denied"},
	} {
		shell(t, "runuser -u synapse -- "+c.prepare)
		must(t, server.WriteFile("/etc/netwatch/netwatch.toml", following(Coturn{File: c.file}), 0o644))
		out := shell(t, "netwatch grant 2>&1")
		if !strings.Contains(out, c.says) || !strings.Contains(out, "\nhint: have the directories and symlinks") || strings.Contains(out, "user:netwatch:") {
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
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", following(Coturn{File: "/mnt/coturn.conf"})+ruleCoturn(YunoHost.File, YunoHost.Unit)+
		"[[rule]]\non = [\"go\"]\ndo = [\"verify turn "+YunoHost.File+"\"]\n", 0o644))
	out := shell(t, "unshare -m sh -c 'mount -t ramfs none /mnt; echo >/mnt/coturn.conf; chmod 600 /mnt/coturn.conf; netwatch grant' 2>&1")
	for _, want := range []string{"/mnt/coturn.conf: its file system has no ACLs", "hint: mount it with them", YunoHost.File + ": user:netwatch:r--: changed", "50-netwatch.rules: changed"} {
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

// It stays up however often it is killed.
func TestNoStartLimit(t *testing.T) {
	const dir = "/etc/systemd/system/netwatch.service.d"
	must(t, server.WriteFile(dir+"/lab-fast.conf", "[Service]\nRestartSec=0\n", 0o644)) // so that a limit would be reached
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", "rm "+dir+"/lab-fast.conf; systemctl daemon-reload"); err != nil {
			t.Error(err)
		}
	})
	governed(t, YunoHost)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 7 {
		pid := show(t, "netwatch.service", "MainPID")
		shell(t, "kill -KILL "+pid)
		must(t, until(ctx, settle/10, func() error {
			if now := show(t, "netwatch.service", "MainPID"); now == "0" || now == pid {
				return fmt.Errorf("its process is %s", now)
			}
			return nil
		}))
	}
	idle(t, FirstPublic)
}
