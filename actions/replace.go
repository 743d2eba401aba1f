package actions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
)

const (
	// maxConf is far beyond any configuration of coturn: 1 MiB.
	maxConf = 1 << 20
	// lockPause is how long to wait before the lock is tried again.
	lockPause = 10 * time.Millisecond
)

// errMoved says that somebody else changed the file after it was read.
var errMoved = errors.New("it changed while it was being rewritten")

// An original is a file as it was read.
type original struct {
	*os.File
	path      string // as it was named
	dir, base string // where it lies after all symlinks
	text      []byte
	stat      unix.Stat_t
}

// openOriginal reads a regular file through symlinks.
func openOriginal(path string) (*original, error) {
	place, err := resolve(path)
	if err != nil {
		return nil, explainRead(path, err)
	}
	// O_NONBLOCK, so that a FIFO put there cannot stop us.
	fd, err := unix.Open(place, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, explainRead(path, err)
	}
	o := &original{File: os.NewFile(uintptr(fd), place), path: path, dir: filepath.Dir(place), base: filepath.Base(place)}
	if err := o.read(); err != nil {
		_ = o.Close()
		return nil, explainRead(path, err)
	}
	return o, nil
}

// lease keeps others from writing to the file until it is closed: they wait. It
// is refused while somebody has the file open for writing, who may have written
// half of it (fcntl(2), F_SETLEASE); who had it open before and is done has
// changed it since it was read. Where leases are not to be had, as on some file
// systems or without CAP_LEASE on the file of another user, there is none.
func (o *original) lease() error {
	if _, err := unix.FcntlInt(o.Fd(), unix.F_SETLEASE, unix.F_RDLCK); errors.Is(err, unix.EAGAIN) {
		return errMoved
	}
	return nil
}

// read takes stat and text. An empty file is what a writer leaves for an
// instant who truncates before he writes; replacing it would lose what he
// writes, and coturn without a configuration is an open relay (measured).
func (o *original) read() error {
	if err := unix.Fstat(int(o.Fd()), &o.stat); err != nil {
		return err
	}
	if o.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return netwatch.WithHint(errors.New("it is not a regular file"), "name the configuration of coturn itself")
	}
	text, err := io.ReadAll(io.LimitReader(o, maxConf+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxConf:
		return netwatch.WithHint(errors.New("it is larger than 1 MiB"), "name the configuration of coturn itself")
	case len(text) == 0:
		return netwatch.WithHint(errors.New("it is empty: coturn would start as an open relay"), "restore it from a backup; if it is meant to hold nothing else, write a comment line into it")
	}
	o.text = text
	return nil
}

// explainRead says what to do when a file cannot be read.
func explainRead(path string, err error) error {
	hint := netwatch.Hint(err)
	switch {
	case hint != "":
	case errors.Is(err, fs.ErrNotExist):
		hint = "name the file that coturn is started with (turnserver -c FILE)"
	case errors.Is(err, unix.ELOOP):
		hint = "make the symlink anew"
	case errors.Is(err, fs.ErrPermission):
		hint = "have netwatch's helper do it: systemctl restart netwatch-file.socket; or run netwatch as root"
	}
	var inPath *fs.PathError
	if errors.As(err, &inPath) {
		err = inPath.Err
	}
	err = fmt.Errorf("reading %s: %w", path, err)
	if hint == "" {
		return err
	}
	return netwatch.WithHint(err, hint)
}

// resolve follows all symlinks. A link that is owned neither by root, nor by
// us, nor by the owner of the file is refused: whoever may write the directory
// could have us rewrite files of others.
func resolve(path string) (string, error) {
	var owners []uint32
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return "", err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return path, checkLinks(owners, st.Uid, path)
		}
		owners = append(owners, st.Uid)
		next, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if path = next; !filepath.IsAbs(next) {
			path = filepath.Join(dir, next)
		}
	}
	return "", unix.ELOOP
}

func checkLinks(owners []uint32, owner uint32, path string) error {
	for _, uid := range owners {
		if uid != 0 && uid != owner && int(uid) != os.Geteuid() {
			err := fmt.Errorf("a symlink of user %d leads to %s of user %d", uid, path, owner)
			return netwatch.WithHint(err, "make the link anew as root, or name the file itself")
		}
	}
	return nil
}

// temporary is the name of the file that is written before it takes the
// original's place. It is always the same, so that one left by a crash is
// found and removed; only who holds the lock may touch it.
func (o *original) temporary() string { return "." + o.base + ".netwatch-new" }

