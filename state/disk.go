package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// The names in the state directory.
const (
	// fileName is the newest state.
	fileName = "state.json"
	// beforeName is the state before it, which is taken if the newest is damaged.
	beforeName = fileName + ".before"
	// nextName is a state while it is written. It becomes the newest when the disk
	// has all of it.
	nextName = "." + fileName + ".next"
)

// A disk keeps the state in a directory. It is used by one goroutine at a time.
type disk struct {
	dir Directory // locked
	// moved says that the directory is another than at first.
	moved bool
}

// maxFile is beyond any state, in bytes.
const maxFile = 64 << 20

// errDamaged is a file that holds no state.
var errDamaged = errors.New("it is damaged")

// read reads the state from one of the files. What is no regular file, as a link,
// counts as damaged.
func (d *disk) read(name string) (*State, error) {
	text, err := d.dir.Read(name)
	if err != nil {
		return nil, d.unread(name, err)
	}
	s := decode(text)
	if s == nil {
		return nil, errDamaged
	}
	return s, nil
}

// unread says why a file cannot be read.
func (d *disk) unread(name string, err error) error {
	if errors.Is(err, netwatch.ErrNotRegular) || errors.Is(err, netwatch.ErrTooLarge) {
		return errDamaged
	}
	remedy := "chown -h --reference=" + netwatch.ShellPath(d.dir.Name()) + " " + netwatch.ShellPath(d.path(name))
	return netwatch.WithHint(fmt.Errorf("reading the state: %w", err), "let the user that runs netwatch have it: "+remedy)
}

// holdsNone says whether an error of read means that the file holds no state.
func holdsNone(err error) bool {
	return errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist)
}

// load reads the newest state, or the one before if that is damaged or missing, or
// begins with an empty one. It sets a damaged one aside; damage says so.
func (d *disk) load() (s *State, damage, err error) {
	s, newest := d.read(fileName)
	if !holdsNone(newest) {
		return s, nil, newest
	}
	from := "goes on from the one before"
	s, err = d.read(beforeName)
	if holdsNone(err) {
		from, s, err = "begins from the present", empty(), nil
	}
	if err == nil && errors.Is(newest, errDamaged) {
		damage, err = d.setAside(from)
	}
	return s, damage, err
}

// setAside gives the damaged newest state a name under which netwatch does not read
// it, and returns a sentence about that as damage. from says what netwatch does
// instead.
func (d *disk) setAside(from string) (damage, err error) {
	aside := fileName + ".damaged-" + time.Now().UTC().Format("20060102T150405.000")
	if err := d.dir.Rename(fileName, aside); err != nil {
		return nil, fmt.Errorf("setting the damaged state aside: %w", err)
	}
	return fmt.Errorf("reading the state: it was damaged; it is kept as %s, and netwatch %s", d.path(aside), from), nil
}

// write makes s the newest state. Once it has returned nil, neither a kill nor a
// power cut undoes that. After an error the newest is s or the one before.
func (d *disk) write(s *State) error {
	text, err := encode(s)
	if err == nil {
		err = d.reopen()
	}
	if err == nil {
		err = d.replace(text)
	}
	if err != nil {
		return d.refused(err)
	}
	return nil
}

// reopen opens the directory anew if another one has taken its place, so that
// netwatch goes on when somebody has removed the directory and made it again.
func (d *disk) reopen() error {
	dir, err := d.dir.Renewed()
	if err != nil || dir == nil {
		return err
	}
	_ = d.dir.Close()
	*d = disk{dir: dir, moved: true}
	return nil
}

// refused explains why the state is not on disk, and says what helps.
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
		hint = "it was removed and made anew, outside of the sandbox: " + restarting()
	case errors.Is(err, unix.EROFS):
		hint = fmt.Sprintf("mount it writable: mount -o remount,rw \"$(findmnt -no TARGET -T %s)\"", dir)
	case !errors.Is(err, fs.ErrPermission):
		hint = "see that " + dir + " is writable and that its disk is well: journalctl -k"
	}
	return netwatch.WithHint(fmt.Errorf("writing the state: %w", err), hint)
}

// replace writes a text beside the newest state, keeps that as the one before, and
// puts the text in its place. At each moment the newest is there and whole.
func (d *disk) replace(text []byte) error {
	_ = d.dir.Remove(beforeName) // Its room is what the text needs if the disk is full
	if err := d.create(nextName, text); err != nil {
		_ = d.dir.Remove(nextName) // It may take the last room
		return err
	}
	_ = d.dir.Link(fileName, beforeName) // If the newest cannot be kept, there is none before
	if err := d.dir.Rename(nextName, fileName); err != nil {
		return err
	}
	return d.dir.Sync() // So that a power cut does not take the new name back
}

// create makes a file, in place of one that a crash may have left, and waits until
// the disk has all of it.
func (d *disk) create(name string, text []byte) error {
	if err := d.dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := d.dir.Create(name)
	if err != nil {
		return err
	}
	defer file.Close() // Sync has said all that could be wrong
	if _, err := file.Write(text); err != nil {
		return err
	}
	return file.Sync()
}

func (d *disk) path(name string) string { return filepath.Join(d.dir.Name(), name) }
