//go:build lab

package lab

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// makePackages has make build the Debian packages of a version, and returns
// their files by architecture.
func makePackages(t *testing.T, version, arches, umask string) map[string]string {
	t.Helper()
	dist := t.TempDir()
	makes(t, "umask "+umask+"; exec make -s deb VERSION="+version+" DIST="+dist+" ARCHES='"+arches+"'")
	packages := map[string]string{}
	for _, arch := range strings.Fields(arches) {
		packages[arch] = filepath.Join(dist, "netwatch_"+version+"-1_"+arch+".deb")
	}
	return packages
}

// makes runs a command line in the source tree.
func makes(t *testing.T, line string) {
	t.Helper()
	cmd := command(t.Context(), "sh", "-c", line)
	cmd.Dir = ".."
	cmd.Env = os.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
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
	"/usr/lib/systemd/system/netwatch-file@.service",
	"/usr/lib/systemd/system/netwatch-open.service",
	"/usr/share/bash-completion/completions/netwatch",
	"/usr/share/doc/netwatch/changelog.Debian.gz",
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
	packages := makePackages(t, "1.0", "amd64 arm64 armhf", "022")
	installed := t.TempDir()
	makes(t, "make -s install DESTDIR="+installed)
	want := append(tree(t, installed), documents...)
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
			forMachine(t, arch, root+"/usr/bin/netwatch")
			allTerms(t, root)
			if got := outside(t, "dpkg-deb", "--info", file, "conffiles"); got != "/etc/netwatch/netwatch.toml" {
				t.Errorf("the configuration files are %q", got)
			}
			// It exits 0 whatever it finds, when all that is has an override.
			if found := outside(t, "lintian", "--allow-root", "--display-info", "--pedantic", "--fail-on", "none", file); found != "" {
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

// allTerms wants the terms of netwatch and of every module in its program.
func allTerms(t *testing.T, root string) {
	t.Helper()
	terms, err := os.ReadFile(root + "/usr/share/doc/netwatch/copyright")
	must(t, err)
	ours, err := os.ReadFile("../LICENSE")
	must(t, err)
	if !bytes.Contains(terms, ours) {
		t.Error("the terms of netwatch are missing")
	}
	info, err := buildinfo.ReadFile(root + "/usr/bin/netwatch")
	must(t, err)
	for _, m := range info.Deps {
		if !bytes.Contains(terms, fmt.Appendf(nil, "\n---- %s %s\n", m.Path, m.Version)) {
			t.Errorf("the terms of %s %s are missing", m.Path, m.Version)
		}
	}
}

// Two builds of one commit are the same file, whatever the directory and the
// umask.
func TestReproducible(t *testing.T) {
	one, other := makePackages(t, "1.0", "amd64", "022"), makePackages(t, "1.0", "amd64", "077")
	a, err := os.ReadFile(one["amd64"])
	must(t, err)
	b, err := os.ReadFile(other["amd64"])
	must(t, err)
	if !bytes.Equal(a, b) {
		t.Errorf("%s and %s are not the same", one["amd64"], other["amd64"])
	}
}
