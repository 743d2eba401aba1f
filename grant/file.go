package grant

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"netwatch"
)

// A File grants something; without text there is to be none.
type File struct{ Path, Text string }

// Put makes the file as it should be, whole or not at all. What is as it should be
// needs no place that can be written.
func (f File) Put() (netwatch.Outcome, error) {
	if f.stands() {
		return netwatch.Unchanged, nil
	}
	err := f.put()
	switch {
	case errors.Is(err, unix.EROFS):
		err = fmt.Errorf("writing %s: %w", f.Path, unix.EROFS)
		return "", netwatch.WithHint(err, "mount it for writing and run netwatch grant; "+
			"netwatch grant --dry-run shows what belongs there")
	case err != nil:
		return "", err
	}
	return netwatch.Changed, nil
}

// put makes it anew, or removes it.
func (f File) put() error {
	if f.Text == "" {
		return os.Remove(f.Path)
	}
	if err := f.makeDir(); err != nil {
		return err
	}
	return f.write()
}

// makeDir makes the directory if it is not there. Who may read a directory can hold
// up whoever writes to it for as long as he likes (its lock in the kernel), so those
// that are ours are root's alone, who is systemd's reader; polkitd must get through.
func (f File) makeDir() error {
	dir, mode := filepath.Dir(f.Path), fs.FileMode(0o700)
	if f.Path == polkitFile {
		mode = 0o755
	}
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, mode)) //nolint:gosec // Those above are for all.
	}
	return err
}

// write replaces the file. The name of the temporary one begins with a dot, so
// that neither polkitd nor systemd reads it.
func (f File) write() error {
	temporary, err := renameio.NewPendingFile(f.Path,
		renameio.WithTempDir(filepath.Dir(f.Path)), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { _ = temporary.Cleanup() }() // Nothing is left to do once it is in place.
	if _, err := temporary.WriteString(f.Text); err != nil {
		return err
	}
	return temporary.CloseAtomicallyReplace()
}

// stands says that the file is as it should be.
func (f File) stands() bool {
	info, err := os.Lstat(f.Path)
	if f.Text == "" {
		return errors.Is(err, fs.ErrNotExist)
	}
	if err != nil || info.Mode() != 0o644 {
		return false
	}
	text, err := os.ReadFile(f.Path)
	return err == nil && string(text) == f.Text
}
