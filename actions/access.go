package actions

import (
	"encoding/binary"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// The permissions of files, as modes and ACLs have them.
const (
	mayRead   = 4
	maySearch = 1
)

// The tags of entries of an ACL (linux/posix_acl.h).
const (
	ownerEntry = 0x01
	userEntry  = 0x02
	groupEntry = 0x04
	namedGroup = 0x08
	maskEntry  = 0x10
	otherEntry = 0x20
)

// An aclEntry gives permissions to whom tag and, of a named one, id say.
type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// try says why the reader cannot read the file by a path without symlinks:
// EACCES, or why that cannot be found out. It is reckoned by acl(5) and not
// tried out, which would take the privilege to act as any user.
func (r reader) try(path string) error {
	if err := r.access(path, mayRead); err != nil {
		return err
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if err := r.access(dir, maySearch); err != nil || dir == "/" {
			return err
		}
	}
}

// access says why the reader does not have a permission on one file.
func (r reader) access(path string, want uint16) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return err
	}
	entries := modeEntries(st.Mode)
	// With an empty mask the kernel heeds the mode alone (measured).
	if st.Mode&0o070 != 0 {
		value := make([]byte, 64<<10) // The largest that there can be (xattr(7)).
		size, err := unix.Lgetxattr(path, aclXattr, value)
		if list := parseACL(value[:max(size, 0)]); err == nil && list != nil {
			entries = list
		}
	}
	if r.uid != 0 && !r.permitted(entries, &st, want) {
		return unix.EACCES
	}
	return nil
}

// modeEntries is a mode as an ACL.
func modeEntries(mode uint32) []aclEntry {
	bits := func(shift int) uint16 { return uint16(mode>>shift) & 7 } //nolint:gosec // Three bits.
	return []aclEntry{{tag: ownerEntry, perm: bits(6)}, {tag: groupEntry, perm: bits(3)}, {tag: otherEntry, perm: bits(0)}}
}

// parseACL reads the value of the extended attribute: a version in four bytes,
// then tag, permissions and id of each entry, in little-endian order
// (linux/posix_acl_xattr.h).
func parseACL(value []byte) []aclEntry {
	const version, header, length = 2, 4, 8
	if len(value) < header || binary.LittleEndian.Uint32(value) != version {
		return nil
	}
	var all []aclEntry
	for e := range slices.Chunk(value[header:], length) {
		if len(e) == length {
			all = append(all, aclEntry{binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint16(e[2:]), binary.LittleEndian.Uint32(e[4:])})
		}
	}
	return all
}

// permitted is the algorithm of acl(5): the owner's entry, else the user's own,
// else any of his groups' that has the permission, else that for others. The
// mask bounds all but the first and the last.
func (r reader) permitted(entries []aclEntry, st *unix.Stat_t, want uint16) bool {
	mask, other := uint16(7), uint16(0)
	inGroup, groupMay := false, false
	for _, e := range entries {
		switch e.tag {
		case maskEntry:
			mask = e.perm
		case otherEntry:
			other = e.perm
		}
	}
	for _, e := range entries {
		switch {
		case e.tag == ownerEntry && r.is(st.Uid):
			return e.perm&want == want
		case e.tag == userEntry && r.is(e.id):
			return e.perm&mask&want == want
		case e.tag == groupEntry && r.in(st.Gid), e.tag == namedGroup && r.in(e.id):
			inGroup = true
			groupMay = groupMay || e.perm&mask&want == want
		}
	}
	if inGroup {
		return groupMay
	}
	return other&want == want
}

func (r reader) is(uid uint32) bool { return int64(r.uid) == int64(uid) }

func (r reader) in(gid uint32) bool {
	return int64(r.gid) == int64(gid) || slices.Contains(r.groups, gid)
}
