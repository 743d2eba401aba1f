package access

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"netwatch"
)

// Xattr is the extended attribute that holds a list.
const Xattr = "system.posix_acl_access"

// Permissions, as modes and lists have them.
type perm uint16

const (
	mayRead   perm = 4
	mayWrite  perm = 2
	maySearch perm = 1 // of a directory
	mayAll    perm = 7
)

// String is as getfacl(1) writes it.
func (p perm) String() string {
	text := []byte("rwx")
	for i := range text {
		if p&(4>>i) == 0 {
			text[i] = '-'
		}
	}
	return string(text)
}

// The tags of entries (linux/posix_acl.h).
const (
	ownerEntry = 0x01
	userEntry  = 0x02
	groupEntry = 0x04
	namedGroup = 0x08
	maskEntry  = 0x10
	otherEntry = 0x20
)

// noID is the id of an entry that names nobody.
const noID = 1<<32 - 1

// An entry gives permissions to somebody. tag says to whom; if it is userEntry or
// namedGroup, id says to which user or group.
type entry struct {
	tag  uint16
	perm perm
	id   uint32
}

func (e entry) named() bool { return e.tag == userEntry || e.tag == namedGroup }

// masked says whether the mask bounds what the entry gives.
func (e entry) masked() bool { return e.named() || e.tag == groupEntry }

// A list is an access control list, in the kernel's order. It has a mask if it has a
// named entry.
type list []entry

// modeList makes a list of a mode.
func modeList(mode uint32) list {
	bits := func(shift int) perm { return perm(mode >> shift & 0o7) }
	return list{{ownerEntry, bits(6), noID}, {groupEntry, bits(3), noID}, {otherEntry, bits(0), noID}}
}

// The form of the extended attribute: a version in four bytes, then tag,
// permissions and id of each entry, in little-endian order
// (linux/posix_acl_xattr.h).
const (
	version = 2
	length  = 8
)

// parse reads the value of the extended attribute. It returns nil if that is no list.
func parse(value []byte) list {
	entries, is := bytes.CutPrefix(value, binary.LittleEndian.AppendUint32(nil, version))
	if !is {
		return nil
	}
	var l list
	for e := range slices.Chunk(entries, length) {
		if len(e) == length {
			l = append(l, entry{
				binary.LittleEndian.Uint16(e), perm(binary.LittleEndian.Uint16(e[2:])),
				binary.LittleEndian.Uint32(e[4:]),
			})
		}
	}
	return l
}

// value is the inverse of parse. Given a list without a mask, the kernel sets just
// the mode.
func (l list) value() []byte {
	value := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range l {
		value = binary.LittleEndian.AppendUint16(value, e.tag)
		value = binary.LittleEndian.AppendUint16(value, uint16(e.perm))
		value = binary.LittleEndian.AppendUint32(value, e.id)
	}
	return value
}

// find returns the entry of that tag and id, or one that gives nothing.
func (l list) find(tag uint16, id uint32) (e entry, ok bool) {
	i := slices.IndexFunc(l, func(e entry) bool { return e.tag == tag && e.id == id })
	if i < 0 {
		return entry{tag: tag, id: id}, false
	}
	return l[i], true
}

// heeded is the list by which the kernel decides: if the mask is empty, it ignores
// the named entries as if there were a mode alone (measured).
func (l list) heeded() list {
	if mask, ok := l.find(maskEntry, noID); !ok || mask.perm != 0 {
		return l
	}
	owner, _ := l.find(ownerEntry, noID)
	other, _ := l.find(otherEntry, noID)
	return list{owner, {groupEntry, 0, noID}, other}
}

// writers are the entries, except the owner's, that let somebody write.
func (l list) writers() list {
	mask, masked := l.find(maskEntry, noID)
	return slices.DeleteFunc(slices.Clone(l.heeded()), func(e entry) bool {
		if masked && e.masked() {
			e.perm &= mask.perm
		}
		return e.tag == ownerEntry || e.tag == maskEntry || e.perm&mayWrite == 0
	})
}

// errMasked says that the mask would have to be wider. That could let in others as
// well, so it is not for us to do.
var errMasked = netwatch.WithHint(errors.New(
	"its ACL has a mask (the group bits of its mode) that keeps others out as well"),
	"see getfacl, and take away what is too much in it, or make the mask wider: chmod g+r, for a directory g+rx")

// with returns the list with at least these permissions for a user. What others may
// do stays as it was.
func (l list) with(uid uint32, want perm) (list, error) {
	mask, masked := l.find(maskEntry, noID)
	if !masked {
		group, _ := l.find(groupEntry, noID)
		mask.perm = group.perm
	}
	own, _ := l.find(userEntry, uid)
	more := want &^ mask.perm
	for _, e := range l {
		// What the mask has kept from somebody he would have now; and an empty one
		// has had named ones count as others.
		if masked && e != own && (e.masked() && e.perm&more != 0 || e.named() && mask.perm == 0) {
			return nil, errMasked
		}
	}
	own.perm |= want
	mask.perm |= want
	return l.put(own).put(mask), nil
}

// put returns the list with this entry added, or in place of the one with its tag and
// id.
func (l list) put(e entry) list {
	l = slices.Clone(l)
	if at := slices.IndexFunc(l, func(o entry) bool { return o.tag == e.tag && o.id == e.id }); at >= 0 {
		l[at] = e
		return l
	}
	at := slices.IndexFunc(l, func(o entry) bool { return o.tag > e.tag || o.tag == e.tag && o.id > e.id })
	return slices.Insert(l, at, e) // The last is for others, so there is one.
}

// without returns the list without these permissions in the user's own entry. What
// others may do stays as it was.
func (l list) without(uid uint32, given perm) list {
	own, ok := l.find(userEntry, uid)
	if !ok || own.perm&given == 0 {
		return l
	}
	if own.perm &^= given; own.perm != 0 {
		return l.put(own)
	}
	l = slices.DeleteFunc(slices.Clone(l), func(e entry) bool { return e.tag == userEntry && e.id == uid })
	if slices.ContainsFunc(l, entry.named) {
		return l
	}
	// A mode suffices for what is left, and then the mask is the group's.
	mask, _ := l.find(maskEntry, noID)
	group, _ := l.find(groupEntry, noID)
	group.perm &= mask.perm
	return slices.DeleteFunc(l.put(group), func(e entry) bool { return e.tag == maskEntry })
}
