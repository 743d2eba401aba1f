package access

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Admit lets the owner and these users, and nobody else, read and write a file of our
// own. Who may write to a socket can connect to it.
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
