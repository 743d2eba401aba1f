//go:build lab

// 7. No root, no sudo, no shell: what strangers own leads the helper nowhere.

package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// otherInstance is a file of root's alone that a rule of its own rotates.
const otherInstance = "/etc/lab-other/a.conf"

// twoInstances has netwatch rotate two files: one of YunoHost's, or that is to be one
// day, and one of root's.
func twoInstances(t *testing.T, file string) {
	t.Helper()
	fresh(t, YunoHost)
	synapseDoes(t, "mkdir -p $(dirname "+file+"); [ -e "+file+" ] || cp --preserve=all "+YunoHost.File+" "+file)
	must(t, server.WriteFile(otherInstance, CoturnConf("203.0.113.1"), 0o600))
	afterwards(t, "rm -rf /etc/lab-other /etc/matrix-synapse/c /etc/matrix-synapse/c.old")
	other := strings.Replace(ruleCoturn(otherInstance, "lab-absent.service"), "[[rule]]", "[[rule]]\nname = \"other\"", 1)
	begin(t, sourceStun("1h", false)+"families = [\"ipv4\"]\n"+ruleCoturn(file, YunoHost.Unit)+other)
	otherIsRotated(t, "before")
}

// otherIsRotated wants the other instance's address to be put right.
func otherIsRotated(t *testing.T, when string) {
	t.Helper()
	shell(t, "sed -i 's/^external-ip=.*/external-ip=203.0.113.1/' "+otherInstance+"; netwatch fire --no-wait ip-changed")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := until(ctx, 50*time.Millisecond, func() error {
		if got := shell(t, "grep external-ip "+otherInstance); !strings.Contains(got, FirstPublic.String()) {
			return fmt.Errorf("it has %s", got)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: the other instance stays wrong: %v\n%s", when, err, shell(t, "netwatch status; journalctl -b -o cat -n 10 -u 'netwatch-file@*'"))
	}
}

// What is in the place of a directory of synapse's keeps the helper from starting for
// nobody's file.
func TestSandboxOfAnother(t *testing.T) {
	twoInstances(t, "/etc/matrix-synapse/c/coturn.conf")
	for name, to := range map[string]string{
		"a loop": "c", "a file's child": "/etc/passwd/x", "a long name": strings.Repeat("n", 300), "a descriptor": "/proc/self/fd/0",
		"devices": "/dev", "a file": "/etc/passwd", "everything": "/",
	} {
		synapseDoes(t, "cd /etc/matrix-synapse; [ -d c.old ] || mv c c.old; ln -sfn "+to+" c")
		otherIsRotated(t, name)
	}
}

// However often the helper is asked for, it can be asked again.
func TestHelperSocketStays(t *testing.T) {
	governed(t, YunoHost)
	const program = `use IO::Socket::UNIX; for (1..600) { my $s = IO::Socket::UNIX->new(Peer => "/run/netwatch-file/socket"); push @s, $s if $s; }`
	if _, err := server.ExecAs(t.Context(), "netwatch", "perl", "-e", program); err != nil {
		t.Fatal(err)
	}
	if state := show(t, "netwatch-file.socket", "ActiveState"); state != "active" {
		t.Errorf("the helper's socket is %s", state)
	}
	must(t, world.SetPublic(t.Context(), Public(33)))
	right(t, Public(33), Public(33), every+settle+10*time.Second)
	shell(t, "id alice 2>/dev/null || useradd alice; usermod -aG netwatch alice")
	if out, well := as(t, "alice", "perl -e '"+strings.Replace(program, "600", "1", 1)+" exit !@s'"); well {
		t.Errorf("a member of the group may ask it: %s", out)
	}
}

// onDisk has a directory of the server on ext4, as a machine has it: the lab's own
// overlay has its readers be root while they read.
func onDisk(t *testing.T, dir string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	loop, err := run(t.Context(), "sh", "-ec", "truncate -s 64M "+image+"; mkfs.ext4 -q "+image+"; losetup -f --show "+image)
	must(t, err)
	t.Cleanup(func() {
		if err := exec.Command("losetup", "-d", loop).Run(); err != nil {
			t.Error(err)
		}
	})
	shell(t, strings.NewReplacer("DIR", dir, "MINOR", strings.TrimPrefix(loop, "/dev/loop")).Replace(`set -e
		mkdir -p /run/labdisk; mknod /dev/lab-disk b 7 MINOR; mount /dev/lab-disk /run/labdisk; rmdir /run/labdisk/lost+found
		cp -a DIR/. /run/labdisk/; chown --reference=DIR /run/labdisk; chmod --reference=DIR /run/labdisk
		mount --bind /run/labdisk DIR; umount /run/labdisk; rm /dev/lab-disk`))
	afterwards(t, "umount -l "+dir)
}

// holding has synapse hold a directory in the kernel until the test ends. As on most
// Debians /dev/fuse is for everyone; here there is none before.
func holding(t *testing.T, dir string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hold")
	build := command(t.Context(), "go", "build", "-o", program, "./hold")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building hold: %v: %s", err, out)
	}
	text, err := os.ReadFile(program)
	must(t, err)
	must(t, server.WriteFile("/usr/local/bin/hold", string(text), 0o755))
	shell(t, `[ -e /dev/fuse ] || mknod -m 666 /dev/fuse c 10 229
		systemd-run --quiet --collect --uid=synapse --unit=lab-hold unshare -Urm /usr/local/bin/hold `+dir+` /mnt`)
	afterwards(t, "systemctl kill -s KILL lab-hold.service; rm -f /dev/fuse")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 50*time.Millisecond, func() error {
		_, err := server.Exec(ctx, "sh", "-c", "journalctl -b -o cat -u lab-hold.service | tail -n 1 | grep 'hold: held'")
		return err
	}))
}

// Where synapse holds his directory in the kernel, so that nothing ends who waits for
// it, one helper waits, and nobody else: neither another file nor the next start.
func TestHeldDirectory(t *testing.T) {
	twoInstances(t, YunoHost.File)
	onDisk(t, "/etc/matrix-synapse")
	shell(t, "sed -i 's/^external-ip=.*/external-ip=203.0.113.2/' "+YunoHost.File)
	holding(t, "/etc/matrix-synapse")
	for n := range 3 {
		otherIsRotated(t, fmt.Sprintf("held, the %d. time", n+1))
	}
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", shell(t, "cat /etc/netwatch/netwatch.toml")+"\n[source.file]\nfiles = [\""+YunoHost.File+"\"]\n", 0o644))
	shell(t, "systemctl stop netwatch.service") // which lets the run that waits for its helper end
	began := time.Now()
	shell(t, "systemctl start netwatch.service")
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v to start\n%s", took, shell(t, "journalctl -b -o short-precise -n 30 -u netwatch.service -u netwatch-open.service"))
	} else {
		t.Logf("it started after %v", took)
	}
	if out, err := server.ExecAs(t.Context(), "nobody", "ls", "/var/lib/netwatch-grant", filepath.Dir(strings.Fields(grantFiles)[1])); err == nil || strings.Contains(out, "netwatch") {
		t.Errorf("anybody may hold what grant writes: %s", out)
	}
}
