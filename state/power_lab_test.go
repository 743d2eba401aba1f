//go:build lab

package state

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netwatch"
)

// A drive is a file system on a file: what the file has is what is there when the
// power is cut, and what the kernel alone knows is not.
type drive struct{ image, mount string }

// attach mounts an image.
func attach(t *testing.T, image string) drive {
	t.Helper()
	d := drive{image, t.TempDir()}
	sh(t, "mount", "-o", "loop", d.image, d.mount)
	t.Cleanup(func() { _ = unix.Unmount(d.mount, unix.MNT_DETACH) })
	return d
}

// cut is what is left when the power is cut now, after the next boot.
func (d drive) cut(t *testing.T) (dir string) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "image")
	sh(t, "cp", d.image, copied)
	return attach(t, copied).mount
}

func sh(t *testing.T, words ...string) {
	t.Helper()
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
}

// Wherever the power is cut, what was said to be on disk is there.
func TestPowerCut(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	sh(t, "truncate", "-s", "16M", image)
	sh(t, "mkfs.ext4", "-q", image)
	drive := attach(t, image)
	d := openDisk(t, drive.mount)
	s := empty()
	has := func(when string) {
		t.Helper()
		if diff := cmp.Diff(rulesIn(s), rulesOf(t, drive.cut(t))); diff != "" {
			t.Errorf("cut %s: %s", when, diff)
		}
	}
	for _, rule := range []string{"a", "b", "c", "d"} {
		s.Accept(event(), []string{rule})
		if err := d.write(s); err != nil {
			t.Fatal(err)
		}
		has("after the write of " + rule)
		tear(t, d)
		has("in the middle of the next write")
		lose(t, d)
		has("between its names")
	}
	again := drive.cut(t)
	d = openDisk(t, again)
	if _, _, err := d.load(); err != nil {
		t.Fatal(err)
	}
	tear(t, d)
	if diff := cmp.Diff(rulesIn(s), rulesOf(t, again)); diff != "" {
		t.Errorf("cut twice: %s", diff)
	}
	s.Accept(event(), []string{"f"})
	if err := d.write(s); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rulesIn(s), rulesOf(t, again)); diff != "" {
		t.Errorf("written after a cut: %s", diff)
	}
}

// A state that could not get the name of the newest is said to be at risk, the one
// before it stays, and what is written once it can be is there.
func TestRefusedName(t *testing.T) {
	dir, d, s := written(t)
	was := rulesIn(s)
	sh(t, "chattr", "+i", d.path(fileName))
	t.Cleanup(func() { sh(t, "chattr", "-i", d.path(fileName)) })
	for _, rule := range []string{"refused", "later"} {
		s.Accept(event(), []string{rule})
		if err := d.write(s); err == nil {
			t.Fatal("it was not refused")
		}
		if diff := cmp.Diff(was, rulesOf(t, dir)); diff != "" {
			t.Errorf("killed after a refusal: %s", diff)
		}
	}
	sh(t, "chattr", "-i", d.path(fileName))
	if err := d.write(s); err != nil {
		t.Fatal(err)
	}
	killed(t, dir, s)
}

// tear writes half of a text and has it on disk, as a write that is cut short.
func tear(t *testing.T, d *disk) {
	t.Helper()
	if err := d.create(nextName, []byte(`{"version":1,"sum":"9`)); err != nil {
		t.Fatal(err)
	}
	if err := d.dir.Sync(); err != nil {
		t.Fatal(err)
	}
}

// lose gives the newest a second name in place of the one before, as a write that is
// cut short there.
func lose(t *testing.T, d *disk) {
	t.Helper()
	_ = os.Remove(d.path(beforeName))
	if err := os.Link(d.path(fileName), d.path(beforeName)); err != nil {
		t.Fatal(err)
	}
	if err := d.dir.Sync(); err != nil {
		t.Fatal(err)
	}
}

// On a disk that is full there is room for a state like the one before. A larger one is
// refused, the newest stays, and what could not be written takes none of the room.
func TestFull(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	sh(t, "truncate", "-s", "2M", image)
	sh(t, "mkfs.ext4", "-q", image)
	d := openDisk(t, attach(t, image).mount)
	s := with("a")
	for range 2 {
		if err := d.write(s); err != nil {
			t.Fatal(err)
		}
	}
	filler := d.path("filler")
	sh(t, "sh", "-c", "dd if=/dev/zero of="+filler+" bs=1k 2>/dev/null || true")
	s.Accept(event(), []string{"q"})
	if err := d.write(s); err != nil {
		t.Fatal(err)
	}
	s.Failures["b"] = Failure{Error: strings.Repeat("x", 64<<10)}
	if err := d.write(s); !errors.Is(err, unix.ENOSPC) || !strings.Contains(netwatch.Hint(err), "make room") {
		t.Errorf("it is %v, hint: %s", err, netwatch.Hint(err))
	}
	killed(t, d.dir.Name(), s)
	if _, err := os.Lstat(d.path(nextName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the next is left: %v", err)
	}
	sh(t, "rm", filler)
	s.Accept(event(), []string{"c"})
	if err := d.write(s); err != nil {
		t.Fatal(err)
	}
	killed(t, d.dir.Name(), s)
}
