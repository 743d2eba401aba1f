package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fill puts files with a text into a directory.
func fill(t *testing.T, dir, text string, names ...string) {
	t.Helper()
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// What others have put beside what is installed stays when it goes, and when a newer one is put
// over it, though it be called alike; what an older netwatch put there does not.
func TestInstallTakesItsOwnAway(t *testing.T) {
	const units = "usr/local/lib/systemd/system/"
	tree, root := t.TempDir(), t.TempDir()
	run := func(line string) string {
		cmd := exec.Command("sh", "-ec", line)
		cmd.Env = append(os.Environ(), "DESTDIR="+root, "PREFIX=/usr/local", "TREE="+tree)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	run("cd ..; cp -R packaging contrib docs README.md README.fr.md LICENSE $TREE")
	fill(t, tree, "#!/bin/sh\n", "bin/netwatch")
	own := []string{
		units + "netwatch-own.service", units + "netwatch.service.d/own.conf", "usr/local/share/man/man8/netwatch-own.8",
	}
	fill(t, root, "[Service]\n", own...)
	for _, script := range []string{"install", "uninstall"} {
		fill(t, root, "Documentation=man:netwatch(8)\n", units+"netwatch-older.service")
		run("$TREE/packaging/" + script)
		if _, err := os.Stat(filepath.Join(root, units+"netwatch-older.service")); err == nil {
			t.Errorf("%s leaves what an older one put there", script)
		}
	}
	left := strings.Fields(run("cd $DESTDIR; find usr -type f | sort"))
	if got, want := strings.Join(left, "\n"), strings.Join(own, "\n"); got != want {
		t.Errorf("it leaves\n%s\nand not\n%s", got, want)
	}
}
