package sources

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/pion/stun/v2"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/stunmsg"
)

// A Server is a STUN server as host:port or [address]:port.
type Server string

// defaultPort is STUN's over UDP (RFC 8489, 18.6).
const defaultPort = "3478"

// UnmarshalText takes "host", "host:port", "address" or "[address]:port".
func (s *Server) UnmarshalText(text []byte) error {
	server, ok := netwatch.HostPort(string(text), defaultPort)
	if !ok {
		return fmt.Errorf("%q is not a server: host or host:port, "+
			"as in \"stun.example.org:3478\" or \"[2001:db8::1]:3478\"", text)
	}
	*s = Server(server)
	return nil
}

// speaks says whether a server can be asked for a family. One that is given by its
// address can only be asked for its own.
func (s Server) speaks(family netwatch.Family) bool {
	literal, err := netip.ParseAddrPort(string(s))
	return err != nil || netwatch.FamilyOf(literal.Addr()) == family
}

// host names the host of a server without looking it up: its name, or the host that
// has its address.
func (s Server) host() string {
	if literal, err := netip.ParseAddrPort(string(s)); err == nil {
		return hostOf(literal.Addr()).String()
	}
	host, _, _ := net.SplitHostPort(string(s)) // It was parsed
	return host
}

// lookup returns one of the addresses of the server in a family. It looks the name up
// anew each time.
func (s Server) lookup(ctx context.Context, n Network, family netwatch.Family) (netip.AddrPort, error) {
	if literal, err := netip.ParseAddrPort(string(s)); err == nil {
		return literal, nil
	}
	host, port, err := net.SplitHostPort(string(s))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking up a server: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking up a server: %w", err)
	}
	network := "ip4"
	if family == netwatch.IPv6 {
		network = "ip6"
	}
	addrs, err := n.Lookup(ctx, network, host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking up %s: %w", host, err)
	}
	one := addrs[rand.N(len(addrs))].Unmap() //nolint:gosec // Any will do: another one next time if it is dead
	return netip.AddrPortFrom(one, uint16(number)), nil
}

// An Answer is what one server said about one family.
type Answer struct {
	Server Server
	Family netwatch.Family
	// Asked is the address that the server's name stood for; invalid when it
	// could not be looked up.
	Asked netip.AddrPort
	// Own is this machine's address that the server was asked by.
	Own netip.Addr
	// Address is what the server said: the address of this machine as it sees it. It
	// counts if Err is nil.
	Address netip.Addr
	// RTT is the time from the first request to the answer.
	RTT time.Duration
	Err error
}

// query asks one server, from a new socket and so from a new port. Where a router
// rewrites to a fixed address, a port that stays in use keeps its mapping, and with
// it the old public address, for ever.
func (s *STUN) query(
	ctx context.Context, n Network, server Server, family netwatch.Family, from netip.Addr,
) Answer {
	a := Answer{Server: server, Family: family}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	if a.Asked, a.Err = server.lookup(ctx, n, family); a.Err != nil {
		return a
	}
	conn, err := s.dial(ctx, n, from, a.Asked)
	if err != nil {
		a.Err = err
		return a
	}
	defer conn.Close()
	a.Own = netip.MustParseAddrPort(conn.LocalAddr().String()).Addr().Unmap().WithZone("")
	began := time.Now()
	a.Address, a.Err = exchange(ctx, conn, family)
	a.RTT = time.Since(began)
	if a.Err == nil {
		a.Err = netwatch.CheckPublic(a.Address, s.Accept)
	}
	return a
}

// dial makes a socket and has the kernel connect it to the server. So it gets packets
// from nobody else, and hears at once if nobody listens on the port.
func (s *STUN) dial(ctx context.Context, n Network, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: s.prepare}
	if from.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := n.Dial(ctx, d, to)
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, netwatch.WithHint(fmt.Errorf("asking over interface %s: %w", s.Interface, err),
			"see whether the interface is up: ip link show "+s.Interface)
	case err != nil:
		return nil, fmt.Errorf("asking %s: %w", to, stunmsg.Bare(err))
	}
	return conn, nil
}

// preferPublic asks for a source address that is not a temporary one
// (IPV6_PREFER_SRC_PUBLIC, RFC 5014, 11): a temporary address is another every
// day and not the one that others know us by.
const preferPublic = 2

// prepare binds a socket to the interface of the settings (SO_BINDTODEVICE,
// socket(7); it needs no privilege since Linux 5.7), and to our lasting address.
func (s *STUN) prepare(network, _ string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) {
		if network == "udp6" { // A preference only: it matters little if it is refused
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferPublic)
		}
		if s.Interface != "" {
			err = unix.BindToDevice(int(fd), s.Interface)
		}
	})
	return errors.Join(controlErr, err)
}

// exchange sends a binding request, again after each RTO, and returns the address in
// the first right answer. It passes over an answer that makes no sense. When ctx is
// done it closes conn.
func exchange(ctx context.Context, conn net.Conn, family netwatch.Family) (netip.Addr, error) {
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("making a binding request: %w", err)
	}
	q := stunmsg.Question{Conn: conn, Request: request, Check: func(answer *stun.Message) error {
		_, err := mapped(answer, family)
		return err
	}}
	answer, err := q.Ask(ctx)
	switch {
	case err != nil:
		return netip.Addr{}, err
	case answer.Type.Class == stun.ClassErrorResponse:
		return netip.Addr{}, refusal(answer)
	}
	return mapped(answer, family)
}

// mapped reads the XOR-MAPPED-ADDRESS of an answer. MAPPED-ADDRESS does not count:
// routers that meddle rewrite it (RFC 8489, 14.2).
func mapped(answer *stun.Message, family netwatch.Family) (netip.Addr, error) {
	addr, err := stunmsg.Address(answer, stun.AttrXORMappedAddress)
	if err == nil && netwatch.FamilyOf(addr) != family {
		err = fmt.Errorf("the XOR-MAPPED-ADDRESS of an answer is no %s address", family)
	}
	return addr, err
}

// errRefused says that a server sent an error response: its last word on a request.
var errRefused = errors.New("the server refused")

// refusal is errRefused with the reason that the server gave.
func refusal(m *stun.Message) error {
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(m); err != nil {
		return errRefused
	}
	return fmt.Errorf("%w: %q", errRefused, code.String())
}
