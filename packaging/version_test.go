package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// versionOf is what the script says of a directory with such a changelog.
func versionOf(t *testing.T, dir, changelog string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte(changelog), 0o644); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("version")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "error: " + string(out)
	}
	return strings.TrimSpace(string(out))
}

// TestVersion holds that the newest heading of the changelog is the version, with
// git and without, and that what is not released is not called by a release's name.
func TestVersion(t *testing.T) {
	const text = "# Changelog\n\nWords.\n\n"
	for changelog, want := range map[string]string{
		text + "## [1.2.0] - 2027-01-31\n\n### Added\n\n## [1.1.9] - 2027-01-30\n":       "1.2.0",
		text + "## [Unreleased]\n\n- A word.\n\n## [1.2.0-rc1] - 2027-01-31\n## [1.1.9]": "1.2.0-rc1-dev",
		text + "## [Unreleased]\n": "0.0.0-dev",
	} {
		if got := versionOf(t, t.TempDir(), changelog); got != want {
			t.Errorf("%s\nis called %s, not %s", changelog, got, want)
		}
	}
	if got := versionOf(t, t.TempDir(), text); !strings.Contains(got, "has no heading") {
		t.Errorf("without a heading: %s", got)
	}
}

// TestVersionOfACommit holds that a build between releases says of which commit.
func TestVersionOfACommit(t *testing.T) {
	dir := t.TempDir()
	git := func(words ...string) string {
		who := []string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"}
		cmd := exec.Command("git", append(who, words...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", words, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	const released = "## [1.2.0] - 2027-01-31\n"
	git("init", "-q")
	versionOf(t, dir, "## [Unreleased]\n"+released)
	git("add", ".")
	git("commit", "-qm", "one")
	git("tag", "v0.9.0") // The changelog is what counts.
	want := "1.2.0-dev-" + git("rev-parse", "--short", "HEAD")
	if got := versionOf(t, dir, "## [Unreleased]\n"+released); got != want {
		t.Errorf("it is called %s, not %s", got, want)
	}
	if got := versionOf(t, dir, "## [Unreleased]\n\n- A word.\n"+released); got != want+"-dirty" {
		t.Errorf("with a change it is called %s, not %s-dirty", got, want)
	}
	if got := versionOf(t, dir, released); got != "1.2.0" {
		t.Errorf("as a release it is called %s", got)
	}
}

// TestChangelog holds that the changelog of this tree has a version.
func TestChangelog(t *testing.T) {
	text, err := os.ReadFile("../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := versionOf(t, t.TempDir(), string(text)); strings.HasPrefix(got, "error") {
		t.Error(got)
	}
}
