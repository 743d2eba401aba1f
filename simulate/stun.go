package simulate

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// many is how many STUN servers there are, and agree how many must say the same: the
// defaults.
const (
	many  = 3
	agree = 2
)

// A server is one that is asked for our address.
type server struct {
	number int
	lag    time.Duration // beside the way there
	does   manner
	lie    map[netwatch.Family]netip.Addr
}

// A manner is how a server behaves.
type manner string

// The manners. Who lies, or answers with what was, counts as a liar.
const (
	honest  manner = "is honest"
	lies    manner = "says another address"
	silent  manner = "is silent"
	refuses manner = "refuses"
	slow    manner = "is slow"
	lossy   manner = "loses most"
	strange manner = "answers what nobody asked"
	private manner = "says a private address"
	twice   manner = "answers twice"
	broken  manner = "answers half"
)

func newServer(w *World, number int) *server {
	s := &server{number: number, does: honest, lie: map[netwatch.Family]netip.Addr{}}
	s.lag = between(w.draw(fmt.Sprint("server ", number)), 5*time.Millisecond, 40*time.Millisecond)
	return s
}

func (w *World) serverNames() string {
	var all []string
	for i := range many {
		all = append(all, fmt.Sprintf("\"stun%d.example.org\"", i))
	}
	return strings.Join(all, ", ")
}

// addresses of the servers.
func serverAddress(number int, f netwatch.Family) netip.Addr {
	n := byte(number + 1)
	if f == netwatch.IPv6 {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xff, n, 15: 1})
	}
	return netip.AddrFrom4([4]byte{198, 51, 100, n})
}

// A network is what one life of the daemon reaches servers by.
type network struct {
	*World
	life *life
}

// Here are the addresses of the machine.
func (n network) Here() []netip.Addr { return n.here() }

// Lookup looks a server up, which takes a while.
func (n network) Lookup(ctx context.Context, network, host string) ([]netip.Addr, error) {
	var number int
	if _, err := fmt.Sscanf(host, "stun%d.example.org", &number); err != nil {
		return nil, err
	}
	f := netwatch.IPv4
	if network == "ip6" {
		f = netwatch.IPv6
	}
	n.mu.Lock()
	n.asked = n.now()
	lag, dead := between(n.draw("lookup "+host+network), time.Millisecond, 5*time.Millisecond), n.life.dead
	up := n.reaches(f)
	n.mu.Unlock()
	if dead {
		return nil, errDead
	}
	if !up && n.line.families[f] != nil {
		lag = time.Hour // The resolver does not answer
	}
	select {
	case <-time.After(lag):
		return []netip.Addr{serverAddress(number, f)}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// reaches says whether packets of a family get out. w.mu is held.
func (w *World) reaches(f netwatch.Family) bool {
	l := w.line.families[f]
	return l != nil && l.up
}

// Dial makes a socket to a server.
func (n network) Dial(_ context.Context, _ net.Dialer, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := netwatch.FamilyOf(to.Addr())
	if n.life.dead {
		return nil, errDead
	}
	if n.line.families[f] == nil {
		return nil, &net.OpError{Op: "dial", Net: "udp", Err: os.NewSyscallError("connect", unix.ENETUNREACH)}
	}
	number := int(to.Addr().As16()[15]) - 1
	if f == netwatch.IPv6 {
		number = int(to.Addr().As16()[5]) - 1
	}
	return &socket{
		network: n, family: f, to: n.all[number], own: n.line.families[f].own,
		in: make(chan packet, 8), closed: make(chan struct{}),
	}, nil
}

// A packet is one that came back, or that nobody listens.
type packet struct {
	text []byte
	err  error
}

// A socket is one question's.
type socket struct {
	network
	family netwatch.Family
	to     *server
	own    netip.Addr
	in     chan packet

	deadline time.Time
	once     sync.Once
	closed   chan struct{}
}

// Write sends a question.
func (s *socket) Write(question []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.story.Polls++
	s.asked = s.now()
	f := s.line.families[s.family]
	if !f.up || s.life.dead {
		return len(question), nil
	}
	name := fmt.Sprint("answer ", s.to.number, s.family)
	lag := s.to.lag + between(s.draw(name), 0, 10*time.Millisecond)
	at, address := s.now()+lag/2, f.address
	s.story.hear(s.now(), name)
	if s.forged {
		s.story.fault("an answer is forged")
		s.later(time.Microsecond, packet{text: forgery(question, s.family)})
	}
	if s.to.does != honest {
		s.story.fault("a server " + string(s.to.does) + ", when asked")
	}
	switch s.to.does {
	case silent:
		return len(question), nil
	case lossy:
		if s.draw(name+" lost")%3 > 0 {
			return len(question), nil
		}
	case slow:
		lag += between(s.draw(name+" slow"), 50*time.Millisecond, 2*time.Second)
	case refuses:
		s.later(lag, packet{err: &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNREFUSED)}})
		return len(question), nil
	case lies:
		if lie := s.to.lie[s.family]; lie.IsValid() {
			address = lie
		}
	case private:
		address = netip.MustParseAddr("10.1.2.3")
		if s.family == netwatch.IPv6 {
			address = netip.MustParseAddr("fd00::1")
		}
	}
	s.reply(question, address, at, lag)
	return len(question), nil
}

