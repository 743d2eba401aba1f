package access

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"netwatch"
)

// As many symlinks are followed as the kernel follows, and no more.
func TestWalkOfManySymlinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/0", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range netwatch.MaxSymlinks + 1 {
		if err := os.Symlink(fmt.Sprint(i), fmt.Sprintf("%s/%d", dir, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for links, want := range map[int]error{netwatch.MaxSymlinks: nil, netwatch.MaxSymlinks + 1: unix.ELOOP} {
		path := fmt.Sprintf("%s/%d", dir, links)
		w, err := Walk(path)
		if err == nil {
			w.Close()
		}
		_, kernel := os.Stat(path)
		if !errors.Is(err, want) || !errors.Is(kernel, want) {
			t.Errorf("over %d it says %v, and the kernel %v", links, err, kernel)
		}
	}
}

// A path is as long as the kernel takes one, and no longer.
func TestWalkOfALongPath(t *testing.T) {
	dir := t.TempDir()
	path := dir
	t.Chdir(dir)
	in := func(name string) {
		t.Helper()
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chdir(name); err != nil { // By its name alone, since the path is soon too long.
			t.Fatal(err)
		}
		path += "/" + name
	}
	for len(path) < unix.PathMax-200 {
		in(strings.Repeat("d", 100))
	}
	for length, want := range map[int]error{unix.PathMax - 1: nil, unix.PathMax: unix.ENAMETOOLONG} {
		name := strings.Repeat("f", length-len(path)-1)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := Walk(path + "/" + name)
		if err == nil {
			w.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("of %d bytes it says %v", length, err)
		}
	}
}

// What cannot be walked leaves nothing open.
func TestWalkInVain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	count := func() int {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(open)
	}
	before := count()
	for path, want := range map[string]error{file + "s": unix.ENOENT, file + "/in": unix.ENOTDIR} {
		if _, err := Walk(path); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
		if _, whole, err := ByRoot(path); whole || os.Geteuid() == 0 && !errors.Is(err, want) {
			t.Errorf("%s, as far as root leads: %v %v", path, whole, err)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors are open, and before %d", after, before)
	}
}

// Where root alone leads the way is known, and who else leads it, as by a directory of his.
func TestByRoot(t *testing.T) {
	others := t.TempDir() // Ours, unless we are root
	if err := os.Chown(others, max(os.Geteuid(), 1), -1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(others+"/in", 0o755), os.WriteFile(others+"/in/file", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{"/etc/passwd": true, others + "/in/file": false} {
		dir, whole, err := ByRoot(file)
		if whole != want || err != nil || whole && dir != "/etc" {
			t.Errorf("%s: %s %v %v", file, dir, whole, err)
		}
		w, err := Walk(file)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if w.LedByRoot() != want {
			t.Errorf("root alone leads to %s: %v", file, !want)
		}
		if root, him := w.CheckWriteDir(User{}), w.CheckWriteDir(him); root != nil || !errors.Is(him, unix.EACCES) {
			t.Errorf("beside %s root may write: %v; another: %v", file, root, him)
		}
	}
}
