package turn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netwatch/servers"
	"netwatch/stunmsg"
)

// mostPackets is how many packets a proof from outside sends at most.
const mostPackets = 20

// What is reserved of them, so that packets that are lost on one way leave enough for the
// others: for each way what it needs when none is lost, and for each to free what it was
// lent; and for the relay a permission and a datagram. Over UDP a request is one packet. To
// dial over TCP takes one or, if nobody answers, two; the handshake of TLS takes three.
var needs = map[servers.Transport]int{servers.UDP: 2, servers.TCP: dialNeeds + 2, servers.TLS: dialNeeds + 3 + 2}

const (
	dialNeeds  = 2
	freeNeeds  = 1
	relayNeeds = 2
)

// packetSize is how many bytes of a stream count as one packet: no path cuts them smaller,
// but for a header (RFC 8200, 5).
const packetSize = 1200

// errSpent says that there are no packets left.
var errSpent = errors.New("no more packets are to be sent")

// A budget has the packets that a proof may still send. Counted is what is sent of our own:
// what is written, each time that it is, and what opens a connection. What TCP adds in
// answer to the other end, or repeats of what was written, is not.
type budget struct {
	mu             sync.Mutex
	left, reserved int
}

// newBudget is for these ways.
func newBudget(ways []Way) *budget {
	b := &budget{left: mostPackets, reserved: relayNeeds}
	for _, w := range ways {
		b.reserved += needs[w.Over] + freeNeeds
	}
	return b
}

// release lets be spent what was reserved.
func (b *budget) release(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reserved -= n
}

// spend says whether so many packets may be sent, which then are gone.
func (b *budget) spend(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left-n < b.reserved {
		return false
	}
	b.left -= n
	return true
}

// refund gives back packets that were not sent after all.
func (b *budget) refund(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}

// synTime is after how long the kernel asks again for a connection (RFC 6298, 2).
const synTime = time.Second

// dial makes a socket of which all that is written is counted.
func (b *budget) dial(ctx context.Context, to netip.AddrPort, over servers.Transport) (net.Conn, error) {
	stream := over != servers.UDP
	if stream && !b.spend(dialNeeds) {
		return nil, errSpent
	}
	begun := time.Now()
	d := net.Dialer{Control: once}
	conn, err := d.DialContext(ctx, network(over), to.String())
	if stream && time.Since(begun) < synTime {
		b.refund(1)
	}
	if err != nil {
		return nil, stunmsg.Bare(err)
	}
	return &counted{conn, b, stream}, nil
}

// once has the kernel ask for a connection once again at most.
func once(network, _ string, c syscall.RawConn) (err error) {
	if network == "udp4" || network == "udp6" {
		return nil
	}
	failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_SYNCNT, 1)
	})
	return errors.Join(failed, err)
}

// A counted socket takes what is written from a budget.
type counted struct {
	net.Conn
	budget *budget
	stream bool
}

// Write writes what the budget has room for. Of a stream, what it cannot is an error; a
// datagram is as good as lost.
func (c *counted) Write(what []byte) (int, error) {
	switch {
	case c.budget.spend((len(what) + packetSize - 1) / packetSize):
		return c.Conn.Write(what)
	case c.stream:
		return 0, errSpent
	}
	return len(what), nil
}
