package rewrite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netwatch"
)

// The locks are in a directory where nobody else can write; one that is anything else is
// not used.
func TestLocks(t *testing.T) {
	want := lockDir
	if uid := os.Geteuid(); uid != 0 {
		want = filepath.Join(os.TempDir(), fmt.Sprintf("netwatch-lock-%d", uid))
	}
	if dir, err := locks(); dir != want || err != nil {
		t.Errorf("it is %s, %v", dir, err)
	}
	dir := filepath.Join(t.TempDir(), "locks")
	for range 2 {
		if err := own(dir); err != nil {
			t.Error(err)
		}
	}
	for name, err := range map[string]error{
		"link": os.Symlink(dir, dir+"link"), "file": os.WriteFile(dir+"file", nil, 0o600),
		"open": errors.Join(os.Mkdir(dir+"open", 0o700), os.Chmod(dir+"open", 0o770)),
	} {
		if err != nil {
			t.Fatal(err)
		}
		if err := own(dir + name); err == nil || !strings.Contains(err.Error(), "of ours alone") ||
			netwatch.Hint(err) != "remove it" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := own(dir + "file/in"); err == nil || strings.Contains(err.Error(), "of ours alone") {
		t.Errorf("of one that cannot be made it says %v", err)
	}
	if err := own(dir + "none/in"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of one in none it says %v", err)
	}
}
