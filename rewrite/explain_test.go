package rewrite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is read-only is told with the name that can be opened, where a symlink leads to it.
func TestReadOnlyOverALink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "mount it for writing; if netwatch's helper says this, run netwatch grant, which opens " + dir + " to it",
		link: "name " + file + " itself in the rotate step, if netwatch's helper says this",
	} {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if hint := f.hint(unix.EROFS); !strings.HasPrefix(hint, want) {
			t.Errorf("%s: %s", path, hint)
		}
		f.Close()
	}
}
