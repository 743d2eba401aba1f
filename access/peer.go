package access

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Peer is the user of the process at the other end of a unix socket.
type Peer struct {
	UID uint32
	// Groups are all that he is in, his own among them.
	Groups []uint32
}

// PeerOf asks the kernel who connected, as he was at that moment (SO_PEERCRED,
// unix(7)).
func PeerOf(conn *net.UnixConn) (p Peer, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return p, fmt.Errorf("finding out who asks: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr == nil {
			p = Peer{cred.Uid, append(peerGroups(fd), cred.Gid)}
		}
	})
	if err = errors.Join(err, credErr); err != nil {
		err = fmt.Errorf("finding out who asks: %w", err)
	}
	return p, err
}

// peerGroups are the supplementary groups of the peer (SO_PEERGROUPS), for
// which x/sys/unix has no function. None are found on an error.
func peerGroups(fd uintptr) []uint32 {
	var groups [1024]uint32
	size := uint32(unsafe.Sizeof(groups))
	into, length := unsafe.Pointer(&groups), unsafe.Pointer(&size) //nolint:gosec // getsockopt(2) takes addresses
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
		uintptr(into), uintptr(length), 0)
	if errno != 0 {
		return nil
	}
	return slices.Clone(groups[:size/4])
}
