package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"netwatch"
)

// CheckTrusted says why a program may not be run: a user other than root and our own
// could replace it, a symlink to it, or a directory on the way, and so run programs
// as us.
func CheckTrusted(program string) error {
	w := &Way{Need: Need{File: program}}
	err := w.walk()
	defer w.Close()
	for _, p := range w.places {
		if err := p.trusted(); err != nil {
			return err
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return netwatch.WithHint(fmt.Errorf("%s does not exist", w.Place()), "install it, or correct the step")
	case errors.Is(err, unix.ELOOP):
		return fmt.Errorf("%s leads through too many symlinks", program)
	}
	return err
}

// trusted says which others may write to a place. In a directory with the sticky bit
// nobody can replace what belongs to others. The group's bits of a mode also bound
// the entries of an ACL.
func (p *place) trusted() error {
	kind, mode := p.stat.Mode&unix.S_IFMT, p.stat.Mode
	sticky := kind == unix.S_IFDIR && mode&unix.S_ISVTX != 0
	switch {
	case p.stat.Uid != 0 && int(p.stat.Uid) != os.Geteuid():
		return p.refuse(fmt.Sprintf("user %d owns it", p.stat.Uid), "see what is in it, then chown root ")
	case kind == unix.S_IFLNK || sticky:
		return nil
	case mode&0o002 != 0:
		return p.refuse("everyone may write to it", "chmod o-w ")
	case mode&0o020 != 0 && p.stat.Gid != 0:
		return p.refuse(fmt.Sprintf("group %d may write to it", p.stat.Gid), "chmod g-w ")
	}
	return nil
}

// refuse says why a place is not trusted. remedy is a command, to which it adds the
// path.
func (p *place) refuse(why, remedy string) error {
	return netwatch.WithHint(fmt.Errorf("%s is not safe to run: %s", p.path, why), remedy+netwatch.ShellPath(p.path))
}
