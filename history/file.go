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

// A file has lines appended to it, and is put away when it is full. It is used by one
// goroutine at a time.
type file struct {
	dir, name string
	limit     int64
	// out is where lines go now; nil before the first and after something was wrong.
	out  *os.File
	size int64
	// torn says that the last line may have no end.
	torn bool
	// unsynced says that a power cut could take lines, and fresh that it could take the
	// name of the file.
	unsynced, fresh bool
}

func (f *file) path() string { return filepath.Join(f.dir, f.name) }

// append appends a line, which ends with its end, by one write. After an error it is
// tried anew with the next.
func (f *file) append(line []byte) error {
	err := f.ready(int64(len(line)))
	if err == nil {
		err = f.write(line)
	}
	if err != nil {
		f.close()
	}
	return err
}

func (f *file) write(line []byte) error {
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.out.Write(line)
	f.size += int64(n)
	f.torn, f.unsynced = err != nil, true
	return err
}

// ready makes sure that the file is the one of that name and has room for n bytes more.
func (f *file) ready(n int64) error {
	if !f.there() {
		f.close()
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.size > 0 && f.size+n > f.limit {
		return f.turn()
	}
	return nil
}

// there says whether the open file is still the one of that name: somebody may have
// taken it away.
func (f *file) there() bool {
	var named, open unix.Stat_t
	return f.out != nil && unix.Lstat(f.path(), &named) == nil && unix.Fstat(int(f.out.Fd()), &open) == nil &&
		named.Ino == open.Ino && named.Dev == open.Dev
}

// open opens the file of that name, or makes it.
func (f *file) open() error {
	out, err := os.OpenFile(f.path(), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return f.reopen()
	}
	if err != nil {
		return err
	}
	f.out, f.size, f.torn, f.fresh = out, 0, false, true
	return lend(f.dir, out)
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

// reopen opens the file that is there, if it is ours.
func (f *file) reopen() error {
	there, info, err := netwatch.OpenRegular(f.path(), unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := ours(f.dir, there); err != nil {
		return err
	}
	same := fmt.Sprintf("/proc/self/fd/%d", there.Fd()) // And not what has the name by now
	if f.out, err = os.OpenFile(same, os.O_WRONLY|os.O_APPEND|unix.O_NONBLOCK, 0); err != nil {
		return err
	}
	last := []byte{'\n'}
	if f.size = info.Size(); f.size > 0 {
		_, err = there.ReadAt(last, f.size-1)
	}
	f.torn = last[0] != '\n'
	return err
}

// turn puts the file away as the one before, and begins another.
func (f *file) turn() error {
	if err := f.sync(); err != nil {
		return err
	}
	f.close()
	if err := os.Rename(f.path(), f.path()+beforeSuffix); err != nil {
		return err
	}
	return f.open()
}

// sync has a power cut take nothing of what was appended.
func (f *file) sync() error {
	if f.out == nil || !f.unsynced {
		return nil
	}
	return f.owed()()
}

// owed is what sync does. Others may append meanwhile.
func (f *file) owed() func() error {
	out, fresh := f.out, f.fresh
	f.unsynced, f.fresh = false, false
	return func() error {
		if err := out.Sync(); err != nil || !fresh {
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

func (f *file) close() {
	if f.out != nil {
		_ = f.out.Close() // sync says what could be wrong
	}
	f.out = nil
}

// refused explains why history is not kept, and says what helps.
func (f *file) refused(err error) error {
	path := netwatch.ShellPath(f.path())
	hint := "see that " + netwatch.ShellPath(f.dir) + " is writable and that its disk is well: journalctl -k"
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		hint = fmt.Sprintf("make room there: df -h %s; df -i %[1]s", netwatch.ShellPath(f.dir))
	case errors.Is(err, netwatch.ErrNotRegular), errors.Is(err, errStranger), errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf("take away what is not netwatch's: mv %s %[1]s.away", path)
	}
	return netwatch.WithHint(fmt.Errorf("keeping the history: %s: %w", f.path(), netwatch.WithoutPath(err)), hint)
}
