//go:build lab

package netwatch

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// This test needs root.

// The own address comes from the routes, a namespace of our own has none.
func TestLabOwnAddressWithoutRoute(t *testing.T) {
	done := make(chan [2]string)
	go func() {
		// Never unlocked: the thread ends with the namespace.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		a4, a6 := OwnAddress(IPv4, netip.MustParseAddr("198.51.100.7")), OwnAddress(IPv6, netip.MustParseAddr("2001:db8::7"))
		interfaces, _ := net.Interfaces()
		done <- [2]string{fmt.Sprint(err, len(interfaces)), fmt.Sprint(a4.IsValid(), a6.IsValid())}
	}()
	if got := <-done; got != [2]string{"<nil> 1", "false false"} {
		t.Error(got)
	}
}
