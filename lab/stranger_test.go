//go:build lab

package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// These are attacks by users of the machine, above all by synapse, who owns the
// directory of coturn.conf and faces the internet. None of them may become more
// than he is, nor keep anybody's calls from working.

// synapseDoes has the user do something by a shell, which must work.
func synapseDoes(t *testing.T, line string) {
	t.Helper()
	if _, err := server.ExecAs(t.Context(), "synapse", "sh", "-ec", line); err != nil {
		t.Fatal(err)
	}
}

// afterwards runs a line in the server when the test has ended.
func afterwards(t *testing.T, line string) {
	t.Cleanup(func() {
		if _, err := server.Exec(context.Background(), "sh", "-c", line); err != nil {
			t.Error(err)
		}
	})
}

// evilUnit is the name of a directory that is commands in a unit, if it comes into
// one as it is.
const evilUnit = `x
ExecStart=
ExecStart=!/etc/matrix-synapse/evil
NoNewPrivileges=no
ProtectSystem=no
CapabilityBoundingSet=~
SystemCallFilter=
PrivateNetwork=no
#`

// What synapse names a directory comes into no unit of root's, nor does a place
// that a link of his leads to.
func TestNothingOfAStrangerInAUnit(t *testing.T) {
	governed(t, YunoHost)
	afterwards(t, "rm -rf /run/evil /etc/matrix-synapse/*; systemctl reload netwatch.service || true")
	first := shell(t, "cat /etc/systemd/system/netwatch-file@.service.d/netwatch-grant.conf")
	for name, to := range map[string]string{"ends of lines": "./" + evilUnit + "/coturn.conf", "a directory of root's": "/etc/passwd", "the root directory": "/lab-x"} {
		synapseDoes(t, fmt.Sprintf(`cd /etc/matrix-synapse
			printf '#!/bin/sh\nid >/run/evil\n' >evil; chmod 755 evil
			mkdir -p '%[1]s'; [ -L coturn.conf ] || mv coturn.conf '%[1]s'/coturn.conf
			ln -sfn '%[2]s' coturn.conf`, evilUnit, to))
		out := shell(t, "netwatch grant 2>&1; systemctl restart netwatch.service; netwatch fire ip-changed 2>&1 || true")
		if now := shell(t, "cat /etc/systemd/system/netwatch-file@.service.d/netwatch-grant.conf"); now != first {
			t.Errorf("%s: the drop-in is now\n%s\nit was\n%s", name, now, first)
		}
		if evil := shell(t, "cat /run/evil 2>/dev/null || true"); evil != "" {
			t.Fatalf("%s: synapse is %s", name, evil)
		}
		if to != "/lab-x" && !strings.Contains(out, "name the real file in the step") {
			t.Errorf("%s: it says\n%s", name, out)
		}
	}
}

// Where a link of synapse's leads, what happens happens with his rights: nothing
// of root's is read or written, also in a directory that is open to the helper.
func TestLinkedDirectory(t *testing.T) {
	fresh(t, YunoHost)
	const file, victim = "/etc/matrix-synapse/c/coturn.conf", "/etc/lab-other/coturn.conf"
	synapseDoes(t, "mkdir -p /etc/matrix-synapse/c; cp --preserve=all "+YunoHost.File+" /etc/matrix-synapse/c/")
	must(t, server.WriteFile(victim, CoturnConf("203.0.113.88"), 0o600))
	must(t, server.WriteFile("/etc/lab-other/a.conf", CoturnConf("203.0.113.1"), 0o600))
	afterwards(t, "rm -rf /etc/lab-other /etc/matrix-synapse/c /etc/matrix-synapse/c.old")
	rule := ruleCoturn(file, YunoHost.Unit) + strings.Replace(ruleCoturn("/etc/lab-other/a.conf", "lab-absent.service"), "[[rule]]", "[[rule]]\nname = \"other\"", 1)
	begin(t, sourceStun("1h", false)+"families = [\"ipv4\"]\n"+rule)
	before := shell(t, "stat -c '%i %U %a %z' "+victim)
	synapseDoes(t, "cd /etc/matrix-synapse; mv c c.old; ln -s /etc/lab-other c")
	shell(t, "systemctl restart netwatch.service")
	out, code := fire(t, "ip-changed")
	if code == 0 || !strings.Contains(out, "user synapse decides where the way to it leads") || strings.Contains(out, "203.0.113.88") {
		t.Errorf("of a link of a directory it says (%d)\n%s", code, out)
	}
	if after := shell(t, "stat -c '%i %U %a %z' "+victim); after != before {
		t.Errorf("root's file was %s, and is %s", before, after)
	}
}

// A process that calls itself turnserver, whoever's it is, is no coturn; one that
// locks the file holds nobody up.
func TestFalseCoturn(t *testing.T) {
	governed(t, YunoHost)
	shell(t, `systemd-run --quiet --uid=nobody --unit=lab-false bash -c 'exec -a turnserver sleep infinity `+YunoHost.File+`'
		systemd-run --quiet --uid=turnserver --unit=lab-lock flock -s `+YunoHost.File+` sleep infinity
		systemd-run --quiet --uid=turnserver --unit=lab-lock2 flock -s `+"/etc/matrix-synapse"+` sleep infinity`)
	afterwards(t, "systemctl stop lab-false.service lab-lock.service lab-lock2.service")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 50*time.Millisecond, func() error {
		_, err := server.Exec(ctx, "sh", "-c", "pgrep -u nobody -f '^turnserver "+YunoHost.File+"'; ! runuser -u turnserver -- flock -n "+YunoHost.File+" true && ! runuser -u turnserver -- flock -n /etc/matrix-synapse true")
		return err
	}))
	began := time.Now()
	must(t, world.SetPublic(t.Context(), Public(31)))
	right(t, Public(31), Public(31), every+settle+spare)
	t.Logf("right after %v", time.Since(began))
}

// A file that is root's in a directory of synapse's, as while the app renders it,
// stays root's.
func TestRootsFileInTheirDirectory(t *testing.T) {
	governed(t, YunoHost)
	shell(t, "chown root:root "+YunoHost.File+"; chmod 440 "+YunoHost.File)
	before := shell(t, "stat -c '%U:%G %a' "+YunoHost.File+"; getfacl -cp "+YunoHost.File)
	must(t, world.SetPublic(t.Context(), Public(32)))
	right(t, Public(32), Public(32), every+settle+spare)
	if after := shell(t, "stat -c '%U:%G %a' "+YunoHost.File+"; getfacl -cp "+YunoHost.File); after != before {
		t.Errorf("after:\n%s\nbefore:\n%s", after, before)
	}
	if out := shell(t, "ls -A /etc/matrix-synapse; ls -ld /run/netwatch-lock"); strings.Contains(out, "netwatch-new") || !strings.Contains(out, "drwx------ 2 root root") {
		t.Errorf("there is\n%s", out)
	}
}
