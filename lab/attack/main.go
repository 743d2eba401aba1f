// Attack does to a control socket what somebody on the machine could do, until it
// is killed. It is how the lab's tests attack netwatch; it opens the one socket
// that it is given, and nothing else.
//
//	attack headers|connect|body|wait|requests|users SOCKET
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How many take part.
const (
	connections = 255
	connecting  = 8
	users       = 80
	firstUser   = 50000
)

// How long somebody who was shut out waits before he knocks again, alone and as one of
// eighty users. Without a pause they would attack the processors, not netwatch.
const (
	knock        = 10 * time.Millisecond
	knockOfUsers = time.Second
)

// An assault does with one connection what it can, and returns when it is closed.
type assault func(net.Conn)

// assaults are what each of many connections at once does.
var assaults = map[string]assault{"headers": headers, "body": body, "wait": waiting, "requests": requests}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: attack headers|connect|body|wait|requests|users SOCKET")
		os.Exit(2)
	}
	mode, socket := os.Args[1], os.Args[2]
	switch a := assaults[mode]; {
	case a != nil:
		atOnce(connections, func() { again(socket, a, knock) })
	case mode == "idle":
		atOnce(connections, func() { again(socket, idle, knockOfUsers) })
	case mode == "connect":
		atOnce(connecting, func() { connect(socket) })
	case mode == "users":
		asUsers(socket)
	}
}

func atOnce(n int, do func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(do)
	}
	all.Wait()
}

// again connects again whenever it is shut out.
func again(socket string, do assault, pause time.Duration) {
	for {
		if c, err := net.Dial("unix", socket); err == nil {
			do(c)
			_ = c.Close()
		}
		<-time.After(pause)
	}
}

// headers sends a megabyte of them, none alike, and does not end the request.
func headers(c net.Conn) {
	var text strings.Builder
	text.WriteString("GET /v1/status HTTP/1.1\r\nHost: x\r\n")
	for n := 0; text.Len() < 1<<20; n++ {
		fmt.Fprintf(&text, "%x:\r\n", n)
	}
	_, _ = io.WriteString(c, text.String())
	idle(c)
}

// vpnChanged is what a user of OpenVPN's source may fire.
const vpnChanged = `{"event":"vpn-changed","source":"openvpn"}`

// body sends all of a request, and says that there is more to come.
func body(c net.Conn) {
	_, _ = io.WriteString(c, "POST /v1/fire HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"+vpnChanged)
	idle(c)
}

// waiting fires, and waits for a run that is far off.
func waiting(c net.Conn) {
	const request = "POST /v1/fire HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
	_, _ = fmt.Fprintf(c, request, len(vpnChanged), vpnChanged)
	idle(c)
}

// requests asks one thing after the other, over the same connection as long as it
// is left open.
func requests(c net.Conn) {
	go func() { _, _ = io.Copy(io.Discard, c) }() // Ends with the connection.
	for err := error(nil); err == nil; {
		_, err = io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
	}
}

// idle waits until the connection is closed.
func idle(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// connect connects and leaves, as fast as the kernel can; what it leaves stays in
// the queue until it is accepted.
func connect(socket string) {
	runtime.LockOSThread()
	for {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			continue
		}
		_ = unix.Connect(fd, &unix.SockaddrUnix{Name: socket}) // A full queue is what this is for.
		_ = unix.Close(fd)
	}
}

// asUsers holds connections as many users; it must be root.
func asUsers(socket string) {
	n := uint32(firstUser)
	var next sync.Mutex
	atOnce(users, func() {
		next.Lock()
		n++
		cmd := exec.Command(os.Args[0], "idle", socket)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: n, Gid: n}}
		next.Unlock()
		_ = cmd.Run() // It is killed.
	})
}
