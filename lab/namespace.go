package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dial makes a UDP socket in a network namespace and connects it to addr, so
// that only packets from there are received.
func Dial(namespace string, addr netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := within(namespace, func() (err error) {
		conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connecting from %s to %s: %w", namespace, addr, err)
	}
	return conn, nil
}

// dialTCP connects to addr over TCP out of a network namespace.
func dialTCP(ctx context.Context, namespace string, addr netip.AddrPort) (net.Conn, error) {
	var conn net.Conn
	err := within(namespace, func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("connecting from %s to %s: %w", namespace, addr, err)
	}
	return conn, nil
}

// Listen makes a UDP socket in a network namespace that receives at addr.
func Listen(namespace string, addr netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := within(namespace, func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening in %s at %s: %w", namespace, addr, err)
	}
	return conn, nil
}

// within calls f on a thread that is in a network namespace meanwhile; empty
// is the present one. A socket stays in the namespace that it was made in.
func within(namespace string, f func() error) error {
	if namespace == "" {
		return f()
	}
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close() // Nothing was written.
	if err := enter(netnsPath(namespace)); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	failed := f()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("leaving the namespace: %w", err) // Still locked: the thread ends with its goroutine.
	}
	runtime.UnlockOSThread()
	return failed
}

func enter(path string) error {
	ns, err := os.Open(path) // A namespace of the lab's own.
	if err != nil {
		return err
	}
	defer ns.Close() // Nothing was written.
	return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
}
