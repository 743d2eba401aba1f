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

// maxPlaces is how many places a way may lead over: more than any that a person
// makes, and far fewer than 40 symlinks can name.
const maxPlaces = 100

// A Need is a file that a user has to read.
type Need struct {
	// File is an absolute path; it need not be there.
	File string
	// Watch says that the user also has to notice when another file takes its place.
	// For that he has to read the directories that hold its name or a symlink to it
	// (inotify(7)).
	Watch bool
}

// A Way is how the kernel gets to a file: the directories in which it looks for a
// name, and the file itself, unless that does not exist.
type Way struct {
	Need
	places []*place
	// dir is the directory in which the last name, base, was looked for.
	dir  *place
	base string
	// end is the file that the way leads to; nil if it does not exist.
	end     *place
	leaders leaders
	links   int
	// byRoot says that the way is to end where somebody else than root leads it.
	byRoot bool
	// user is the one with whose rights the way is gone, from the first place on that
	// somebody else than root decides over; nil is this process's own rights.
	user *User
}

// Walk goes the way to a file, which must exist. Where somebody else than root
// decides where the way leads, it goes on with the rights of the first such user. It
// holds what it found by descriptors, so that nobody can put something else in its
// place.
func Walk(file string) (*Way, error) {
	w, err := walk(Need{File: file})
	if err == nil && w.end == nil {
		w.Close()
		err = unix.ENOENT
	}
	return w, err
}

// ByRoot goes the way to a file as far as nobody but root decides where it leads, so
// that nobody else can hold it up. It returns the directory that it gets to, after
// all symlinks, and whether that is the directory of the file. A name that does not
// exist is an error.
func ByRoot(file string) (dir string, whole bool, err error) {
	w := &Way{Need: Need{File: file}, byRoot: true}
	defer w.Close()
	if err = w.walk(); err != nil && !errors.Is(err, errNotRoot) {
		return dir, whole, err
	}
	return w.dir.path, err == nil, nil
}

