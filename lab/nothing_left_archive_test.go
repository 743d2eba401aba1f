//go:build lab

// The archive for machines without dpkg: installed, replaced, at work and taken away.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// makeArchives has make build the archives of a version, and returns their files by
// architecture.
func makeArchives(t *testing.T, version, arches string) map[string]string {
	t.Helper()
	dist := t.TempDir()
	makes(t, "exec make -s tarball VERSION="+version+" DIST="+dist+" ARCHES='"+arches+"'")
	archives := map[string]string{}
	for _, arch := range strings.Fields(arches) {
		archives[arch] = filepath.Join(dist, "netwatch-"+version+"-"+arch+".tar.gz")
	}
	return archives
}

// unpackIn unpacks the archives of versions for this machine below /opt of the server, and
// returns the directories of each there.
func unpackIn(t *testing.T, versions ...string) (dirs []string) {
	t.Helper()
	arch := outside(t, "dpkg", "--print-architecture")
	for _, version := range versions {
		outside(t, "tar", "-xzf", makeArchives(t, version, arch)[arch], "-C", server.path("/opt"))
		dirs = append(dirs, "/opt/netwatch-"+version+"-"+arch)
	}
	undo(t, "rm -rf "+strings.Join(dirs, " "))
	return dirs
}

// withoutDpkg makes the server one of another distribution as far as an installation can
// see: what Debian alone has is not there.
func withoutDpkg(t *testing.T) {
	t.Helper()
	undo(t, "mv /opt/hidden/dpkg-of-var /var/lib/dpkg; mv /opt/hidden/* /usr/bin; rmdir /opt/hidden")
	shell(t, "mkdir /opt/hidden; mv /usr/bin/dpkg* /usr/bin/apt* /usr/bin/deb-systemd-* /usr/bin/systemd-sysusers "+
		"/opt/hidden; mv /var/lib/dpkg /opt/hidden/dpkg-of-var")
	if there := shell(t, "command -v dpkg dpkg-query apt-get deb-systemd-invoke deb-systemd-helper || true"); there != "" {
		t.Fatalf("it has %s", there)
	}
}

// On a machine that has no dpkg the archive puts everything where systemd, man and the
// shells look, says where, and what is left to do; netwatch is at work then as it is from
// the package; a newer one replaces it and goes on; and when it goes nothing is left.
func TestArchive(t *testing.T) {
	fresh(t, YunoHost)
	bare(t)
	unlimited(t, YunoHost.Unit)
	dirs := unpackIn(t, "1.0", "2.0")
	withoutDpkg(t)
	shell(t, "touch /opt/before") // What other tests have left is older
	undo(t, "rm /opt/before")
	before, lists := traces(t), acls(t, YunoHost)
	out := shell(t, dirs[0]+"/install 2>&1")
	t.Log(out)
	for _, file := range strings.Fields(shell(t, "find /usr/local /etc -newer /opt/before"+
		" -path '*netwatch*' -type f; find /usr/local -name '*netwatch*' ! -type d")) {
		if !strings.Contains(out, file+"\n") {
			t.Errorf("it does not say that it wrote %s", file)
		}
	}
	if !strings.Contains(out, "systemctl enable --now netwatch") || strings.Contains(out, "polkit") {
		t.Error("it does not say what is left to do, or misses what is there")
	}
	linked(t, server.path(dirs[0]))
	linked(t, server.path("/usr/local/share/doc/netwatch"))
	wantUnits(t, "is-enabled", "disabled", "disabled")
	archiveAtWork(t, "1.0", Public(20))

	pid := show(t, "netwatch.service", "MainPID")
	shell(t, "echo 'Documentation=man:netwatch(8)' >/usr/local/lib/systemd/system/netwatch-old.service")
	t.Log(shell(t, dirs[1]+"/install 2>&1"))
	if show(t, "netwatch.service", "MainPID") == pid {
		t.Error("it is the old daemon that runs")
	}
	shell(t, "! ls /usr/local/lib/systemd/system/netwatch-old.service 2>&1")
	archiveAtWork(t, "2.0", Public(21))
	archiveTakenAway(t, dirs[1], lists)
	wantNoMore(t, before)
}

// archiveAtWork wants what is installed to be of that version and to follow the address.
func archiveAtWork(t *testing.T, version string, to netip.Addr) {
	t.Helper()
	config := configuration(YunoHost, "500ms")
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644))
	shell(t, "systemctl enable -q --now netwatch.service")
	if out := shell(t, "netwatch version; command -v netwatch"); out != "netwatch "+version+"\n/usr/local/bin/netwatch" {
		t.Errorf("there is %s", out)
	}
	must(t, world.SetPublic(t.Context(), to))
	right(t, to, to, 15*time.Second)
	idle(t, to)
	wantUnits(t, "is-active", "active", "active")
	shell(t, "systemctl cat netwatch.service | grep -q /usr/local/bin")
}

