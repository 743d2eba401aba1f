//go:build lab

package state

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
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
		if err := d.settle(); err != nil {
			t.Fatal(err)
		}
		has("after the names")
		tear(t, d)
		has("in the middle of the next write")
	}
	s.Accept(event(), []string{"e"})
	if err := d.write(s); err != nil {
		t.Fatal(err)
	}
	again := drive.cut(t) // before the names
	d = openDisk(t, again)
	if _, _, err := d.load(); err != nil {
		t.Fatal(err)
	}
	if err := d.settle(); err != nil {
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

// A text that could not get the name of the file is there after a crash all the
// same, and so is what comes after it once that is told of.
func TestRefusedName(t *testing.T) {
	dir, d, s := settled(t)
	s.Accept(event(), []string{"refused"})
	d.sure = false
	sh(t, "chattr", "+i", d.path(fileName))
	t.Cleanup(func() { sh(t, "chattr", "-i", d.path(fileName)) })
	if err := d.write(s); err == nil {
		t.Fatal("it was not refused")
	}
	killed(t, dir, s)
	s.Accept(event(), []string{"later"})
	if err := d.write(s); err == nil {
		t.Fatal("it was not refused")
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
	file, err := os.OpenFile(d.path(nextName), os.O_WRONLY, 0)
	if os.IsNotExist(err) {
		return
	}
	if err == nil {
		_, err = file.WriteAt([]byte(`{"version":1,"sum":"9`), 0)
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
