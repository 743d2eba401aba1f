package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A releasing is a tree as "make release" finds it, with this directory's scripts in it.
type releasing struct {
	t   *testing.T
	dir string
}

// newReleasing makes a tree of one commit that can be released as 1.2.0.
func newReleasing(t *testing.T) releasing {
	t.Helper()
	r := releasing{t, t.TempDir()}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(here, filepath.Join(r.dir, "packaging")); err != nil {
		t.Fatal(err)
	}
	r.sh("git init -q; echo /bin >.gitignore; mkdir bin; " +
		"printf '# Changelog\\n\\n## [1.2.0] - 2027-01-31\\n' >CHANGELOG.md")
	r.sh("git add -A; git commit -qm one; git rev-parse HEAD >bin/tested")
	return r
}

// sh runs a command line in the tree and returns all that it prints.
func (r releasing) sh(line string) (said string) {
	r.t.Helper()
	cmd := exec.Command("sh", "-ec", line)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_CEILING_DIRECTORIES="+filepath.Dir(r.dir))
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// TestRelease holds that what should not be released is refused, with what helps; and
// that a commit of its own name, whose tests were well, is not, also when its tag is
// there already.
func TestRelease(t *testing.T) {
	const again = "git commit -qam two; git rev-parse HEAD >bin/tested"
	for name, c := range map[string]struct{ spoil, says string }{
		"as it should be":  {"", ""},
		"tagged already":   {"git tag v1.2.0", ""},
		"a candidate":      {"sed -i 's/1.2.0/1.2.0-rc1/' CHANGELOG.md; " + again, ""},
		"another's tag":    {"git tag v1.2.0; echo >>CHANGELOG.md; " + again, "already, and this is"},
		"unreleased":       {"sed -i '3i ## [Unreleased]' CHANGELOG.md; " + again, "begins with what is unreleased"},
		"no version":       {"sed -i 's/1.2.0/soon/' CHANGELOG.md; " + again, "soon is no version"},
		"no day":           {"sed -i 's/ - .*//' CHANGELOG.md; " + again, "on what day 1.2.0 was released"},
		"a change":         {"echo >>CHANGELOG.md", "what no commit has"},
		"a file more":      {"echo >file.go", "what no commit has"},
		"a file ignored":   {"echo '.*.swp' >.git/info/exclude; mkdir docs; echo >docs/.a.swp", "git ignores what"},
		"not tested":       {"rm bin/tested", "no tests have passed"},
		"tested is before": {"echo >>CHANGELOG.md; git commit -qam two", "no tests have passed"},
		"no git":           {"rm -rf .git", "no commit to release"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReleasing(t)
			r.sh(c.spoil)
			said := r.sh("packaging/release --check 2>&1 || echo refused")
			refused := strings.HasSuffix(said, "refused\n") && strings.Contains(said, "\nhint: ")
			if refused != (c.says != "") || !strings.Contains(said, c.says) || !refused && said != "" {
				t.Errorf("it says %q, want %q", said, c.says)
			}
		})
	}
}

// Without a version nothing is removed: DIST may be anywhere, and hold other things.
func TestDistWithoutVersion(t *testing.T) {
	r := releasing{t, t.TempDir()}
	r.sh("echo >kept")
	here, err := filepath.Abs("dist")
	if err != nil {
		t.Fatal(err)
	}
	if said := r.sh("DIST=$PWD VERSION= " + here + " 2>&1 && echo done; cat kept"); !strings.Contains(said, "VERSION") {
		t.Errorf("it says %q", said)
	}
}
