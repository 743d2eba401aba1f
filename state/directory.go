package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"netwatch"
)

// A Directory is that of the state: what is done to files there, one thing at a time, by
// their names in it. It is the kernel's unless the machine is a simulated one.
type Directory interface {
	// Name is its path.
	Name() string
	// Renewed is the directory that has taken its place, opened and locked, or nil.
	Renewed() (Directory, error)
	// Read reads a regular file.
	Read(name string) ([]byte, error)
	// Create makes a file that is not there.
	Create(name string) (File, error)
	// Remove removes a file.
	Remove(name string) error
	// Link gives a file a second name, where there is none of that.
	Link(from, to string) error
	// Rename gives a file another name, in place of what has that.
	Rename(from, to string) error
	// Sync waits until the disk has all names.
	Sync() error
	// Close unlocks it.
	Close() error
}

// A File is one that is written.
type File interface {
	io.WriteCloser
	// Sync waits until the disk has all of it.
	Sync() error
}

// A directory is one of the kernel's, locked.
type directory struct{ *os.File }

// openDir opens a state directory, makes it if it is missing, and locks it.
func openDir(dir string) (Directory, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, netwatch.WithHint(fmt.Errorf("making the state directory: %w", err), making(dir, err))
	}
	d, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, netwatch.WithHint(fmt.Errorf("opening the state directory: %w", err),
			"run netwatch as the user that owns "+dir+", or name another directory as daemon.state")
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = d.Close()
		return nil, netwatch.WithHint(fmt.Errorf("locking the state directory %s: another netwatch runs on it", dir),
			"stop the other one, or give this one a state directory of its own")
	}
	return directory{d}, nil
}

// making is the hint how to make the state directory, for the user who runs netwatch.
func making(dir string, err error) string {
	if errors.Is(err, unix.EROFS) {
		return "if it was removed, " + restarting()
	}
	return fmt.Sprintf("install -d -m 700 -o %d -g %d %s", os.Geteuid(), os.Getegid(), netwatch.ShellPath(dir))
}

// restarting is the remedy where the state directory of a unit was removed: what
// somebody makes in its place lies outside of the sandbox of the unit.
func restarting() string { return netwatch.Restarting("netwatch.service") + ", which makes it anew" }

// Renewed opens the directory anew if another one has its path.
func (d directory) Renewed() (Directory, error) {
	has, err := d.Stat()
	if err != nil {
		return nil, err
	}
	if is, err := os.Stat(d.Name()); err == nil && os.SameFile(has, is) {
		return nil, nil
	}
	return openDir(d.Name())
}

// Read reads a file. It follows no symlink.
func (d directory) Read(name string) ([]byte, error) {
	file, _, err := netwatch.OpenRegular(d.path(name), unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return netwatch.ReadWhole(file, maxFile)
}

// Create makes a file. It follows no symlink: root may run netwatch by hand in the
// directory of another user.
func (d directory) Create(name string) (File, error) {
	file, err := os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := d.chown(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// chown gives a file to the owner of the directory: root, who runs netwatch by hand,
// must not lock out the user netwatch.
func (d directory) chown(file *os.File) error {
	var dir unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &dir); err != nil {
		return err
	}
	if int(dir.Uid) != os.Geteuid() {
		_ = file.Chown(int(dir.Uid), int(dir.Gid)) // Only root can, and only root has to
	}
	return nil
}

// Remove removes a file.
func (d directory) Remove(name string) error { return os.Remove(d.path(name)) }

// Link gives a file a second name.
func (d directory) Link(from, to string) error { return os.Link(d.path(from), d.path(to)) }

// Rename gives a file another name.
func (d directory) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d directory) path(name string) string { return filepath.Join(d.Name(), name) }