// archiveTakenAway takes netwatch away, first without and then with its configuration.
func archiveTakenAway(t *testing.T, dir, lists string) {
	t.Helper()
	t.Log(shell(t, dir+"/uninstall 2>&1"))
	if left := shell(t, "pgrep -u netwatch || true; ls -d "+grantFiles+" /run/netwatch* /usr/local/bin/netwatch "+
		"/etc/systemd/system/*.wants/netwatch* 2>/dev/null || true"); left != "" {
		t.Errorf("it leaves\n%s", left)
	}
	if now := acls(t, YunoHost); now != lists {
		t.Errorf("the access lists are\n%s\nbefore\n%s", now, lists)
	}
	shell(t, "ls /etc/netwatch/netwatch.toml /var/lib/netwatch/state.json; getent passwd netwatch")
	shell(t, dir+"/install; systemctl start netwatch.service")
	idle(t, Public(21))
	t.Log(shell(t, dir+"/uninstall --purge 2>&1"))
	shell(t, "! getent passwd netwatch && ! getent group netwatch")
}

// What would not do is refused before anything is written, with what helps.
func TestArchiveRefuses(t *testing.T) {
	fresh(t, YunoHost)
	bare(t)
	dir, other := unpackIn(t, "1.0")[0], map[string]string{"amd64": "arm64", "arm64": "amd64", "armhf": "amd64"}
	arch := outside(t, "dpkg", "--print-architecture")
	foreign := "/opt/netwatch-1.0-" + other[arch]
	outside(t, "tar", "-xzf", makeArchives(t, "1.0", other[arch])[other[arch]], "-C", server.path("/opt"))
	undo(t, "rm -rf "+foreign+"; rm -rf /usr/local/bin/netwatch; userdel netwatch 2>/dev/null; true")
	mounted := func(what, how string) string {
		return "unshare -m sh -c 'mount --bind " + what + " " + what + "; mount -o remount,bind," + how + " " + what +
			"; sh " + dir + "/install'"
	}
	before := traces(t)
	for name, c := range map[string]struct{ line, says, hint string }{
		"another machine": {foreign + "/install", "it is for " + other[arch] + ", and this machine is ", "take the archive"},
		"not root": {
			"runuser -u nobody -- " + dir + "/install", "only root can", "sudo env PREFIX=/usr/local " + dir + "/install",
		},
		"elsewhere":          {"PREFIX=/opt/x " + dir + "/install", "no units in /opt/x", "PREFIX=/usr/local"},
		"not mounted to run": {mounted(dir, "noexec"), "it is for " + arch + ", and this machine is ", "findmnt -T ."},
		"read-only":          {mounted("/usr", "ro"), "/usr/local/bin cannot be written to", "findmnt -T /usr/local"},
	} {
		out := shell(t, "{ "+c.line+"; } 2>&1 && echo it is there || true")
		if !strings.Contains(out, c.says) || !strings.Contains(out, "\nhint: ") || !strings.Contains(out, c.hint) {
			t.Errorf("%s: it says\n%s", name, out)
		}
	}
	wantNoMore(t, before)
	archiveBesideAnother(t, dir)
}

// wantNoMore wants no more traces than there were.
func wantNoMore(t *testing.T, before []string) {
	t.Helper()
	more := slices.DeleteFunc(traces(t), func(trace string) bool { return slices.Contains(before, trace) })
	if len(more) > 0 {
		t.Errorf("there is, and was not,\n%s", strings.Join(more, "\n"))
	}
}

// archiveBesideAnother wants it refused where dpkg or somebody else has put one.
func archiveBesideAnother(t *testing.T, dir string) {
	t.Helper()
	dpkg(t, "-i "+handOver(t, "1.0")[0])
	for _, script := range []string{"install", "uninstall"} {
		if out := shell(t, dir+"/"+script+" 2>&1 || true"); !strings.Contains(out, "Debian package\nhint: ") {
			t.Errorf("beside the package, %s says %s", script, out)
		}
	}
	dpkg(t, "--purge netwatch")
	shell(t, "PREFIX=/usr "+dir+"/install")
	for _, script := range []string{"install", "uninstall"} {
		if out := shell(t, dir+"/"+script+" 2>&1 || true"); !strings.Contains(out, "hint: env PREFIX=/usr "+dir+"/"+script) {
			t.Errorf("beside the one in /usr, %s says %s", script, out)
		}
	}
	shell(t, "PREFIX=/usr "+dir+"/uninstall --purge")
}

// The archives have what the packages have, and a program for their machine.
func TestArchives(t *testing.T) {
	for arch, file := range makeArchives(t, "1.0", "amd64 arm64 armhf") {
		dir := t.TempDir()
		outside(t, "tar", "-xzf", file, "-C", dir)
		top := filepath.Join(dir, "netwatch-1.0-"+arch)
		forMachine(t, arch, top+"/bin/netwatch")
		for _, name := range []string{
			"LICENSE", "README.md", "packaging/reference.toml", "docs/netwatch.8", "contrib/openvpn/client.conf",
		} {
			if _, err := os.Stat(filepath.Join(top, name)); err != nil {
				t.Error(err)
			}
		}
		allTerms(t, top+"/bin/netwatch", top+"/LICENSE")
	}
}

