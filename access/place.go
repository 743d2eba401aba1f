package access

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"netwatch"
)

// A place is a file or directory on the way to a file, held by a descriptor so
// that nobody can put another in its stead meanwhile.
type place struct {
	*os.File
	// path is its own, without symlinks.
	path string
	stat unix.Stat_t
	// need are the permissions that one needs here to go the way.
	need perm
	// leaders are those who could have led the way elsewhere, up to here.
	leaders leaders
}

// leaders are those, beside root, who decide where a way leads. The zero value is
// nobody.
type leaders struct {
	// uid is the first of them, or root.
	uid uint32
	// others says that there are more.
	others bool
}

// and adds a user to the leaders.
func (h leaders) and(uid uint32) leaders {
	if h.uid == 0 {
		h.uid = uid
	}
	h.others = h.others || uid != 0 && uid != h.uid
	return h
}

// through adds those who can lead a way elsewhere that passes a directory or symlink:
// its owner, and, if it is a directory of root's, everybody else who may write to it.
// Of a sticky directory it adds only the owner: others cannot replace there what is
// not theirs.
func (h leaders) through(st *unix.Stat_t, l list) leaders {
	if st.Uid != 0 || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&unix.S_ISVTX != 0 {
		return h.and(st.Uid)
	}
	for _, e := range l.writers() {
		switch {
		case e.tag == userEntry:
			h = h.and(e.id)
		case e.tag == groupEntry && st.Gid == 0, e.tag == namedGroup && e.id == 0:
		default:
			h.others = true
		}
	}
	return h
}

// byHand is the remedy where somebody leads the way to what is not his.
const byHand = "have the directories and symlinks on the way belong to root or to the owner of the file, " +
	"or open it by hand with setfacl(1)"

// check says why a place must not be opened to the user although he needs it:
// somebody who may not open it himself could have led the way there.
func (p *place) check() error {
	if p.leaders == (leaders{}) || p.leaders == (leaders{uid: p.stat.Uid}) {
		return nil
	}
	err := fmt.Errorf("it belongs to user %d, and others than he and root decide that the way leads there", p.stat.Uid)
	return netwatch.WithHint(err, byHand)
}

// proc is a path of the place itself, for calls that take no descriptor that only
// holds it (open(2), O_PATH).
func (p *place) proc() string { return fmt.Sprintf("/proc/self/fd/%d", p.Fd()) }

// list reads the access list of the place.
func (p *place) list() (list, error) {
	if err := unix.Fstat(int(p.Fd()), &p.stat); err != nil {
		return nil, err
	}
	return listOf(p.proc(), p.stat.Mode)
}

// set gives the place another access list.
func (p *place) set(l list) error {
	err := unix.Setxattr(p.proc(), Xattr, l.value(), 0)
	switch {
	case errors.Is(err, unix.ENOTSUP):
		return netwatch.WithHint(errors.New("its file system has no ACLs"),
			"mount it with them, or let a group that the user is in read it: chgrp and chmod g+r, for a directory g+rx")
	case errors.Is(err, unix.EROFS):
		return netwatch.WithHint(err, "mount it for writing")
	}
	return err
}
