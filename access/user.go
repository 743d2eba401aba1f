// Package access finds out who may read a file by the access control lists of acl(5),
// and lets a user read some: it gives him an entry of his own in the lists of these
// files and of the directories on the way, and leaves what others may do as it was.
// It records what it gave, and takes it back. It walks the way to a file with the
// rights of whoever decides where that leads (way.go), and asks the kernel who is at
// the other end of a socket (peer.go). It knows nothing of what is in the files.
package access

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// A User is somebody who may read some files, and others not.
type User struct {
	UID, GID int
	// Groups are the other groups that he is in.
	Groups []uint32
}

// Lookup finds the user of that name or number.
func Lookup(name string) (User, error) {
	found, err := user.Lookup(name)
	if errors.As(err, new(user.UnknownUserError)) {
		if byID, errID := user.LookupId(name); errID == nil {
			found, err = byID, nil
		}
	}
	if err != nil {
		return User{}, err
	}
	return of(found)
}

// NameOf is the name of a user, or his number if he has none.
func NameOf(uid int) string {
	number := strconv.Itoa(uid)
	if found, err := user.LookupId(number); err == nil {
		return found.Username
	}
	return number
}

// lookupGroup finds the number of the group of that name or number.
func lookupGroup(name string) (int, error) {
	found, err := user.LookupGroup(name)
	if errors.As(err, new(user.UnknownGroupError)) {
		if byID, errID := user.LookupGroupId(name); errID == nil {
			found, err = byID, nil
		}
	}
	if err != nil {
		return 0, err
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 31)
	return int(gid), err
}

// of makes a User of one that package os/user has found.
func of(found *user.User) (User, error) {
	groups, err := found.GroupIds()
	if err != nil {
		return User{}, fmt.Errorf("looking for the groups of %s: %w", found.Username, err)
	}
	u := User{Groups: make([]uint32, len(groups))}
	var errs []error
	number := func(text string) int {
		n, err := strconv.ParseUint(text, 10, 31)
		errs = append(errs, err)
		return int(n)
	}
	u.UID, u.GID = number(found.Uid), number(found.Gid)
	for i, g := range groups {
		u.Groups[i] = uint32(number(g)) //nolint:gosec // See above.
	}
	return u, errors.Join(errs...)
}

// listOf reads the access list of the file that path leads to. If it has none, the
// list is made of its mode.
func listOf(path string, mode uint32) (list, error) {
	value := make([]byte, 64<<10) // The largest that there can be (xattr(7)).
	size, err := unix.Getxattr(path, Xattr, value)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		return modeList(mode), nil
	case err != nil:
		return nil, fmt.Errorf("reading the ACL: %w", err)
	}
	l := parse(value[:size])
	if l == nil {
		return nil, errors.New("reading the ACL: it is of an unknown form")
	}
	return l, nil
}

// permitted is the algorithm of acl(5). It heeds the owner's entry, else the user's
// own, else that of any of his groups that has the permission, else that for others.
// The mask bounds all but the first and the last. Root may do everything.
func (u User) permitted(l list, st *unix.Stat_t, want perm) bool {
	if u.UID == 0 {
		return true
	}
	l = l.heeded()
	mask, masked := l.find(maskEntry, noID)
	if !masked {
		mask.perm = mayAll
	}
	inGroup, groupMay := false, false
	for _, e := range l {
		switch {
		case e.tag == ownerEntry && u.is(st.Uid):
			return e.perm&want == want
		case e.tag == userEntry && u.is(e.id):
			return e.perm&mask.perm&want == want
		case e.tag == groupEntry && u.in(st.Gid), e.tag == namedGroup && u.in(e.id):
			inGroup = true
			groupMay = groupMay || e.perm&mask.perm&want == want
		}
	}
	if inGroup {
		return groupMay
	}
	other, _ := l.find(otherEntry, noID)
	return other.perm&want == want
}

func (u User) is(uid uint32) bool { return int64(u.UID) == int64(uid) }

func (u User) in(gid uint32) bool {
	return int64(u.GID) == int64(gid) || slices.Contains(u.Groups, gid)
}
