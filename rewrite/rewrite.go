// Package rewrite gives a file another content. Whoever opens the file finds the old
// content or the new one, whole; owner, group, mode, access list, extended
// attributes, and symlinks to it stay as they are. It knows nothing of what the
// content means.
//
// Whoever decides where the way to a file leads could lead it to files of others. So
// everything on that way is done with his rights (access.Way). Root's own rights
// serve only to read the old file and to give the new one the owner and group of the
// old, both on descriptors.
package rewrite

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
)

// maxSize is the size of the largest file that is read: 1 MiB, far more than any
// configuration has.
const maxSize = 1 << 20

// ErrMoved says that somebody else changed the file after it was read. The caller may
// open it anew.
var ErrMoved = errors.New("it changed while it was being rewritten")

// A File is a file as it was read.
type File struct {
	// Text is its content.
	Text []byte

	path string
	way  *access.Way
	old  *os.File
	stat unix.Stat_t
	// attributes are the extended ones, in the order in which they are given.
	attributes []attribute
}

// Open reads a regular file of at most 1 MiB, through symlinks. Its errors have a
// remedy. If there is none, the caller closes the File.
func Open(path string) (*File, error) {
	w, err := access.Walk(path)
	if err != nil {
		return nil, explainRead(path, err)
	}
	f := &File{path: path, way: w}
	if err := f.read(); err != nil {
		f.Close()
		return nil, explainRead(path, err)
	}
	return f, nil
}

// Close lets go of the file.
func (f *File) Close() {
	if f.old != nil {
		_ = f.old.Close()
	}
	f.way.Close()
}

// read takes stat and text.
func (f *File) read() (err error) {
	if st := f.way.Stat(); st.Mode&unix.S_IFMT != unix.S_IFREG {
		return netwatch.WithHint(errors.New("it is not a regular file"), "name the configuration itself")
	}
	if err := f.mayWrite(); err != nil {
		return err
	}
	if f.old, err = f.way.AsOwner(f.readAll); err != nil {
		return err
	}
	if len(f.Text) > maxSize {
		return netwatch.WithHint(errors.New("it is larger than 1 MiB"), "name the configuration itself")
	}
	return nil
}

// readAll reads everything that is to be kept or changed.
func (f *File) readAll(old *os.File) (err error) {
	if err := unix.Fstat(int(old.Fd()), &f.stat); err != nil {
		return err
	}
	if f.attributes, err = attributesOf(old); err != nil {
		return fmt.Errorf("reading its extended attributes: %w", err)
	}
	f.Text, err = io.ReadAll(io.LimitReader(old, maxSize+1))
	return err
}

