package netwatch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	_ "netwatch/lab/drawn" // Alike in every run
)

// TestHops wants that the way ends where the kernel ends it, and that whatever
// change makes the path lead to something else is a change of one of the hops.
func TestHops(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		top, err := os.MkdirTemp("", "hops")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(top)
		root, err := filepath.EvalSymlinks(top)
		if err == nil {
			root += "/1/2/3/4/5/6" // Symlinks with ".." lead no farther out
			err = os.MkdirAll(root, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 12).Draw(t, "entries") {
			disturb(t, root)
		}
		path := root + "/" + relative(t)
		seen := map[Hop]bool{}
		end, _, err := Hops("/", path, func(h Hop) error {
			seen[h] = true
			return nil
		})
		want, wantErr := filepath.EvalSymlinks(path)
		if (err == nil) != (wantErr == nil) || err == nil && end != want {
			t.Fatalf("%s leads to %s, %v; to the kernel to %s, %v", path, end, err, want, wantErr)
		}
		before := leadsTo(path)
		changed := disturb(t, root)
		if after := leadsTo(path); after != before && !seen[changed] {
			t.Fatalf("%s was %q, and %q after a change of %v; the hops are %v", path, before, after, changed, seen)
		}
	})
}

// leadsTo is what there is to see by a path.
func leadsTo(path string) string {
	text, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if statErr == nil && info.IsDir() {
		return "a directory"
	}
	return fmt.Sprintf("%s %v", text, err)
}

// disturb puts a file, a directory, a symlink or nothing at a random place below
// root that can have one, and says where.
func disturb(t *rapid.T, root string) Hop {
	dir := root
	for range rapid.IntRange(0, 2).Draw(t, "depth") {
		below := dir + "/" + name(t)
		if info, err := os.Lstat(below); err == nil && info.IsDir() {
			dir = below
		}
	}
	h := Hop{dir, name(t)}
	at := h.Path()
	if err := os.RemoveAll(at); err != nil {
		t.Fatal(err)
	}
	var err error
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		err = os.WriteFile(at, []byte(rapid.StringN(1, 3, -1).Draw(t, "text")), 0o600)
	case 1, 2:
		err = os.Mkdir(at, 0o700)
	case 3:
		err = os.Symlink(relative(t), at)
	case 4:
		err = os.Symlink(root+"/"+relative(t), at)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func name(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name") }

// relative is a path of a few names, some of them "..". It is only ever read.
func relative(t *rapid.T) string {
	names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "a", "b", "c", "..", "."}), 1, 4).Draw(t, "names")
	return strings.Join(names, "/")
}

// More hops than the kernel takes are a mistake to it, and to us.
func TestSymlinkLoop(t *testing.T) {
	dir := t.TempDir()
	for i := range MaxSymlinks + 1 {
		if err := os.Symlink(fmt.Sprint(i+1), fmt.Sprintf("%s/%d", dir, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, MaxSymlinks+1), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for first, want := range map[int]error{0: unix.ELOOP, 1: nil} {
		path := fmt.Sprintf("%s/%d", dir, first)
		_, _, err := Hops("/", path, func(Hop) error { return nil })
		_, kernel := os.Stat(path)
		// Where it has to begin a walk anew, the kernel counts on, and finds too many links
		// for once (seen in one of some hundred runs beside others).
		for tries := 0; tries < 100 && !errors.Is(kernel, want); tries++ {
			_, kernel = os.Stat(path)
		}
		if !errors.Is(err, want) || !errors.Is(kernel, want) {
			t.Errorf("from %d: %v, of the kernel %v", first, err, kernel)
		}
	}
}
