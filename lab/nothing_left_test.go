//go:build lab

// Installed, upgraded and taken away, as a package and without: nothing is left.

package lab

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// gated is a rule whose step fails until the gate is open.
const gated = `
[[rule]]
name = "gated"
on = ["gated"]
settle = "0s"
do = ["exec /usr/bin/test -e /var/lib/netwatch/gate", "exec /usr/local/bin/mark"]
`

// bare makes the server one that has never had netwatch, and gives it back to
// the other tests as they expect it.
func bare(t *testing.T) {
	t.Helper()
	must(t, install())
	shell(t, "systemctl stop netwatch.socket netwatch-file.socket netwatch.service; "+
		"find /etc/systemd -type l -name 'netwatch*' -delete; "+ // What other tests have enabled.
		"rm -f "+vpnFile) // And whose line would keep it from being removed.
	makes(t, "make -s uninstall DESTDIR="+server.Root())
	shell(t, "userdel netwatch; rm -rf /etc/netwatch /var/lib/netwatch /run/netwatch /run/netwatch-file; "+
		"systemctl daemon-reload")
	// A machine that is an image of a container may say that nothing starts.
	shell(t, "rm -f /usr/sbin/policy-rc.d")
	t.Cleanup(func() {
		ctx := context.Background()
		if _, err := server.Exec(ctx, "dpkg", "--purge", "netwatch"); err != nil {
			t.Error(err)
		}
		if err := server.InstallNetwatch(ctx, ".."); err != nil {
			t.Error(err)
		}
	})
}

// handOver puts packages into the server, and returns their names there.
func handOver(t *testing.T, versions ...string) []string {
	t.Helper()
	var names []string
	for _, version := range versions {
		name := "/opt/" + version + ".deb"
		must(t, server.WriteFile(name, netwatchPackage(t, version), 0o644))
		names = append(names, name)
	}
	return names
}

// netwatchPackages are those that were made, by their version.
var netwatchPackages = map[string]string{}

// netwatchPackage is the package of a version for this machine, which is made once.
func netwatchPackage(t *testing.T, version string) string {
	t.Helper()
	if netwatchPackages[version] == "" {
		arch := outside(t, "dpkg", "--print-architecture")
		content, err := os.ReadFile(makePackages(t, version, arch)[arch])
		must(t, err)
		netwatchPackages[version] = string(content)
	}
	return netwatchPackages[version]
}

// dpkg runs dpkg, which asks nothing, and returns all that it prints.
func dpkg(t *testing.T, words string) string {
	t.Helper()
	out := shell(t, "dpkg "+words+" 2>&1")
	t.Logf("dpkg %s:\n%s", words, out)
	return out
}

// wantUnits wants the units of netwatch that stay to be in a state each, as
// systemctl is-active or is-enabled says.
func wantUnits(t *testing.T, question, service, sockets string) {
	t.Helper()
	got := shell(t, "systemctl "+question+" netwatch.service netwatch.socket netwatch-file.socket || true")
	if want := service + "\n" + sockets + "\n" + sockets; got != want {
		t.Errorf("%s:\n%s\nwant\n%s", question, got, want)
	}
}

// The configuration of the package starts nothing; what an administrator makes
// of it outlives the upgrade, and so does what is pending.
func TestUpgrade(t *testing.T) {
	fresh(t, YunoHost)
	bare(t)
	packages := handOver(t, "1.0", "2.0")
	const ours = "find /etc/systemd -name 'netwatch*' | sort"
	others := shell(t, ours) // Of other tests.
	if out := dpkg(t, "-i "+packages[0]); !strings.Contains(out, "systemctl enable --now netwatch") {
		t.Errorf("it does not say how to start netwatch")
	}
	wantUnits(t, "is-active", "inactive", "inactive")
	wantUnits(t, "is-enabled", "disabled", "disabled")

	mark(t)
	config := configuration(YunoHost, "1h") + gated
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644))
	shell(t, "systemctl enable --now netwatch.service")
	idle(t, FirstPublic)
	shell(t, "netwatch fire gated --no-wait")
	before := show(t, "netwatch.service", "MainPID")
	began := time.Now()
	dpkg(t, "-i "+packages[1])
	t.Logf("the upgrade took %v", time.Since(began).Round(time.Millisecond))
	if after := show(t, "netwatch.service", "MainPID"); after == before {
		t.Error("it is the old daemon that runs")
	}
	if out := shell(t, "netwatch version; cat /etc/netwatch/netwatch.toml"); out != "netwatch 2.0\n"+
		strings.TrimSuffix(config, "\n") {
		t.Errorf("after the upgrade there is\n%s", out)
	}
	wantUnits(t, "is-active", "active", "active")
	if n := marks(t); n != 0 {
		t.Fatalf("the rule ran %d times before the gate was open", n)
	}
	shell(t, "touch /var/lib/netwatch/gate")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error { return hasRun(ctx, "gated") }))
	if n := marks(t); n != 1 {
		t.Errorf("the rule that was pending ran %d times", n)
	}
	dpkg(t, "--purge netwatch")
	for link := range strings.Lines(shell(t, ours)) {
		if !strings.Contains(others+"\n", strings.TrimSpace(link)+"\n") {
			t.Errorf("what the administrator enabled stays: %s", link)
		}
	}
}

