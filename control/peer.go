package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"

	"netwatch"
	"netwatch/access"
)

// A peer is the user at the other end of a connection.
type peer access.Peer

type (
	peerKey struct{}
	connKey struct{}
)

// withPeer puts the peer of a connection into its context. A request without a peer
// is permitted nothing.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if known, ok := c.(*knownConn); ok {
		return context.WithValue(context.WithValue(ctx, peerKey{}, known.peer), connKey{}, c)
	}
	return ctx
}

// privileged says whether the peer may do everything: root, the daemon's own user,
// and the group netwatch.
func (p peer) privileged() bool {
	ours := func(g uint32) bool { return int(g) == access.GroupID() }
	return p.UID == 0 || int(p.UID) == os.Geteuid() || slices.ContainsFunc(p.Groups, ours)
}

// notPermitted is the error for a peer who may not do something.
func notPermitted(p peer, do string) error {
	err := fmt.Errorf("user %s may not %s", access.NameOf(int(p.UID)), do)
	return netwatch.WithHint(err, "do it as root, or as a member of the group "+access.Group)
}