// mayWrite refuses to have root read the file for the user who leads the way to it, if
// he may not replace it himself. A file system that is read-only is no reason to
// refuse.
func (f *File) mayWrite() error {
	leader, err := f.way.Leader()
	if os.Geteuid() != 0 {
		return nil // It is read with one's own rights, and Replace says what is wrong.
	}
	if err != nil || leader.UID == 0 {
		return err
	}
	err = f.way.Do(func() error {
		return unix.Faccessat2(f.way.Dir(), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	})
	if errors.Is(err, unix.EROFS) { // Which the kernel says before it looks whose it is
		err = f.way.CheckWriteDir(leader)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("user %s decides where the way to it leads, and may not write the directory %s: %w",
		access.NameOf(leader.UID), f.dir(), err)
	return netwatch.WithHint(err, "have each directory and symlink on the way (namei -l "+netwatch.ShellPath(f.path)+
		") belong to root, "+
		"or name the file itself")
}

// Replace puts a file with this text in place of the file, or changes nothing. The
// readers are users who have to be able to read it. If the file is no longer as it
// was read, the error is ErrMoved. changing, if it is not nil, is called right before
// the change; if it returns an error, the file stays.
func (f *File) Replace(text []byte, readers []access.Reader, changing func(netwatch.Replacement) error) error {
	if err := f.check(); err != nil {
		return err
	}
	n, err := f.create()
	if err != nil {
		return err
	}
	defer n.close()
	if err := n.fill(text); err != nil {
		return err
	}
	if err := f.checkReaders(n.File, readers); err != nil {
		return err
	}
	if changing != nil {
		w := netwatch.Replacement{Place: f.way.Place(), From: netwatch.Fingerprint(f.Text), To: netwatch.Fingerprint(text)}
		if err := changing(w); err != nil {
			return fmt.Errorf("rewriting %s: noting that it changes: %w", f.path, err)
		}
	}
	if err := errors.Join(f.lease(), f.current()); err != nil {
		return err
	}
	return n.place()
}

// check says why a new file cannot stand for the old one: the old one has several
// names or a set-id bit, or this user may not replace it.
func (f *File) check() error {
	leader, err := f.way.Leader()
	switch {
	case err != nil:
		return f.explain("finding out whose place it is", err)
	case leader.UID != 0 && os.Geteuid() != 0 && leader.UID != os.Geteuid():
		err := fmt.Errorf("user %s decides where the way to it leads: %w", access.NameOf(leader.UID), unix.EPERM)
		return f.explain("finding out whose place it is", err)
	case f.stat.Nlink > 1:
		err := fmt.Errorf("it has %d names (hard links), and the others would keep the old content", f.stat.Nlink)
		return f.explain("looking at it", netwatch.WithHint(err, "remove the others: find / -xdev -samefile "+
			netwatch.ShellPath(f.path)))
	case f.stat.Mode&(unix.S_ISUID|unix.S_ISGID) != 0:
		err := errors.New("it has a set-user-id or set-group-id bit, which means nothing on it")
		return f.explain("looking at it", netwatch.WithHint(err, f.command("chmod u-s,g-s", f.path)))
	}
	return f.checkSticky(leader)
}

// checkSticky refuses a file that belongs to somebody else in a sticky directory of
// somebody else: only their owners may replace it (unlink(2), EPERM).
func (f *File) checkSticky(leader access.User) error {
	var dir unix.Stat_t
	if err := unix.Fstat(f.way.Dir(), &dir); err != nil {
		return f.explain("looking at its directory", err)
	}
	us := uint32(os.Geteuid()) //nolint:gosec // It is one.
	if us == 0 {
		us = uint32(leader.UID) //nolint:gosec // It was one.
	}
	if dir.Mode&unix.S_ISVTX == 0 || us == 0 || dir.Uid == us || f.stat.Uid == us {
		return nil
	}
	err := fmt.Errorf("its directory is sticky, where only owners may replace a file: %w", unix.EPERM)
	err = netwatch.WithHint(err, f.command("chmod -t", f.dir())+", or move the file to another directory")
	return f.explain("looking at its directory", err)
}

// current returns ErrMoved unless the path still leads to the file as it was read.
// Any write, chmod or setfacl changes its ctime.
func (f *File) current() error {
	w, err := access.Walk(f.path)
	if err != nil {
		return ErrMoved
	}
	defer w.Close()
	is, was := w.Stat(), &f.stat
	if !w.Same(f.way) || is.Size != was.Size || is.Mtim != was.Mtim || is.Ctim != was.Ctim {
		return ErrMoved
	}
	return nil
}

// lease makes everybody wait who wants to write to the file, until it is closed. It
// is refused while somebody has the file open for writing, since he may have written
// half of it (fcntl(2), F_SETLEASE). Who had it open before and is done has changed
// it since it was read. Some file systems have no leases, and a file of another user
// needs CAP_LEASE: there nobody waits.
func (f *File) lease() error {
	if _, err := unix.FcntlInt(f.old.Fd(), unix.F_SETLEASE, unix.F_RDLCK); errors.Is(err, unix.EAGAIN) {
		return ErrMoved
	}
	return nil
}

// Unreadable says that somebody could not read the new file who has to.
type Unreadable struct{ access.Reader }

// Error names him.
func (u Unreadable) Error() string {
	return fmt.Sprintf("%s (user %s) cannot read it", u.Unit, u.User)
}

// checkReaders refuses a new file that a reader could not read. If that cannot be
// found out, the file is not refused: owner, mode and ACL are as before.
func (f *File) checkReaders(n *os.File, readers []access.Reader) error {
	for _, r := range readers {
		u, err := r.Lookup()
		if err != nil || u.UID == 0 || !errors.Is(f.way.CheckReadAs(u, n), unix.EACCES) {
			continue
		}
		hint := f.command("setfacl -m u:"+r.User+":r", f.path) + " && " + f.command("setfacl -m u:"+r.User+":x", f.dir())
		return fmt.Errorf("rewriting %s: %w", f.path, netwatch.WithHint(Unreadable{r}, hint))
	}
	return nil
}
