package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"netwatch"
)

// group is the group whose members may fire every event.
const group = "netwatch"

// A peer is the process at the other end of a connection, as the kernel knew
// it when it connected (SO_PEERCRED, unix(7)).
type peer struct {
	uid    uint32
	groups []uint32
}

type (
	peerKey struct{}
	connKey struct{}
)

// withPeer puts the peer of a connection into its context. Without one nothing
// is permitted.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if known, ok := c.(*knownConn); ok {
		return context.WithValue(context.WithValue(ctx, peerKey{}, known.peer), connKey{}, c)
	}
	return ctx
}

func peerOf(conn *net.UnixConn) (p peer, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return p, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr == nil {
			p = peer{cred.Uid, append(peerGroups(fd), cred.Gid)}
		}
	})
	if err == nil {
		err = credErr
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

// privileged says that the peer may do all: root, the daemon's own user, and
// the group netwatch.
func (p peer) privileged() bool {
	ours := func(g uint32) bool { return int(g) == groupID() }
	return p.uid == 0 || int(p.uid) == os.Geteuid() || slices.ContainsFunc(p.groups, ours)
}

// groupID is the id of the group, or -1. It is looked up once: to read the file of
// groups for each who knocks would be much. A group that is made later counts
// from the next start.
var groupID = sync.OnceValue(func() int {
	if g, err := user.LookupGroup(group); err == nil {
		if id, err := strconv.Atoi(g.Gid); err == nil {
			return id
		}
	}
	return -1
})

// notPermitted is the error for a peer who may not do something.
func notPermitted(p peer, do string) error {
	name := strconv.FormatUint(uint64(p.uid), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	err := fmt.Errorf("user %s may not %s", name, do)
	return netwatch.WithHint(err, "do it as root, or as a member of the group "+group)
}
