package access

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"netwatch"
)

// maxLinks is how many symlinks the kernel follows on one path
// (path_resolution(7)).
const maxLinks = 40

// A Need is a file that a user has to read.
type Need struct {
	// File is an absolute path; it need not be there.
	File string
	// Watch says that he also has to notice when it becomes another file, for
	// which he reads the directories that have its name or a symlink to it
	// (inotify(7)).
	Watch bool
}

// A place is a file or directory on the way to a file, held by a descriptor so
// that nobody can put another in its stead meanwhile.
type place struct {
	*os.File
	// path is its own, without symlinks.
	path string
	stat unix.Stat_t
	// need are the permissions that the way takes.
	need perm
	// hand is who could have led the way to another place.
	hand hand
}

// A hand is who decides where a way leads: nobody but root, a user as well, or
// several.
type hand struct {
	uid    uint32
	others bool
}

// over is the hand once the way leads over a directory or symlink.
func (h hand) over(st *unix.Stat_t) hand {
	shared := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Uid == 0 && st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0
	if h.uid == 0 {
		h.uid = st.Uid
	}
	h.others = h.others || shared || st.Uid != 0 && st.Uid != h.uid
	return h
}

// A way is how the kernel goes to a file: the directories in which it looks for a
// name, and the file, unless that is not there.
type way struct {
	Need
	places []*place
	// end is the last of them if it is what the way is to.
	end   *place
	hand  hand
	links int
}

// walk goes the way of a need. Whoever may change it, what was found stays what
// is looked at.
func walk(n Need) (*way, error) {
	w := &way{Need: n}
	dir, err := w.root()
	left := names(n.File)
	for err == nil && len(left) > 0 {
		dir, left, err = w.step(dir, left)
	}
	switch {
	case err == nil:
		w.end = dir
	case !errors.Is(err, unix.ENOENT):
		w.close()
		return nil, err
	}
	return w, nil
}

// names are the names that a path is made of.
func names(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

func (w *way) close() {
	for _, p := range w.places {
		_ = p.Close()
	}
}

// open holds a place. dir is nil for the root directory.
func (w *way) open(dir *place, name, path string) (*place, error) {
	at := unix.AT_FDCWD
	if dir != nil {
		at = int(dir.Fd())
	}
	fd, err := unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	p := &place{File: os.NewFile(uintptr(fd), path), path: path, hand: w.hand}
	w.places = append(w.places, p)
	return p, unix.Fstat(fd, &p.stat)
}

func (w *way) root() (*place, error) { return w.open(nil, "/", "/") }

// step looks for the first of the names that are left, and returns where to look
// for the next ones.
func (w *way) step(dir *place, left []string) (*place, []string, error) {
	name, left := left[0], left[1:]
	if name == ".." {
		up, err := w.open(dir, name, filepath.Dir(dir.path))
		return up, left, err
	}
	dir.need |= maySearch
	w.hand = w.hand.over(&dir.stat)
	p, err := w.open(dir, name, filepath.Join(dir.path, name))
	link := err == nil && p.stat.Mode&unix.S_IFMT == unix.S_IFLNK
	if w.Watch && (err != nil || link || len(left) == 0) {
		dir.need |= mayRead
	}
	switch {
	case err != nil:
		return nil, nil, err
	case link:
		return w.follow(dir, p, left)
	case len(left) > 0 && p.stat.Mode&unix.S_IFMT != unix.S_IFDIR:
		return nil, nil, unix.ENOTDIR
	case len(left) == 0:
		p.need |= mayRead
	}
	return p, left, nil
}

// follow goes where a symlink leads.
func (w *way) follow(dir, link *place, left []string) (*place, []string, error) {
	if w.links++; w.links > maxLinks {
		return nil, nil, unix.ELOOP
	}
	w.hand = w.hand.over(&link.stat)
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(link.Fd()), "", target)
	if err != nil {
		return nil, nil, err
	}
	if filepath.IsAbs(string(target[:n])) {
		dir, err = w.root()
	}
	return dir, append(names(string(target[:n])), left...), err
}

// check says why a place must not be opened although the way needs it: somebody
// who may not open it himself could have led the way there.
func (p *place) check() error {
	if p.hand == (hand{}) || p.hand == (hand{uid: p.stat.Uid}) {
		return nil
	}
	err := fmt.Errorf("it belongs to user %d, and others than he and root decide that the way leads there", p.stat.Uid)
	return netwatch.WithHint(err, "have the directories and symlinks on the way belong to root or to the owner of the file, or open it by hand with setfacl(1)")
}

// proc is a name of the place itself: a descriptor that only holds it has no
// attributes (open(2), O_PATH).
func (p *place) proc() string { return fmt.Sprintf("/proc/self/fd/%d", p.Fd()) }

// list is the list that the place has now.
func (p *place) list() (list, error) {
	if err := unix.Fstat(int(p.Fd()), &p.stat); err != nil {
		return nil, err
	}
	return listOf(p.proc(), p.stat.Mode)
}

// set gives the place another list.
func (p *place) set(l list) error {
	err := unix.Setxattr(p.proc(), Xattr, l.value(), 0)
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return netwatch.WithHint(errors.New("its file system has no ACLs"), "mount it with them, or let a group that the user is in read it: chgrp and chmod g+r, for a directory g+rx")
	case errors.Is(err, unix.EROFS):
		return netwatch.WithHint(err, "mount it for writing")
	}
	return err
}
