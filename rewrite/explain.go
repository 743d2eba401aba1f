package rewrite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
)

// askHelper is the remedy for a process that lacks the rights.
const askHelper = "have netwatch's helper do it: systemctl restart netwatch-file.socket; or run netwatch as root"

// dir is the directory in which the file lies.
func (f *File) dir() string { return filepath.Dir(f.way.Place()) }

// command is a command line by which root does something to the file or its
// directory. Whoever decides where the way leads could lead it elsewhere at that
// moment, so the command is run with his rights. If the file is not his, it is given
// to him first.
func (f *File) command(do, path string) string {
	quoted := netwatch.ShellPath(path)
	leader, err := f.way.Leader()
	if err != nil || leader.UID == 0 || os.Geteuid() != 0 {
		return do + " " + quoted
	}
	as := "runuser -u " + access.NameOf(leader.UID) + " --"
	if _, err := user.LookupId(strconv.Itoa(leader.UID)); err != nil {
		as = fmt.Sprintf("setpriv --reuid=%d --regid=%d --clear-groups", leader.UID, leader.GID)
	}
	if path == f.path && int(f.stat.Uid) != leader.UID {
		as = "chown -h " + access.NameOf(leader.UID) + " " + quoted + " && " + as
	}
	return as + " " + do + " " + quoted
}

// explainRead says what to do when a file cannot be read.
func explainRead(path string, err error) error {
	hint := netwatch.Hint(err)
	switch {
	case hint != "":
	case errors.Is(err, fs.ErrNotExist):
		hint = "name the file that the server is started with"
	case errors.Is(err, unix.ELOOP):
		hint = "make the symlink anew"
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		hint = askHelper
	case errors.Is(err, fs.ErrPermission):
		hint = "what lies behind the directory or symlink of a user is reached with his rights: see namei -l " +
			netwatch.ShellPath(path)
	}
	return hinted(fmt.Errorf("reading %s: %w", path, netwatch.WithoutPath(err)), hint)
}

// explainLock says what to do when the file cannot be locked.
func explainLock(path string, err error) error {
	hint := netwatch.Hint(err)
	if hint == "" && errors.Is(err, context.DeadlineExceeded) {
		hint = "see who else rewrites it: netwatch status, and systemctl list-units 'netwatch-file@*'"
	}
	return hinted(fmt.Errorf("rewriting %s: waiting for another rewrite of it: %w", path, err), hint)
}

// explain says what could not be done with the file, why, and what to do about it.
func (f *File) explain(doing string, err error) error {
	hint := netwatch.Hint(err)
	if hint == "" {
		hint = f.hint(err)
	}
	return hinted(fmt.Errorf("rewriting %s: %s: %w", f.path, doing, err), hint)
}

func hinted(err error, hint string) error {
	if hint == "" {
		return err
	}
	return netwatch.WithHint(err, hint)
}

// hint is what to do about an error.
func (f *File) hint(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "free some space on the file system of " + f.dir()
	case errors.Is(err, unix.EROFS):
		return f.hintReadOnly()
	case errors.Is(err, unix.EBUSY):
		return "it is a bind mount, as of a container that was given this file alone, and cannot be replaced: " +
			"mount its directory " + f.dir() + " instead"
	case errors.Is(err, fs.ErrPermission):
		return f.hintPermission()
	}
	return ""
}

// hintReadOnly is the remedy for a read-only file system. To netwatch's helper all is
// read-only but what was granted.
func (f *File) hintReadOnly() string {
	if place := f.way.Place(); place != f.path {
		return "name " + place + " itself in the rotate step, if netwatch's helper says this: where others than root " +
			"could change a symlink, netwatch grant does not follow it; else mount it for writing"
	}
	return "mount it for writing; if netwatch's helper says this, run netwatch grant, which opens " + f.dir() + " to it"
}

// hintPermission says why this process may not do it, and who may.
func (f *File) hintPermission() string {
	for _, place := range []struct {
		fd   int
		path string
	}{{int(f.old.Fd()), f.way.Place()}, {f.way.Dir(), f.dir()}} {
		if fixed(place.fd) {
			return "take its attribute away by which nothing of it can be changed: chattr -i -a " +
				netwatch.ShellPath(place.path)
		}
	}
	if os.Geteuid() != 0 {
		return askHelper + ": nobody else may replace files in " + f.dir() + " and keep their owner"
	}
	leader, err := f.way.Leader()
	if err != nil || leader.UID == 0 {
		return ""
	}
	return fmt.Sprintf("it is done with the rights of %s, who decides where the way leads: let him write %s",
		access.NameOf(leader.UID), f.dir())
}

// fixed says whether a file or directory has an attribute by which not even root may
// change it (chattr(1), i and a).
func fixed(fd int) bool {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st)
	return err == nil && st.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0
}
