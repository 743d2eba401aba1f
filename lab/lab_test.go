//go:build lab

// The lab itself: what it stands in for behaves like it.

package lab

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
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

// floor is how long it takes when a person at the keyboard knows the new
// address the moment it is there: sed, systemctl restart and nothing else.
func floor(t *testing.T, n int) Times {
	t.Helper()
	var times Times
	for i := range n {
		to := Public(i)
		changed := time.Now()
		must(t, world.SetPublic(t.Context(), to))
		shell(t, "sed -i 's/^external-ip=.*/external-ip="+to.String()+"/' "+YunoHost.File+
			" && setfacl -m user:turnserver:r "+YunoHost.File+" && systemctl restart "+YunoHost.Unit)
		times = append(times, right(t, to, to, 5*time.Second).Sub(changed))
	}
	return times
}

func TestFloor(t *testing.T) {
	fresh(t, YunoHost)
	times := floor(t, 3)
	t.Logf("by hand at the instant of the change: %s", times)
	if times.Median() > time.Second {
		t.Errorf("the lab itself is slow: nothing measured in it means anything")
	}
}

// TestCallsAreKept is about the caller of the lab: a refresh tells whether
// coturn is still the one that gave the address.
func TestCallsAreKept(t *testing.T) {
	fresh(t, YunoHost)
	a, err := caller.Allocate(t.Context(), netip.AddrPortFrom(FirstPublic, Port), 4)
	must(t, err)
	defer a.Close() // What it gives back is gone by then.
	must(t, a.Refresh(t.Context()))
	shell(t, "systemctl restart "+YunoHost.Unit)
	right(t, FirstPublic, FirstPublic, 5*time.Second)
	var refused *TurnError
	if err := a.Refresh(t.Context()); !errors.As(err, &refused) {
		t.Errorf("a refresh after a restart: %v, want a refusal", err)
	}
}
