//go:build lab

package lab

import (
	"net"
	"net/netip"
	"testing"
)

// sees is the address under which the first STUN server sees a socket.
func sees(t *testing.T, conn *net.UDPConn) netip.Addr {
	t.Helper()
	addr, err := Reflexive(t.Context(), conn)
	must(t, err)
	return addr.Addr()
}

func fromServer(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := Dial(world.Net, stuns[0].Addr())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestMappings is about the lab: the two ways in which an address changes are
// what they claim to be.
func TestMappings(t *testing.T) {
	fresh(t, YunoHost)
	kept := fromServer(t)
	expect := func(what string, got, want netip.Addr) {
		t.Helper()
		if got != want {
			t.Errorf("%s is seen as %s, want %s", what, got, want)
		}
	}
	expect("the server", sees(t, kept), FirstPublic)
	must(t, world.SetPublic(t.Context(), Public(0)))
	expect("an old socket after a true change", sees(t, kept), Public(0))

	must(t, world.SetPublicStale(t.Context(), Public(0)))
	kept = fromServer(t)
	expect("a socket", sees(t, kept), Public(0))
	must(t, world.SetPublicStale(t.Context(), Public(1)))
	expect("an old socket with a stale mapping", sees(t, kept), Public(0))
	expect("a new socket", sees(t, fromServer(t)), Public(1))
}