// hasRun says what keeps a rule from having run well.
func hasRun(ctx context.Context, rule string) error {
	text, err := server.Exec(ctx, "netwatch", "status", "--json")
	if err != nil {
		return err
	}
	var s status
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	for _, r := range s.Rules {
		if r.Name == rule && r.Running == nil && r.Waiting == nil && r.Last != nil {
			return nil
		}
	}
	return fmt.Errorf("the rule %s has not run: %s", rule, text)
}

// What was there before is started at once; removed, it leaves the
// configuration and takes up work again; purged, it leaves nothing.
func TestPurge(t *testing.T) {
	fresh(t, YunoHost)
	bare(t)
	packages := handOver(t, "1.0")
	before := traces(t)
	lists := acls(t, YunoHost)
	config := configuration(YunoHost, "1h") + fmt.Sprintf("\n[source.file]\nfiles = [%q]\n", YunoHost.File)
	must(t, server.WriteFile("/etc/netwatch/netwatch.toml", config, 0o644))
	dpkg(t, "--force-confold -i "+packages[0])
	idle(t, FirstPublic)
	wantUnits(t, "is-enabled", "enabled", "enabled")
	shell(t, "ls "+grantFiles)
	if acls(t, YunoHost) == lists {
		t.Error("coturn's file is not opened to the daemon")
	}

	dpkg(t, "--remove netwatch")
	wantUnits(t, "is-active", "inactive", "inactive")
	if out := shell(t, "pgrep -u netwatch || true; ls -d "+grantFiles+" /run/netwatch* 2>/dev/null || true"); out != "" {
		t.Errorf("after the removal there is\n%s", out)
	}
	if now := acls(t, YunoHost); now != lists {
		t.Errorf("after the removal the access lists are\n%s\nbefore\n%s", now, lists)
	}
	if out := shell(t, "cat /etc/netwatch/netwatch.toml; ls /var/lib/netwatch"); !strings.HasPrefix(out, config) ||
		out == config {
		t.Errorf("after the removal there are no more configuration and state:\n%s", out)
	}

	dpkg(t, "-i "+packages[0])
	idle(t, FirstPublic)
	shell(t, "useradd -G netwatch bob; touch /etc/netwatch/other.toml")
	dpkg(t, "--purge netwatch")
	shell(t, "userdel bob")
	after := slices.DeleteFunc(traces(t), func(trace string) bool { return slices.Contains(before, trace) })
	if len(after) > 0 {
		t.Errorf("the purge leaves\n%s", strings.Join(after, "\n"))
	}
}

// common are the files of the server that are dpkg's, systemd's and others' own
// books, written whatever is installed.
var common = regexp.MustCompile(`^/(var/lib/dpkg/(status|lock|triggers|info/format|available|diversions|updates)|` +
	`var/log/|var/cache/(man|ldconfig)/|` +
	`etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|etc/\.pwd\.lock$|run/(log|systemd|udev)/)`)

// traces is the files that differ from this machine's, the directories that it
// has not, what is in /run, all but the common ones, and the lines that name
// netwatch in files.
func traces(t *testing.T) []string {
	t.Helper()
	var files []string
	upper := filepath.Join(world.Dir(), "upper")
	must(t, filepath.WalkDir(upper, func(path string, entry os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, upper)
		if here, statErr := os.Lstat("/" + name); statErr != nil || !here.IsDir() || !entry.IsDir() {
			files = append(files, name)
		}
		return err
	}))
	files = append(files, strings.Split(shell(t, "find /run -xdev"), "\n")...)
	files = slices.DeleteFunc(files, common.MatchString)
	named := shell(t, "grep -rIs netwatch /etc /var/lib /var/spool --exclude-dir=dpkg --exclude='*-' || true")
	return append(files, strings.Split(named, "\n")...)
}

