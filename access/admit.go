package access

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Admit lets these users, and the owner, read and write a file of our own and
// nobody else: to write is what it takes to connect to a socket.
func Admit(path string, uids []uint32) error {
	l := modeList(0o600)
	for _, uid := range uids {
		l = l.put(entry{userEntry, mayRead | mayWrite, uid}).put(entry{maskEntry, mayRead | mayWrite, noID})
	}
	if err := unix.Lsetxattr(path, Xattr, l.value(), 0); err != nil {
		return fmt.Errorf("setting the ACL of %s: %w", path, err)
	}
	return nil
}