// Where there is neither systemd nor more than busybox, netwatch is installed with a user of
// its own, says what it cannot do, writes the new address, and goes without a trace.
func TestArchiveWithoutSystemd(t *testing.T) {
	fresh(t, Debian)
	root := busyboxRoot(t)
	in := func(line string) string {
		t.Helper()
		out, err := run(t.Context(), inRoot(root, "{ "+line+"; } 2>&1")...)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return out
	}
	before := tree(t, root)
	arch := outside(t, "dpkg", "--print-architecture")
	outside(t, "tar", "-xzf", makeArchives(t, "1.0", arch)[arch], "-C", root)
	dir := "/netwatch-1.0-" + arch
	out := in(dir + "/install; id netwatch")
	t.Log(out)
	for _, word := range []string{"systemd does not run here", "/usr/local/bin/netwatch run", "uid=", "(netwatch)"} {
		if !strings.Contains(out, word) {
			t.Errorf("it does not say %q", word)
		}
	}
	must(t, os.WriteFile(root+"/etc/turnserver.conf", []byte(CoturnConf("203.0.113.99")), 0o640))
	must(t, os.WriteFile(root+"/etc/netwatch/netwatch.toml", []byte(configuration(Debian, "500ms")+marking), 0o644))
	must(t, os.WriteFile(root+"/usr/local/bin/mark", []byte("#!/bin/sh\necho mark >>/mark\n"), 0o755))
	daemon, err := start(filepath.Join(world.Dir(), "alone"), inRoot(root, "exec netwatch run")...)
	must(t, err)
	t.Cleanup(func() {
		_ = daemon.stop(os.Kill)
		log, _ := os.ReadFile(filepath.Join(world.Dir(), "alone"))
		t.Logf("the log of netwatch:\n%s", log)
	})
	to := Public(22)
	must(t, world.SetPublic(t.Context(), to))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, until(ctx, pause, func() error { return holds(root+"/etc/turnserver.conf", "external-ip="+to.String()) }))
	in("netwatch fire mark && grep -q mark /mark && netwatch status")
	must(t, until(ctx, pause, func() error {
		const want = "restart coturn.service: failed: restarting coturn.service: connecting to the system bus"
		if said := in("netwatch history"); !strings.Contains(said, want) {
			return fmt.Errorf("it does not say why coturn was not restarted:\n%s", said)
		}
		return nil
	}))
	must(t, daemon.stop(os.Interrupt))
	t.Log(in(dir + "/uninstall --purge"))
	in("rm -r " + dir + " /etc/turnserver.conf /mark /usr/local/bin/mark")
	after := slices.DeleteFunc(tree(t, root), func(file string) bool { return slices.Contains(before, file) })
	if len(after) > 0 || in("grep netwatch /etc/passwd /etc/group || true") != "" {
		t.Errorf("it leaves %s", after)
	}
}

// holds says what keeps a file from having a line.
func holds(file, line string) error {
	text, err := os.ReadFile(file)
	if err == nil && !slices.Contains(strings.Split(string(text), "\n"), line) {
		err = fmt.Errorf("%s has no line %q:\n%s", file, line, text)
	}
	return err
}

// busyboxUsers stands in for what Alpine's busybox has and Debian's has not, with the options
// that Alpine's takes.
var busyboxUsers = map[string]string{
	"addgroup": `test "$1" = -S; echo "$2:x:101:" >>/etc/group`,
	"adduser": `while getopts SDHh:s:g:G: o; do
			case $o in h) h=$OPTARG ;; s) s=$OPTARG ;; g) g=$OPTARG ;; '?') exit 1; esac
		done
		shift $((OPTIND - 1)); echo "$1:x:100:101:$g:$h:$s" >>/etc/passwd`,
	"deluser":  `sed -i "/^$1:/d" /etc/passwd`,
	"delgroup": `sed -i "/^$1:/d" /etc/group`,
}

// inRoot runs a command line in a root, in the network of the server.
func inRoot(root, line string) []string {
	return inNet(world.Net, "unshare", "--mount", "--propagation=private", "--", "sh", "-ec",
		`mount -t proc proc "$0/proc"
		exec env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$0" /bin/sh -c "$1"`, root, line)
}

// busyboxRoot is a root that has busybox, two users, and nothing else.
func busyboxRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755))
	for _, dir := range strings.Fields("bin sbin usr/bin usr/sbin etc proc dev tmp var/lib run root") {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	for name, text := range busyboxUsers {
		must(t, os.WriteFile(filepath.Join(root, "usr/sbin", name), []byte("#!/bin/sh\nset -eu\n"+text), 0o755))
	}
	outside(t, "sh", "-ec", "cp /bin/busybox "+root+"/bin; chroot "+root+" /bin/busybox --install -s; "+
		"mknod "+root+"/dev/null c 1 3; mknod "+root+"/dev/urandom c 1 9; chmod 666 "+root+"/dev/*")
	for name, text := range map[string]string{
		"passwd": "root:x:0:0::/root:/bin/sh\n", "group": "root:x:0:\n", "shadow": "root:*:::::::\n", "resolv.conf": "",
	} {
		must(t, os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644))
	}
	return root
}