// replace puts text in the original's place with the same owner, group, mode
// and extended attributes (ACLs are among them), or changes nothing. It
// returns errMoved if the original is no longer what was read. changing is
// called right before the change.
func (o *original) replace(ctx context.Context, text []byte, changing func(netwatch.Rewrite) error) error {
	dir, err := unix.Open(o.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return o.explain("opening its directory", err)
	}
	defer unix.Close(dir)
	if err := lock(ctx, int(o.Fd())); err != nil {
		return o.explain("waiting for another rewrite of it", err)
	}
	if err := errors.Join(o.current(), o.checkSticky(dir)); err != nil {
		return err
	}
	if err := unix.Unlinkat(dir, o.temporary(), 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return o.explain("removing a left-over "+o.temporary(), err)
	}
	if err := o.write(dir, text); err != nil {
		return errors.Join(err, cleanup(dir, o.temporary()))
	}
	if err := o.swap(dir, text, changing); err != nil {
		return errors.Join(err, cleanup(dir, o.temporary()))
	}
	// The new file is in place: to fail now would say that it is not. Without
	// this sync a power cut may bring back the old one, whole as well.
	_ = unix.Fsync(dir)
	return nil
}

// checkSticky refuses a sticky directory of another when the original is another's
// too: there we could neither rename the new file nor remove it once it is his,
// without a privilege (unlink(2), EPERM) that opening with O_NOATIME takes as well
// (open(2)).
func (o *original) checkSticky(dir int) error {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil || st.Mode&unix.S_ISVTX == 0 || int(st.Uid) == os.Geteuid() {
		return err
	}
	fd, err := unix.Openat(dir, o.base, unix.O_RDONLY|unix.O_NOATIME|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("rewriting %s: its directory is sticky, where only owners may replace a file: %w", o.path, err)
		return netwatch.WithHint(err, "chmod -t "+o.dir+", or move the file to another directory")
	}
	if err != nil {
		return errMoved
	}
	return unix.Close(fd)
}

// cleanup removes the temporary file; there may be none.
func cleanup(dir int, name string) error {
	if err := unix.Unlinkat(dir, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	return nil
}

// lock waits for the original's lock. Only who may read it can take it, which is
// not everybody, as it is with its directory. Who gets it after the file was
// replaced holds the lock of the old one, sees that it is no longer current,
// and begins anew. The kernel drops it with the descriptor, so a crash leaves
// none.
func lock(ctx context.Context, file int) error {
	tick := time.NewTicker(lockPause)
	defer tick.Stop()
	for {
		err := unix.Flock(file, unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// current returns errMoved unless the path still leads to the file as it was
// read; any write, chmod or setfacl changes its ctime.
func (o *original) current() error {
	var st unix.Stat_t
	if err := unix.Stat(o.path, &st); err != nil {
		return errMoved
	}
	was := &o.stat
	if st.Dev != was.Dev || st.Ino != was.Ino || st.Size != was.Size || st.Mtim != was.Mtim || st.Ctim != was.Ctim {
		return errMoved
	}
	return nil
}

// write makes the temporary file, whole and on the disk. Nobody else can open
// it before its owner and mode are right.
func (o *original) write(dir int, text []byte) error {
	fd, err := unix.Openat(dir, o.temporary(), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return o.explain("creating a file beside it", err)
	}
	f := os.NewFile(uintptr(fd), o.temporary())
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return o.explain("writing", err)
	}
	if err := o.dress(fd); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return o.explain("writing", err)
	}
	return o.checkReaders(filepath.Join(o.dir, o.temporary()))
}

// swap renames the temporary file over the original.
func (o *original) swap(dir int, text []byte, changing func(netwatch.Rewrite) error) error {
	if err := o.current(); err != nil {
		return err
	}
	if changing != nil {
		if err := changing(netwatch.Rewrite{Place: filepath.Join(o.dir, o.base), From: netwatch.Fingerprint(o.text), To: netwatch.Fingerprint(text)}); err != nil {
			return fmt.Errorf("rewriting %s: noting that it changes: %w", o.path, err)
		}
	}
	if err := errors.Join(o.lease(), o.current()); err != nil {
		return err
	}
	if err := unix.Renameat(dir, o.temporary(), dir, o.base); err != nil {
		return o.explain("renaming the new file over it", err)
	}
	return nil
}

// dress gives fd the original's owner, group, attributes and mode. The owner
// comes last: until then the file is ours, and no privilege is needed to change
// it but to give it away. The group comes first, while nobody else has any right,
// so that no other group gets the one that is meant for it. The ACL comes before
// the mode: with one the group bits are its mask, and given first they would open
// the file to the whole group for an instant.
func (o *original) dress(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return o.explain("looking at the new file", err)
	}
	if st.Gid != o.stat.Gid {
		if err := unix.Fchown(fd, -1, int(o.stat.Gid)); err != nil {
			return o.explain(fmt.Sprintf("keeping its group %d", o.stat.Gid), err)
		}
	}
	if err := o.copyXattrs(fd); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, o.stat.Mode&0o7777); err != nil {
		return o.explain("keeping its mode", err)
	}
	if st.Uid != o.stat.Uid {
		if err := o.giveAway(fd); err != nil {
			return err
		}
	}
	return o.checkDressed(fd)
}