// walk goes the way of a need, as far as that exists.
func walk(n Need) (*Way, error) {
	w := &Way{Need: n}
	if err := w.walk(); err != nil && !errors.Is(err, unix.ENOENT) {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *Way) walk() error {
	dir, err := w.root()
	left := names(w.File)
	for err == nil && len(left) > 0 {
		dir, left, err = w.step(dir, left)
	}
	if err == nil && w.dir == nil { // It is /
		err = unix.EISDIR
	}
	if err == nil {
		w.end = dir
	}
	return err
}

// names are the parts of a path.
func names(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}

// Close lets go of all places.
func (w *Way) Close() {
	for _, p := range w.places {
		_ = p.Close()
	}
}

// Do calls f with the rights with which the way was gone; keeping is as in User.Do.
func (w *Way) Do(f func() error, keeping ...uint) error {
	if w.user == nil {
		return f()
	}
	return w.user.Do(f, keeping...)
}

// open opens a place just to hold it. dir is nil for the root directory.
func (w *Way) open(dir *place, name, path string) (*place, error) {
	switch {
	case len(w.places) == maxPlaces:
		return nil, unix.ELOOP
	case len(path) >= unix.PathMax:
		return nil, unix.ENAMETOOLONG
	}
	at, fd := unix.AT_FDCWD, 0
	if dir != nil {
		at = int(dir.Fd())
	}
	err := w.Do(func() (err error) {
		fd, err = unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, w.explain(dir, err)
	}
	p := &place{File: os.NewFile(uintptr(fd), path), path: path, leaders: w.leaders}
	w.places = append(w.places, p)
	return p, unix.Fstat(fd, &p.stat)
}

// explain says whose rights did not suffice.
func (w *Way) explain(dir *place, err error) error {
	if w.user == nil || !errors.Is(err, unix.EACCES) {
		return err
	}
	err = fmt.Errorf("user %d decides where the way leads, and may not look into %s: %w", w.user.UID, dir.path, err)
	return netwatch.WithHint(err, byHand)
}

func (w *Way) root() (*place, error) { return w.open(nil, "/", "/") }

// step looks for the first of the names that are left. It returns the directory and
// the names to go on with.
func (w *Way) step(dir *place, left []string) (*place, []string, error) {
	name, left := left[0], left[1:]
	dir.need |= maySearch
	if name == ".." {
		up, err := w.open(dir, name, filepath.Dir(dir.path))
		return up, left, err
	}
	w.dir, w.base = dir, name
	if err := w.lead(dir); err != nil {
		return nil, nil, err
	}
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

// errNotRoot ends the walk of ByRoot.
var errNotRoot = errors.New("others than root decide where the way leads")

// lead notes who decides, by a directory or symlink, where the way leads, and goes on
// with his rights. A process that is not root's can go only with its own.
func (w *Way) lead(p *place) error {
	var l list
	if p.stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		var err error
		if l, err = p.list(); err != nil {
			return err
		}
	}
	w.leaders = w.leaders.through(&p.stat, l)
	if w.byRoot && w.leaders != (leaders{}) {
		return errNotRoot
	}
	if w.leaders.uid == 0 || w.user != nil || os.Geteuid() != 0 {
		return nil
	}
	u, err := lookupID(w.leaders.uid)
	w.user = &u
	return err
}

// follow goes where a symlink leads.
func (w *Way) follow(dir, link *place, left []string) (*place, []string, error) {
	if w.links++; w.links > netwatch.MaxSymlinks {
		return nil, nil, unix.ELOOP
	}
	if err := w.lead(link); err != nil {
		return nil, nil, err
	}
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

// Dir is a descriptor of the directory that the file lies in, after all symlinks.
func (w *Way) Dir() int { return int(w.dir.Fd()) }

// Base is the file's name in its directory.
func (w *Way) Base() string { return w.base }

// Place is where the file lies, after all symlinks.
func (w *Way) Place() string { return filepath.Join(w.dir.path, w.base) }

// Stat is the file as the way has found it.
func (w *Way) Stat() unix.Stat_t { return w.end.stat }

// Same says whether another way leads to the same file in the same directory.
func (w *Way) Same(o *Way) bool {
	same := func(a, b *place) bool { return a.stat.Dev == b.stat.Dev && a.stat.Ino == b.stat.Ino }
	return w.base == o.base && same(w.dir, o.dir) && same(w.end, o.end)
}

// AsOwner opens the file for reading and calls f with it, both with the rights of its
// owner: he may read it if anybody may. The caller closes the file, not f.
func (w *Way) AsOwner(f func(*os.File) error) (*os.File, error) {
	var file *os.File
	owner := User{UID: int(w.end.stat.Uid), GID: nobody}
	if os.Geteuid() != 0 {
		owner.UID = os.Geteuid()
	}
	err := owner.Do(func() error {
		fd, err := unix.Open(w.end.proc(), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), w.Place())
		return f(file)
	})
	return file, err
}

// Leader is the one user beside root who decides where the way leads, or root if
// there is none. If there are several, that is an error.
func (w *Way) Leader() (User, error) {
	switch {
	case w.leaders.others:
		err := errors.New("several users decide where the way to it leads, and whose rights count cannot be said")
		return User{}, netwatch.WithHint(err, "see namei -l "+netwatch.ShellPath(w.File)+
			": have each directory and symlink there belong to root, "+
			"or to one user, and be written by nobody else; or name the file itself")
	case w.user != nil:
		return *w.user, nil
	}
	return lookupID(w.leaders.uid)
}

// CheckRead returns nil if a user can go the way and read the file, EACCES if he
// cannot, or why that cannot be found out. It reckons by acl(5), and does not try.
func (w *Way) CheckRead(u User) error { return w.CheckReadAs(u, w.end.File) }

// CheckReadAs is CheckRead with the file f in place of the one that is there.
func (w *Way) CheckReadAs(u User, f *os.File) error {
	for _, p := range w.places {
		need := p.need
		if need == 0 {
			continue
		}
		if p == w.end {
			p = &place{File: f}
		}
		l, err := p.list()
		if err != nil {
			return err
		}
		if !u.permitted(l, &p.stat, need) {
			return unix.EACCES
		}
	}
	return nil
}

// CheckWriteDir says, as CheckRead does, whether a user may put another file in place
// of this one.
func (w *Way) CheckWriteDir(u User) error {
	l, err := w.dir.list()
	if err == nil && !u.permitted(l, &w.dir.stat, mayWrite|maySearch) {
		err = unix.EACCES
	}
	return err
}

// LedByRoot says whether nobody but root decides where the way to the file's
// directory leads.
func (w *Way) LedByRoot() bool { return w.dir.leaders == leaders{} }
