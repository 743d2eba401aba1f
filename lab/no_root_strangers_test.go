//go:build lab

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
