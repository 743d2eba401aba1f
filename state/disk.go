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
	text    text
}

// load reads the file, or sets it aside if it is damaged.
func (d *disk) load() (s *State, aside string, err error) {
	text, err := os.ReadFile(d.path(fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return empty(), "", nil
	}
	if err != nil {
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
	return netwatch.WithHint(fmt.Errorf("reading the state: %w", err), "let the user that runs netwatch have it: chown --reference="+d.dir.Name()+" "+d.path(name))
}

// newer is the next text if a crash kept it from its name, and s otherwise: once
// the disk has it, who waits for it is told so.
func (d *disk) newer(s *State) (*State, error) {
	if info, err := os.Lstat(d.path(nextName)); err != nil || !info.Mode().IsRegular() {
		return s, nil
	}
	text, err := os.ReadFile(d.path(nextName))
	if err != nil {
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
// a later one.
func (d *disk) write(s *State) error {
	text, err := d.text.of(s)
	if err == nil {
		err = d.settle()
	}
	if d.due && errors.Is(err, fs.ErrNotExist) { // somebody took it away: it is made anew
		d.due = false
		err = d.settle()
	}
	if err == nil {
		err = d.replace(text)
	}
	if err != nil {
		return netwatch.WithHint(fmt.Errorf("writing the state: %w", err), "see that "+d.dir.Name()+" is writable and has room")
	}
	return nil
}

// replace gives the file another content, which is safe under the name of the next
// one until settle, if the file is there and nothing was unsure before.
func (d *disk) replace(text []byte) error {
	fd, err := d.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd) // the disk has it
	err = fill(fd, text)
	d.due, d.settled = true, false
	if err == nil && (!d.sure || unix.Access(d.path(fileName), unix.F_OK) != nil) {
		err = d.settle()
	}
	if err != nil && d.due { // what was refused is not to be believed after a crash
		d.due = false
		_, _ = unix.Pwrite(fd, []byte{0}, 0)
	}
	d.sure = err == nil
	return err
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
