package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

const (
	// fileName is the file's name in the state directory.
	fileName = "state.json"
	// nextName is where the next text is written. It is the file before last, so
	// that there is room on the disk for it already: to write over that costs one
	// flush, and a new file three.
	nextName = "." + fileName + ".next"
)

// A disk keeps the state in a directory: the file, and the next one, which takes
// its name once it is whole. It is used by one goroutine at a time.
type disk struct {
	dir *os.File // locked
	// sure says that the file is what was written last, or will be: the next one
	// can be told of before it has the name.
	sure bool
	// due says that the next file is to become the file.
	due bool
	// settled says that the names are on disk, so that what is written over is not
	// what a power cut would leave under the name of the file.
	settled bool
	// moved says that the directory is another than at first.
	moved bool
	text  text
}

// openDir opens a state directory, makes it if it is missing, and locks it.
func openDir(dir string) (*os.File, error) {
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
	return d, nil
}

// making is how the state directory is made for who runs now.
func making(dir string, err error) string {
	if errors.Is(err, unix.EROFS) {
		return "if it was removed, " + restarting
	}
	return fmt.Sprintf("install -d -m 700 -o %d -g %d %s", os.Geteuid(), os.Getegid(), netwatch.ShellPath(dir))
}

// restarting is what helps where a directory was removed to which a sandbox led: what
// is made in its place is outside.
const restarting = "systemctl restart netwatch.service, which makes it anew"

// maxFile is beyond any state, in bytes.
const maxFile = 64 << 20

