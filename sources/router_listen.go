package sources

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netwatch/stunmsg"
)

// allHosts is the group to which routers announce (RFC 6886, 3.2.1).
var allHosts = netip.MustParseAddr("224.0.0.1")

// earful is how many announcements are heard, and hearTime in what time: no flood
// costs more than reading that many. What is beyond waits in the socket or is lost;
// who has something to say is asked from time to time as well.
const (
	earful   = 4
	hearTime = time.Second
)

// An ear hears what one gateway announces, and nobody else.
type ear struct {
	conn  net.Conn
	ended chan struct{}
	// words has room for one. What nobody has taken is outdone by a newer one.
	words chan saying
}

// openEar hears what a gateway announces. Closing the ear ends it. The kernel
// drops what is not from the gateway's address and port, or came over another interface.
func openEar(ctx context.Context, to uplink) (*ear, error) {
	d := net.Dialer{
		LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(allHosts, announcePort)), Control: to.join,
	}
	conn, err := d.DialContext(ctx, "udp4", netip.AddrPortFrom(to.gateway, natpmpPort).String())
	if err != nil {
		return nil, fmt.Errorf("listening for what %s announces: %w", to.gateway, stunmsg.Bare(err))
	}
	e := &ear{conn, make(chan struct{}), make(chan saying, 1)}
	go e.listen() // Ends when the ear is closed
	return e, nil
}

// join binds a socket to the interface and lets others listen at the port too.
func (u uplink) join(network, address string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return errors.Join(controlErr, err, u.bind(network, address, c))
}

// listen reads until the ear is closed.
func (e *ear) listen() {
	b := make([]byte, pcpHeader+1)
	for began, heard := time.Now(), 0; ; heard++ {
		if heard == earful {
			e.rest(hearTime - time.Since(began))
		}
		if time.Since(began) >= hearTime {
			began, heard = time.Now(), 0
		}
		n, err := e.conn.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if w, err := readAnnouncement(b[:n]); err == nil {
			e.tell(w)
		}
	}
}

// rest hears nothing for a while, or until the ear is closed.
func (e *ear) rest(d time.Duration) {
	select {
	case <-time.After(d):
	case <-e.ended:
	}
}

// tell puts a saying in the place of one that nobody has taken. One with an address
// is not outdone by one without.
func (e *ear) tell(w saying) {
	select {
	case was := <-e.words:
		if w.bare && !was.bare {
			w = was
		}
	default:
	}
	e.words <- w // There is room: nobody else puts anything in
}

// close ends listening.
func (e *ear) close() {
	if e != nil {
		close(e.ended)
		_ = e.conn.Close()
	}
}