// What cannot be taken away at the moment does not keep the rest: the package is
// gone, and what stays is said, with how it goes.
func TestPurgeWithSomethingInUse(t *testing.T) {
	fresh(t, YunoHost)
	bare(t)
	packages := handOver(t, "1.0")
	dpkg(t, "-i "+packages[0])
	shell(t, "useradd -G netwatch carol") // Who may ask the daemon, and keeps the group from going with the user
	undo(t, "userdel carol")
	shell(t, "mkdir -p /var/lib/netwatch; mount -t tmpfs nwstate /var/lib/netwatch")
	shell(t, "systemd-run --quiet --unit=lab-left --uid=netwatch sleep infinity")
	undo(t, "systemctl stop lab-left.service; umount -q /var/lib/netwatch; rm -rf /var/lib/netwatch")
	out := dpkg(t, "--purge netwatch")
	const remedy = "pkill -KILL -u netwatch; userdel netwatch; groupdel -f netwatch"
	for _, word := range []string{
		"/var/lib/netwatch': Device or resource busy", "userdel: user netwatch is currently used by process", remedy,
	} {
		if !strings.Contains(out, word) {
			t.Errorf("it does not say %q", word)
		}
	}
	if state := shell(t, "dpkg-query -W -f '${db:Status-Status}' netwatch 2>/dev/null || true"); state != "" {
		t.Errorf("after the purge the package is %s", state)
	}
	shell(t, "pkill -KILL -u netwatch; until ! pgrep -u netwatch; do :; done")
	shell(t, remedy+" || true") // None is left to kill, and userdel may have taken the group along
	shell(t, "! getent passwd netwatch && ! getent group netwatch")
}

// makePackages has make build the Debian packages of a version, and returns
// their files by architecture.
func makePackages(t *testing.T, version, arches string) map[string]string {
	t.Helper()
	dist := t.TempDir()
	makes(t, "exec make -s deb VERSION="+version+" DIST="+dist+" ARCHES='"+arches+"'")
	packages := map[string]string{}
	for _, arch := range strings.Fields(arches) {
		packages[arch] = filepath.Join(dist, "netwatch_"+version+"-1_"+arch+".deb")
	}
	return packages
}

// makes runs a command line in the source tree.
func makes(t *testing.T, line string) {
	t.Helper()
	must(t, makeIn(t.Context(), "..", line))
}

// outside runs a program on this machine and returns what it says.
func outside(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t.Context(), args...)
	must(t, err)
	return out
}

// tree lists the files and links below a directory by the paths they would have
// at the root.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, strings.TrimPrefix(path, dir))
		}
		return err
	}))
	return files
}

// What make uninstall leaves of what make install made is the configuration.
func TestUninstall(t *testing.T) {
	for _, prefix := range []string{"/usr", "/usr/local"} {
		root := t.TempDir()
		makes(t, "make -s build && make -s install DESTDIR="+root+" PREFIX="+prefix)
		if files := tree(t, root); !slices.Contains(files, prefix+"/bin/netwatch") {
			t.Errorf("make install made %s", files)
		}
		makes(t, "make -s uninstall DESTDIR="+root+" PREFIX="+prefix)
		if diff := cmp.Diff([]string{"/etc/netwatch/netwatch.toml"}, tree(t, root)); diff != "" {
			t.Errorf("with PREFIX=%s (-want +got):\n%s", prefix, diff)
		}
	}
}

// documents are in the packages beside what make install installs, or so easy to
// miss that they are named.
var documents = []string{
	"/usr/lib/sysusers.d/netwatch.conf",
	"/usr/lib/systemd/system-generators/netwatch-generator",
	"/usr/lib/systemd/system/netwatch-file@.service",
	"/usr/lib/systemd/system/netwatch-open.service",
	"/usr/lib/systemd/system/netwatch-reopen.service",
	"/usr/share/bash-completion/completions/netwatch",
	"/usr/share/doc/netwatch/changelog.Debian.gz",
	"/usr/share/doc/netwatch/changelog.gz",
	"/usr/share/doc/netwatch/copyright",
	"/usr/share/doc/netwatch/examples/certbot/netwatch",
	"/usr/share/doc/netwatch/examples/openvpn/client.conf",
	"/usr/share/doc/netwatch/examples/reference.toml",
	"/usr/share/doc/netwatch/examples/yunohost/50-netwatch",
	"/usr/share/fish/vendor_completions.d/netwatch.fish",
	"/usr/share/man/man5/netwatch.toml.5.gz",
	"/usr/share/man/man8/netwatch.8.gz",
	"/usr/share/zsh/vendor-completions/_netwatch",
}

