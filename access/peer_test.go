package access

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A listener is a socket of ours.
type listener struct {
	*net.UnixListener
	Name string
	Addr *net.UnixAddr
}

// listen makes a socket that its owner alone may connect to.
func listen(t *testing.T) listener {
	t.Helper()
	name := filepath.Join(t.TempDir(), "socket")
	addr := &net.UnixAddr{Name: name, Net: "unix"}
	l, err := net.ListenUnix("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return listener{l, name, addr}
}

// next is who connects next.
func (l listener) next(t *testing.T) Peer {
	t.Helper()
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := PeerOf(conn)
	if err != nil {
		t.Error(err)
	}
	return p
}

// The kernel says who is at the other end, with all his groups.
func TestPeerOf(t *testing.T) {
	l := listen(t)
	conn, err := net.DialUnix("unix", nil, l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := l.next(t)
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range append(groups, os.Getegid()) {
		if !slices.Contains(p.Groups, uint32(g)) {
			t.Errorf("the groups are %v, without %d", p.Groups, g)
		}
	}
	if p.UID != uint32(os.Geteuid()) || len(p.Groups) != len(groups)+1 {
		t.Errorf("it is %+v, and of the groups %v", p, groups)
	}
	_ = conn.Close()
	if _, err := PeerOf(conn); err == nil || !strings.Contains(err.Error(), "finding out who asks") {
		t.Errorf("of a closed one it says %v", err)
	}
}

// The users named may connect, and nobody else.
func TestAdmit(t *testing.T) {
	s := newScene(t)
	if err := Admit(s.file, []uint32{61007, 3}); err != nil {
		t.Fatal(err)
	}
	s.want(s.file, "u:3:rw u:HIM:rw g:: m::rw o::")
	if err := Admit(s.file, nil); err != nil {
		t.Fatal(err)
	}
	s.want(s.file, "g:: o::")
	if err := Admit(s.file+"s", nil); err == nil || !strings.Contains(err.Error(), unix.ENOENT.Error()) {
		t.Errorf("of none it says %v", err)
	}
}
