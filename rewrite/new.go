package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
)

// A fresh is the new file, which is to take the place of the old one.
type fresh struct {
	*os.File
	of *File
	// linked says that it has the temporary name.
	linked bool
}

// temporary is the name that the new file has for an instant before it takes the
// place of the old one. On file systems that make no file without a name, it has it
// while it is written. The name is always the same, so that a file that a crash left
// is found and removed.
func (f *File) temporary() string { return "." + f.way.Base() + ".netwatch-new" }

// create makes an empty file in the directory of the old one, with the rights of
// whoever leads the way there. It has no name (open(2), O_TMPFILE): the owner of the
// directory could open it otherwise, and go on writing when the file is no longer
// his.
func (f *File) create() (*fresh, error) {
	fd, linked := 0, false
	err := f.way.Do(func() (err error) {
		if err := unix.Unlinkat(f.way.Dir(), f.temporary(), 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return f.leftOver(err)
		}
		fd, err = unix.Openat(f.way.Dir(), ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) {
			fd, err = f.createNamed()
			linked = true
		}
		return err
	})
	if err != nil {
		return nil, f.explain("creating a file beside it", err)
	}
	return &fresh{os.NewFile(uintptr(fd), f.temporary()), f, linked}, nil
}

// createNamed makes the file where the file system makes none without a name, as that
// of containers before Linux 6.3.
func (f *File) createNamed() (int, error) {
	leader, _ := f.way.Leader() // There is one: check has seen to it
	if leader.UID != 0 && leader.UID != int(f.stat.Uid) {
		err := errors.New("its file system makes no files without a name, and its directory and the file are of two users")
		return 0, netwatch.WithHint(err, "chown -h "+access.NameOf(leader.UID)+" "+netwatch.ShellPath(f.path))
	}
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	return unix.Openat(f.way.Dir(), f.temporary(), flags, 0o600)
}

// leftOver explains why something that has the temporary name cannot be removed.
func (f *File) leftOver(err error) error {
	err = fmt.Errorf("removing a left-over %s: %w", f.temporary(), err)
	if errors.Is(err, unix.EISDIR) {
		return netwatch.WithHint(err, f.command("rm -r", filepath.Join(f.dir(), f.temporary())))
	}
	return err
}

// close closes the file. If it has no name, it is gone by that.
func (n *fresh) close() {
	_ = n.Close()
	if n.linked {
		_ = n.of.way.Do(func() error { return unix.Unlinkat(n.of.way.Dir(), n.of.temporary(), 0) })
	}
}

// fill gives the file its content and everything that the old one has beside its own,
// and waits until the disk has it.
func (n *fresh) fill(text []byte) error {
	if _, err := n.Write(text); err != nil {
		return n.of.explain("writing", err)
	}
	if err := n.dress(); err != nil {
		return err
	}
	if err := n.Sync(); err != nil {
		return n.of.explain("writing", err)
	}
	return nil
}

// dress gives the file the attributes, access list, mode, group and owner of the old
// one. Until its owner changes, it belongs to whoever leads the way, and to change it
// takes no privilege. The attributes come first: after the access list and the mode
// he may not be allowed to write it. The list comes before the mode, whose group bits
// are the mask of the list.
func (n *fresh) dress() error {
	fd, was := int(n.Fd()), &n.of.stat
	err := n.of.way.Do(func() error {
		if err := n.copyXattrs(); err != nil {
			return err
		}
		if err := unix.Fchmod(fd, was.Mode&0o7777); err != nil {
			return n.of.explain("keeping its mode", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return n.of.explain("looking at the new file", err)
	}
	if st.Uid != was.Uid || st.Gid != was.Gid {
		if err := unix.Fchown(fd, int(was.Uid), int(was.Gid)); err != nil {
			return n.of.explain(fmt.Sprintf("keeping its owner %d and group %d", was.Uid, was.Gid), err)
		}
	}
	return n.check()
}

// check looks whether the file system did as it was told.
func (n *fresh) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(n.Fd()), &st); err != nil {
		return n.of.explain("looking at the new file", err)
	}
	list, err := xattr(int(n.Fd()), access.Xattr)
	if err != nil {
		return n.of.explain("comparing its ACL", err)
	}
	same := bytes.Equal(list, valueOf(n.of.attributes, access.Xattr))
	if was := &n.of.stat; st.Uid != was.Uid || st.Gid != was.Gid || st.Mode != was.Mode || !same {
		return n.of.explain("keeping its owner, mode and ACL", errors.New("the file system does not keep them"))
	}
	return nil
}

// place puts the file in the old one's place.
func (n *fresh) place() error {
	f := n.of
	if err := n.link(); err != nil {
		return f.explain("giving the new file a name", err)
	}
	err := f.way.Do(func() error {
		err := unix.Renameat(f.way.Dir(), f.temporary(), f.way.Dir(), f.way.Base())
		if err == nil {
			f.sync()
		}
		return err
	})
	if err != nil {
		return f.explain("renaming the new file over it", err)
	}
	n.linked = false
	return nil
}

// link gives the file the temporary name. By now it may belong to another user than
// the one who does this; then the kernel wants a privilege (proc_sys_fs(5),
// protected_hardlinks).
func (n *fresh) link() error {
	if n.linked {
		return nil
	}
	var keeping []uint
	if leader, _ := n.of.way.Leader(); leader.UID != int(n.of.stat.Uid) {
		keeping = append(keeping, unix.CAP_FOWNER)
	}
	err := n.of.way.Do(func() error {
		self := fmt.Sprintf("/proc/self/fd/%d", n.Fd())
		return unix.Linkat(unix.AT_FDCWD, self, n.of.way.Dir(), n.of.temporary(), unix.AT_SYMLINK_FOLLOW)
	}, keeping...)
	if errors.Is(err, unix.EEXIST) {
		return ErrMoved // Somebody made one meanwhile.
	}
	n.linked = err == nil
	return err
}

// sync waits until the disk has the names in the directory of the file. Without it a
// power cut may bring back the old file, whole too. It returns no error: the new file
// is in place, and an error would say that it is not.
func (f *File) sync() {
	if fd, err := unix.Openat(f.way.Dir(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		_ = unix.Fsync(fd)
		_ = unix.Close(fd)
	}
}

// copyXattrs gives the file the extended attributes of the old one, and takes away
// an access list that it has from the directory's default.
func (n *fresh) copyXattrs() error {
	fd := int(n.Fd())
	for _, a := range n.of.attributes {
		// One that is right is left alone: a security label needs a privilege.
		if have, err := xattr(fd, a.name); err == nil && have != nil && bytes.Equal(have, a.value) {
			continue
		}
		if err := unix.Fsetxattr(fd, a.name, a.value, 0); err != nil {
			return n.of.explain("keeping its extended attribute "+a.name, err)
		}
	}
	if valueOf(n.of.attributes, access.Xattr) != nil {
		return nil
	}
	err := unix.Fremovexattr(fd, access.Xattr)
	if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return n.of.explain("keeping the directory's default ACL away", err)
	}
	return nil
}