// The packages hold what make install installs and the documents, the program
// of each is static and for its machine, and lintian has nothing to say.
func TestPackages(t *testing.T) {
	packages := makePackages(t, "1.0", "amd64 arm64 armhf")
	installed := t.TempDir()
	makes(t, "make -s install DESTDIR="+installed)
	want := slices.DeleteFunc(append(tree(t, installed), documents...), func(file string) bool {
		return slices.Contains([]string{"LICENSE", "CHANGELOG.md"}, filepath.Base(file)) // In copyright, and changelog.gz
	})
	linked(t, installed+"/usr/share/doc/netwatch")
	for arch, file := range packages {
		t.Run(arch, func(t *testing.T) {
			root := t.TempDir()
			outside(t, "dpkg-deb", "-x", file, root)
			files := tree(t, root)
			for _, path := range want {
				if !slices.Contains(files, path) && !slices.Contains(files, path+".gz") {
					t.Errorf("it has no %s", path)
				}
			}
			linked(t, root+"/usr/share/doc/netwatch")
			forMachine(t, arch, root+"/usr/bin/netwatch")
			allTerms(t, root+"/usr/bin/netwatch", root+"/usr/share/doc/netwatch/copyright")
			if got := outside(t, "dpkg-deb", "--info", file, "conffiles"); got != "/etc/netwatch/netwatch.toml" {
				t.Errorf("the configuration files are %q", got)
			}
			// It exits 0 whatever it finds, when all that is has an override. Bytes of a program
			// happen to be words.
			if found := outside(t, "lintian", "--allow-root", "--display-info", "--pedantic", "--fail-on", "none",
				"--suppress-tags", "spelling-error-in-binary", file); found != "" {
				t.Error(found)
			}
		})
	}
}

// machines are what the program of an architecture is compiled for.
var machines = map[string]struct {
	elf     elf.Machine
	setting debug.BuildSetting
}{
	"amd64": {elf.EM_X86_64, debug.BuildSetting{Key: "GOAMD64", Value: "v1"}},
	"arm64": {elf.EM_AARCH64, debug.BuildSetting{Key: "GOARM64", Value: "v8.0"}},
	"armhf": {elf.EM_ARM, debug.BuildSetting{Key: "GOARM", Value: "6"}},
}

// forMachine looks at a program: what it runs on, and that it needs no other
// file for that.
func forMachine(t *testing.T, arch, program string) {
	t.Helper()
	f, err := elf.Open(program)
	must(t, err)
	defer f.Close()
	if f.Machine != machines[arch].elf {
		t.Errorf("the program is for %s", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has %s", p.Type)
		}
	}
	info, err := buildinfo.ReadFile(program)
	must(t, err)
	if !slices.Contains(info.Settings, machines[arch].setting) {
		t.Errorf("the program is not compiled with %v, but with %v", machines[arch].setting, info.Settings)
	}
}

// allTerms wants the terms of netwatch and of every module in its program in a file.
func allTerms(t *testing.T, program, file string) {
	t.Helper()
	terms, err := os.ReadFile(file)
	must(t, err)
	ours, err := os.ReadFile("../LICENSE")
	must(t, err)
	if !bytes.Contains(terms, ours) {
		t.Error("the terms of netwatch are missing")
	}
	info, err := buildinfo.ReadFile(program)
	must(t, err)
	for _, m := range info.Deps {
		if !bytes.Contains(terms, fmt.Appendf(nil, "\n---- %s %s\n", m.Path, m.Version)) {
			t.Errorf("the terms of %s %s are missing", m.Path, m.Version)
		}
	}
}

// All that a release hands out is the same, whoever builds it, where and when; what is in
// the program is listed, and the sums are right. "make release" looks at every architecture.
func TestReproducible(t *testing.T) {
	arch := outside(t, "dpkg", "--print-architecture")
	dist := filepath.Join(t.TempDir(), "1.0")
	makes(t, "make -s dist VERSION=1.0 ARCHES="+arch+" DIST="+filepath.Dir(dist)+
		" && VERSION=1.0 tools/reproduce "+dist+" "+arch)
	outside(t, "sh", "-ec", "cd "+dist+"; sha256sum -c SHA256SUMS; test $(wc -l <SHA256SUMS) = 4; test -s NOTES.md")
	// The app for YunoHost has the package, and no other.
	outside(t, "sh", "-ec", "cd "+dist+"; tar -xzf netwatch_ynh-1.0.tar.gz; cmp netwatch_*.deb netwatch_ynh/conf/*")
	text, err := os.ReadFile(filepath.Join(dist, "netwatch-1.0-"+arch+".cdx.json"))
	must(t, err)
	var list struct {
		Components []struct{ Name, Version string }
	}
	must(t, json.Unmarshal(text, &list))
	outside(t, "tar", "-xzf", filepath.Join(dist, "netwatch-1.0-"+arch+".tar.gz"), "-C", dist)
	info, err := buildinfo.ReadFile(filepath.Join(dist, "netwatch-1.0-"+arch, "bin/netwatch"))
	must(t, err)
	for _, m := range info.Deps {
		if !slices.Contains(list.Components, struct{ Name, Version string }{m.Path, m.Version}) {
			t.Errorf("it does not list %s %s", m.Path, m.Version)
		}
	}
}
