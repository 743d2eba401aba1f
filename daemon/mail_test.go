package daemon

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// Mail goes to the server that the configuration names, and after a reload to another.
func TestMailServerOfNow(t *testing.T) {
	const config = "smtp = %q\n[[rule]]\non = [\"x\"]\nsettle = \"0s\"\ndo = [\"mail root@localhost\"]\n"
	var doors []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		doors = append(doors, l)
	}
	r := started(t, fmt.Sprintf(config, doors[0].Addr()))
	defer r.stop()
	for i, l := range doors {
		if i > 0 {
			r.reload(fmt.Sprintf(config, l.Addr()))
		}
		r.fire("x")
		_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
		conn, err := l.Accept()
		if err != nil {
			t.Fatalf("nobody comes to server %d: %v", i, err)
		}
		_, _ = fmt.Fprint(conn, "554 no\r\n")
		_ = conn.Close()
	}
}
