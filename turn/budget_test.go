package turn

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"netwatch/servers"
	"netwatch/turn/turntest"
)

// Of what is beyond the budget, a datagram is as good as lost, and a stream ends.
func TestBudget(t *testing.T) {
	if n := newBudget(nil).left; n != 20 {
		t.Errorf("it is %d packets", n)
	}
	here, came := hole(t, "127.0.0.1")
	for over, want := range map[servers.Transport]error{servers.UDP: nil, servers.TCP: errSpent} {
		b := &budget{left: 3, reserved: 1}
		socket, err := b.dial(t.Context(), here, servers.UDP)
		if err != nil {
			t.Fatal(err)
		}
		socket.(*counted).stream = over != servers.UDP
		for n := range 3 {
			wrote, err := socket.Write(make([]byte, 9))
			if n < 2 && err != nil || n == 2 && (!errors.Is(err, want) || over == servers.UDP && wrote != 9) {
				t.Errorf("%s, packet %d: %d bytes, %v", over, n, wrote, err)
			}
		}
		if n := came(); n != 2 || b.left != 1 {
			t.Errorf("%s: %d came, %d are left", over, n, b.left)
		}
		_ = socket.Close()
	}
}

// A connection costs one packet where it is answered, and the kernel repeats what asks for
// it once at most.
func TestBudgetOfAStream(t *testing.T) {
	b := &budget{left: 3}
	f := turntest.New(t, nil)
	socket, err := b.dial(t.Context(), f.Over(t, nil), servers.TCP)
	if err != nil || b.left != 2 {
		t.Fatalf("%v, %d are left", err, b.left)
	}
	raw, err := socket.(*counted).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if n, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_SYNCNT); n != 1 || err != nil {
			t.Errorf("the kernel repeats it %d times, %v", n, err)
		}
	}); err != nil {
		t.Error(err)
	}
	_ = socket.Close()
	here, _ := hole(t, "127.0.0.1")
	b = &budget{left: 3}
	if conn, err := b.dial(t.Context(), here, servers.TCP); !errors.Is(err, syscall.ECONNREFUSED) || b.left != 2 {
		t.Errorf("%v, %v, %d are left", conn, err, b.left)
	}
}