// giveAway makes the original's owner that of fd. The kernel takes the set-id
// bits away by that (chown(2)); to set them again is to change a file of another.
func (o *original) giveAway(fd int) error {
	if err := unix.Fchown(fd, int(o.stat.Uid), -1); err != nil {
		return o.explain(fmt.Sprintf("keeping its owner %d", o.stat.Uid), err)
	}
	if o.stat.Mode&(unix.S_ISUID|unix.S_ISGID) == 0 {
		return nil
	}
	if err := unix.Fchmod(fd, o.stat.Mode&0o7777); err != nil {
		return o.explain("keeping its mode", err)
	}
	return nil
}

// checkDressed looks whether the file system did what it was told.
func (o *original) checkDressed(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return o.explain("looking at the new file", err)
	}
	old, errOld := xattr(int(o.Fd()), access.Xattr)
	acl, errNew := xattr(fd, access.Xattr)
	if err := errors.Join(errOld, errNew); err != nil {
		return o.explain("comparing its ACL", err)
	}
	if st.Uid != o.stat.Uid || st.Gid != o.stat.Gid || st.Mode != o.stat.Mode || !bytes.Equal(old, acl) {
		return o.explain("keeping its owner, mode and ACL", errors.New("the file system does not keep them"))
	}
	return nil
}

// copyXattrs gives fd the extended attributes of the original and takes away
// an ACL that it has from the directory's default.
func (o *original) copyXattrs(fd int) error {
	names, err := xattrs(int(o.Fd()))
	if err != nil {
		return o.explain("reading its extended attributes", err)
	}
	for _, name := range names {
		want, err := xattr(int(o.Fd()), name)
		if err != nil {
			return o.explain("reading its extended attribute "+name, err)
		}
		// One that is right is left alone: a security label needs a privilege.
		if have, err := xattr(fd, name); err == nil && have != nil && bytes.Equal(have, want) {
			continue
		}
		if err := unix.Fsetxattr(fd, name, want, 0); err != nil {
			return o.explain("keeping its extended attribute "+name, err)
		}
	}
	if slices.Contains(names, access.Xattr) {
		return nil
	}
	if err := unix.Fremovexattr(fd, access.Xattr); err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return o.explain("keeping the directory's default ACL away", err)
	}
	return nil
}

// xattrs are the names of all extended attributes but those that the kernel
// computes over the content (IMA and EVM).
func xattrs(fd int) ([]string, error) {
	size, err := unix.Flistxattr(fd, nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(fd, list); err != nil {
		return nil, err
	}
	names := strings.FieldsFunc(string(list[:size]), func(r rune) bool { return r == 0 })
	return slices.DeleteFunc(names, func(n string) bool { return n == "security.ima" || n == "security.evm" }), nil
}

// xattr is the value of an extended attribute, nil if there is none.
func xattr(fd int, name string) ([]byte, error) {
	size, err := unix.Fgetxattr(fd, name, nil)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value := make([]byte, size)
	if size == 0 {
		return value, nil
	}
	size, err = unix.Fgetxattr(fd, name, value)
	return value[:max(size, 0)], err
}

// explain says what could not be done with the file and what to do about it.
func (o *original) explain(doing string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		hint = "free some space on the file system of " + o.dir
	case errors.Is(err, unix.EROFS):
		hint = "mount it for writing; if netwatch's helper says this, run netwatch grant, which opens " + o.dir + " to it"
	case errors.Is(err, unix.EBUSY):
		hint = "it is a bind mount, which cannot be replaced: mount its directory instead"
	case errors.Is(err, context.DeadlineExceeded):
		hint = "see what else netwatch does there: `netwatch status`, and `fuser -v " + o.path + "`"
	case errors.Is(err, fs.ErrPermission):
		hint = "have netwatch's helper do it: systemctl restart netwatch-file.socket; or run netwatch as root: nobody else may replace files in " + o.dir + " and keep their owner"
	}
	err = fmt.Errorf("rewriting %s: %s: %w", o.path, doing, err)
	if hint == "" {
		return err
	}
	return netwatch.WithHint(err, hint)
}