// read is the text of one of the two files; a link is none.
func (d *disk) read(name string) ([]byte, error) {
	file, _, err := netwatch.OpenRegular(d.path(name), unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return netwatch.ReadWhole(file, maxFile)
}

// isNone says that what could not be read is no state.
func isNone(err error) bool {
	return errors.Is(err, netwatch.ErrNotRegular) || errors.Is(err, netwatch.ErrTooLarge)
}

// load reads the file, or sets aside what is damaged or no file.
func (d *disk) load() (s *State, aside string, err error) {
	text, err := d.read(fileName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return empty(), "", nil
	case err != nil && !isNone(err):
		return nil, "", d.unread(fileName, err)
	}
	if s = parse(text); s != nil {
		s, err = d.newer(s)
		return s, "", err
	}
	aside = fmt.Sprintf("%s.damaged-%s", d.path(fileName), time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Rename(d.path(fileName), aside); err != nil {
		return nil, "", fmt.Errorf("setting the damaged state aside: %w", err)
	}
	return empty(), aside, nil
}

// unread is why a file cannot be read.
func (d *disk) unread(name string, err error) error {
	remedy := "chown -h --reference=" + netwatch.ShellPath(d.dir.Name()) + " " + netwatch.ShellPath(d.path(name))
	return netwatch.WithHint(fmt.Errorf("reading the state: %w", err), "let the user that runs netwatch have it: "+remedy)
}

// newer is the next text if a crash kept it from its name, and s otherwise: once
// the disk has it, who waits for it is told so.
func (d *disk) newer(s *State) (*State, error) {
	text, err := d.read(nextName)
	switch {
	case errors.Is(err, fs.ErrNotExist), isNone(err):
		return s, nil
	case err != nil:
		return nil, d.unread(nextName, err)
	}
	next := parse(text)
	if next == nil || next.Sum == "" || s.Sum == "" || next.After != s.Sum {
		return s, nil
	}
	d.due = true
	return next, nil
}

// parse is the state of a text, or nil if it is none or not whole.
func parse(text []byte) *State {
	s := empty()
	if err := json.Unmarshal(text, s); err != nil || s.Version != version || !s.whole() {
		return nil
	}
	if s.Sum != "" && !sealed(text, s.Sum) {
		return nil
	}
	return s
}

// whole says that no part is null, as JSON could make it, and that every
// address is one.
func (s *State) whole() bool {
	for family, a := range s.Addresses {
		if !a.Address.IsValid() || netwatch.FamilyOf(a.Address) != family {
			return false
		}
	}
	// A run of nothing is of a rule that went while it ran.
	maps.DeleteFunc(s.Runs, func(_ string, r Run) bool { return len(r.Events) == 0 })
	return s.Addresses != nil && s.Runs != nil && s.Failures != nil && s.Seen != nil && s.Rewrites != nil && s.Starts != nil
}

// write replaces the file. Once it returns nil, a power cut leaves this state or
// a later one. After an error it may leave this one or the one before, and the
// next write is told of only when it has the name.
func (d *disk) write(s *State) error {
	err := d.reopen()
	if err == nil {
		err = d.put(s)
	}
	if err != nil {
		d.sure = false
		return d.refused(err)
	}
	return nil
}

// put writes a state into the directory as it is now.
func (d *disk) put(s *State) error {
	text, err := d.text.of(s)
	if err == nil {
		err = d.settle()
	}
	if d.due && errors.Is(err, fs.ErrNotExist) { // somebody took it away: it is made anew
		d.due = false
		err = d.settle()
	}
	if err != nil {
		return err
	}
	return d.replace(text)
}

// reopen opens the directory anew if another has its place: what was removed and
// made again heals by itself.
func (d *disk) reopen() error {
	has, err := d.dir.Stat()
	if err != nil {
		return err
	}
	if is, err := os.Stat(d.dir.Name()); err == nil && os.SameFile(has, is) {
		return nil
	}
	dir, err := openDir(d.dir.Name())
	if err != nil {
		return err
	}
	_ = d.dir.Close()
	*d = disk{dir: dir, text: d.text, moved: true}
	return nil
}

// refused is why the state is not on disk, and what helps.
func (d *disk) refused(err error) error {
	dir := netwatch.ShellPath(d.dir.Name())
	hint := fmt.Sprintf("chown %d:%d %s; chmod 700 %[3]s; if that does not help, lsattr -d %[3]s",
		os.Geteuid(), os.Getegid(), dir)
	switch {
	case netwatch.Hint(err) != "":
		hint = netwatch.Hint(err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		hint = fmt.Sprintf("make room there: df -h %s; df -i %[1]s", dir)
	case errors.Is(err, unix.EROFS) && d.moved:
		hint = "it was removed and made anew, outside of the sandbox: " + restarting
	case errors.Is(err, unix.EROFS):
		hint = fmt.Sprintf("mount it writable: mount -o remount,rw \"$(findmnt -no TARGET -T %s)\"", dir)
	case !errors.Is(err, fs.ErrPermission):
		hint = "see that " + dir + " is writable and that its disk is well: journalctl -k"
	}
	return netwatch.WithHint(fmt.Errorf("writing the state: %w", err), hint)
}

// replace gives the file another content, which is safe under the name of the next
// one until settle, if the file is there and nothing was unsure before.
func (d *disk) replace(text []byte) error {
	fd, err := d.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd) // the disk has it
	if err := fill(fd, text); err != nil {
		return err
	}
	d.due, d.settled = true, false
	if !d.sure || unix.Access(d.path(fileName), unix.F_OK) != nil {
		if err := d.settle(); err != nil {
			return err
		}
	}
	d.sure = true
	return nil
}

// open opens the next file, or makes it, also in place of one that is not what it
// should be. It belongs to whom the directory belongs: root, who runs netwatch by
// hand, must not lock out the user netwatch, nor be led by him to another file.
func (d *disk) open() (fd int, err error) {
	var dir, file unix.Stat_t
	if err := unix.Fstat(int(d.dir.Fd()), &dir); err != nil {
		return -1, err
	}
	name := d.path(nextName)
	if fd, err = unix.Open(name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
		if unix.Fstat(fd, &file) == nil && file.Nlink == 1 && (file.Uid == dir.Uid || int(file.Uid) == os.Geteuid()) {
			return fd, nil
		}
		_ = unix.Close(fd)
	}
	d.sure = false // as yet the disk has no name for it
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return -1, err
	}
	if fd, err = unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600); err != nil {
		return -1, &fs.PathError{Op: "making", Path: name, Err: err}
	}
	if int(dir.Uid) != os.Geteuid() {
		_ = unix.Fchown(fd, int(dir.Uid), int(dir.Gid)) // only root can, and only root has to
	}
	return fd, nil
}

// fill gives a file this content and waits until the disk has it.
func fill(fd int, text []byte) error {
	var st unix.Stat_t
	n, err := uninterrupted(func() (int, error) { return unix.Pwrite(fd, text, 0) })
	if err == nil && n < len(text) {
		err = unix.ENOSPC
	}
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err == nil && st.Size != int64(len(text)) {
		err = unix.Ftruncate(fd, int64(len(text)))
	}
	if err == nil {
		_, err = uninterrupted(func() (int, error) { return 0, unix.Fdatasync(fd) })
	}
	return err
}

// uninterrupted makes a system call until no signal ends it, as some file systems
// let those by which Go takes turns.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// settle gives the next file the name of the file, if that is due, and the other
// way round where there is one and the file system can do that, and waits until
// the disk has the names.
func (d *disk) settle() error {
	next, file := d.path(nextName), d.path(fileName)
	if d.due && unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, file, unix.RENAME_EXCHANGE) != nil {
		if err := os.Rename(next, file); err != nil {
			return err
		}
	}
	d.due = false
	if d.settled {
		return nil
	}
	err := d.dir.Sync()
	d.settled = err == nil
	return err
}

func (d *disk) path(name string) string { return filepath.Join(d.dir.Name(), name) }