// forgery is an answer of who does not know the transaction id.
func forgery(question []byte, f netwatch.Family) []byte {
	text := binding(question, lieOf(f, 9, 0))
	text[19] ^= 1
	return text
}

// reply sends the answer after a while. w.mu is held.
func (s *socket) reply(question []byte, address netip.Addr, at, lag time.Duration) {
	text := binding(question, address)
	switch s.to.does {
	case strange:
		text[12] ^= 1
	case broken:
		text = text[:len(text)-4]
	case twice:
		s.later(lag+time.Millisecond, packet{text: text})
		s.heard(address, at)
	default:
		s.heard(address, at)
	}
	s.later(lag, packet{text: text})
}

// heard notes what was said. w.mu is held.
func (s *socket) heard(address netip.Addr, at time.Duration) {
	told := s.line.families[s.family].told
	if told[address] == nil {
		told[address] = map[int]time.Duration{}
	}
	told[address][s.to.number] = at
}

// later has a packet come, unless the machine is suspended before. w.mu is held.
func (s *socket) later(lag time.Duration, p packet) {
	before := s.suspended
	time.AfterFunc(lag, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.suspended != before {
			return
		}
		select {
		case s.in <- p:
		default:
		}
	})
}

// binding is a success response (RFC 8489) with XOR-MAPPED-ADDRESS.
func binding(question []byte, address netip.Addr) []byte {
	raw := address.AsSlice()
	text := make([]byte, 20, 20+8+len(raw))
	copy(text, question[:20])
	binary.BigEndian.PutUint16(text, 0x0101)
	binary.BigEndian.PutUint16(text[2:], uint16(8+len(raw)))
	family := byte(1)
	if len(raw) == 16 {
		family = 2
	}
	text = append(text, 0, 0x20, 0, byte(4+len(raw)), 0, family, 0x11, 0x22)
	for i, b := range raw {
		text = append(text, b^question[4+i])
	}
	return text
}

// Read waits for a packet.
func (s *socket) Read(b []byte) (int, error) {
	wait := time.NewTimer(time.Until(s.deadline))
	defer wait.Stop()
	select {
	case p := <-s.in:
		return copy(b, p.text), p.err
	case <-wait.C:
		return 0, os.ErrDeadlineExceeded
	case <-s.closed:
		return 0, net.ErrClosed
	}
}

// Close closes the socket.
func (s *socket) Close() error { s.once.Do(func() { close(s.closed) }); return nil }

// LocalAddr is the machine's.
func (s *socket) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.own, 40000))
}

// RemoteAddr is the server's.
func (s *socket) RemoteAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(serverAddress(s.to.number, s.family), 3478))
}

// SetDeadline is SetReadDeadline.
func (s *socket) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadDeadline is until when Read waits.
func (s *socket) SetReadDeadline(t time.Time) error { s.deadline = t; return nil }

// SetWriteDeadline does nothing: nothing waits.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
