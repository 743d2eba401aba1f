package history

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
)

// A file has lines appended to it, and is put away when it is full. It is open only
// meanwhile, so that nobody who mounts its disk anew has to wait for netwatch, and who
// takes it away has done so. It is used by one goroutine at a time.
type file struct {
	dir, name string
	limit     int64
	// unsynced says that a power cut could take lines, and fresh that it could take the
	// name of the file.
	unsynced, fresh bool
}

func (f *file) path() string { return filepath.Join(f.dir, f.name) }

// append appends a line, which ends with its end, by one write.
func (f *file) append(line []byte) error {
	out, size, err := f.open()
	if err == nil && size > 0 && size+int64(len(line)) > f.limit {
		err = f.turn(out)
		_ = out.Close() // It is safe by turn
		if err == nil {
			out, size, err = f.open()
		}
	}
	if err != nil {
		return err
	}
	defer out.Close() // What is wrong with the disk, making it safe says
	if err := roomy(out); err != nil {
		return err
	}
	if torn(out, size) {
		line = append([]byte{'\n'}, line...)
	}
	f.unsynced = true
	_, err = out.Write(line)
	return err
}

// torn says whether the last line of a file has no end.
func torn(file *os.File, size int64) bool {
	last := []byte{'\n'}
	if size > 0 {
		_, _ = file.ReadAt(last, size-1) // What cannot be read cannot be written to either
	}
	return last[0] != '\n'
}

// spared is how much room is left on the disk, for the state: that must never be lost.
const spared = 32 << 10

// roomy says why there is not enough room on the disk of a file.
func roomy(file *os.File) error {
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &disk); err != nil {
		return err
	}
	if free := disk.Bavail * uint64(max(1, disk.Bsize)); free < spared {
		return unix.ENOSPC
	}
	return nil
}

// open opens the file, or makes it, and says how large it is. What is not ours it does
// not open: to open a device may do something.
func (f *file) open() (*os.File, int64, error) {
	there, info, err := netwatch.OpenRegular(f.path(), unix.O_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return f.make()
	}
	if err != nil {
		return nil, 0, err
	}
	defer there.Close()
	if err := ours(f.dir, there); err != nil {
		return nil, 0, err
	}
	same := fmt.Sprintf("/proc/self/fd/%d", there.Fd()) // And not what has the name by now
	out, err := os.OpenFile(same, os.O_RDWR|os.O_APPEND|unix.O_NONBLOCK, 0)
	return out, info.Size(), err
}

// make makes the file.
func (f *file) make() (*os.File, int64, error) {
	out, err := os.OpenFile(f.path(), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, 0, err
	}
	f.fresh = true
	if err := lend(f.dir, out); err != nil {
		_ = out.Close()
		return nil, 0, err
	}
	return out, 0, nil
}

// lend gives a new file to the owner of its directory: root, who runs netwatch by hand,
// must not lock out the user netwatch. Its group may read it if it is the one that may
// ask the daemon for what is in it.
func lend(dir string, file *os.File) error {
	var owner, is unix.Stat_t
	if err := unix.Stat(dir, &owner); err != nil {
		return err
	}
	if int(owner.Uid) != os.Geteuid() {
		_ = file.Chown(int(owner.Uid), int(owner.Gid)) // Only root can, and only root has to
	}
	if err := unix.Fstat(int(file.Fd()), &is); err != nil || int(is.Gid) != access.GroupID() {
		return err
	}
	return file.Chmod(0o640)
}

// turn puts the file away as the one before.
func (f *file) turn(out *os.File) error {
	if err := out.Sync(); err != nil {
		return err
	}
	return os.Rename(f.path(), f.path()+beforeSuffix)
}

// owed has a power cut take nothing of what was appended. Others may append meanwhile.
func (f *file) owed() func() error {
	fresh := f.fresh
	f.unsynced, f.fresh = false, false
	return func() error {
		file, _, err := netwatch.OpenRegular(f.path(), unix.O_NOFOLLOW)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // It was taken away
		}
		if err != nil {
			return err
		}
		defer file.Close()
		if err := file.Sync(); err != nil || !fresh {
			return err
		}
		dir, err := os.Open(f.dir)
		if err != nil {
			return err
		}
		defer dir.Close()
		return dir.Sync()
	}
}

// end is up to where the file has everything.
func (f *file) end() Position {
	var is unix.Stat_t
	if err := unix.Lstat(f.path(), &is); err != nil {
		return Position{}
	}
	return Position{is.Ino, is.Size}
}

// refused explains why history is not kept, and says what helps.
func (f *file) refused(err error) error {
	path := netwatch.ShellPath(f.path())
	dir := netwatch.ShellPath(f.dir)
	hint := "see that " + dir + " is writable and that its disk is well: journalctl -k"
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		hint = fmt.Sprintf("make room there: df -h %s; df -i %[1]s", dir)
	case errors.Is(err, netwatch.ErrNotRegular), errors.Is(err, errStranger):
		hint = fmt.Sprintf("take away what is not netwatch's: mv %s %[1]s.away", path)
	case errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf("chown %d:%d %s; chmod 710 %[3]s; if that does not help, lsattr %[3]s",
			os.Geteuid(), os.Getegid(), dir)
	case errors.Is(err, fs.ErrNotExist):
		hint = "if it was removed, " + netwatch.Restarting("netwatch.service") + ", which makes it anew"
	}
	return netwatch.WithHint(fmt.Errorf("%s: %w", f.path(), netwatch.WithoutPath(err)), hint)
}
