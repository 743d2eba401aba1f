package sources

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pion/stun/v2"
	"golang.org/x/sys/unix"

	"netwatch"
)

// A Server is a STUN server as host:port or [address]:port.
type Server string

// defaultPort is STUN's over UDP (RFC 8489, 18.6).
const defaultPort = "3478"

// UnmarshalText takes "host", "host:port", "address" or "[address]:port".
func (s *Server) UnmarshalText(text []byte) error {
	host, port := string(text), defaultPort
	if bare, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(bare, "]") {
		host = strings.TrimSuffix(bare, "]")
	} else if _, err := netip.ParseAddr(host); err != nil && strings.Contains(host, ":") {
		if host, port, err = net.SplitHostPort(host); err != nil {
			host = "" // it cannot be right
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	addr, notLiteral := netip.ParseAddr(host)
	if err != nil || n == 0 || addr.Zone() != "" || notLiteral != nil && !isHostName(host) {
		return fmt.Errorf("%q is not a server: host or host:port, as in \"stun.example.org:3478\" or \"[2001:db8::1]:3478\"", text)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if notLiteral == nil {
		host = addr.Unmap().String() // one address, one text
	}
	*s = Server(net.JoinHostPort(host, strconv.FormatUint(n, 10)))
	return nil
}

// isHostName says that a text can be looked up: labels of letters, digits,
// hyphens and underscores, the last not a number (RFC 1123, 2.1).
func isHostName(text string) bool {
	labels := strings.Split(strings.TrimSuffix(text, "."), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	return len(text) <= 253 && strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func notInLabel(c rune) bool {
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	return !letter && (c < '0' || c > '9') && c != '-' && c != '_'
}

// speaks says that a server can be asked for a family: one that is given by its
// address only for its own.
func (s Server) speaks(family netwatch.Family) bool {
	literal, err := netip.ParseAddrPort(string(s))
	return err != nil || netwatch.FamilyOf(literal.Addr()) == family
}

// host is whom a server is known to be without looking it up: its name, or the host
// that has its address.
func (s Server) host() string {
	if literal, err := netip.ParseAddrPort(string(s)); err == nil {
		return hostOf(literal.Addr()).String()
	}
	host, _, _ := net.SplitHostPort(string(s)) // it was parsed
	return host
}

// lookup is one of the server's addresses of a family, looked up anew each time.
func (s Server) lookup(ctx context.Context, family netwatch.Family) (netip.AddrPort, error) {
	if literal, err := netip.ParseAddrPort(string(s)); err == nil {
		return literal, nil
	}
	host, port, err := net.SplitHostPort(string(s))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking up a server: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking up a server: %w", err)
	}
	network := "ip4"
	if family == netwatch.IPv6 {
		network = "ip6"
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking up %s: %w", host, err)
	}
	one := addrs[rand.N(len(addrs))].Unmap() //nolint:gosec // any will do: another one next time if it is dead
	return netip.AddrPortFrom(one, uint16(n)), nil
}

// An Answer is what one server said about one family.
type Answer struct {
	Server Server
	Family netwatch.Family
	// Asked is the address that the server's name stood for; invalid when it
	// could not be looked up.
	Asked netip.AddrPort
	// Address is what it said: the address of this machine as the server sees
	// it. It counts when Err is nil.
	Address netip.Addr
	// RTT is the time from the first request to the answer.
	RTT time.Duration
	Err error
}

// query asks one server, from a fresh socket and so a fresh port: where a router
// rewrites to a fixed address, a port that is kept in use keeps its mapping, and
// with it the old public address, for ever.
func (s *STUN) query(ctx context.Context, server Server, family netwatch.Family) Answer {
	a := Answer{Server: server, Family: family}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	if a.Asked, a.Err = server.lookup(ctx, family); a.Err != nil {
		return a
	}
	conn, err := s.dial(ctx, a.Asked)
	if err != nil {
		a.Err = err
		return a
	}
	defer conn.Close()
	began := time.Now()
	a.Address, a.Err = exchange(ctx, conn, family)
	a.RTT = time.Since(began)
	if a.Err == nil {
		a.Err = netwatch.CheckPublic(a.Address, s.Accept)
	}
	return a
}

// dial makes a socket that the kernel connects to the server, so that it gets
// packets from nobody else and hears at once of a port that nobody listens on.
func (s *STUN) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: s.prepare}
	conn, err := d.DialContext(ctx, "udp", to.String())
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, netwatch.WithHint(fmt.Errorf("asking over interface %s: %w", s.Interface, err), "see whether the interface is up: ip link show "+s.Interface)
	case err != nil:
		return nil, fmt.Errorf("asking %s: %w", to, bare(err))
	}
	return conn, nil
}

// bare is err without the addresses and ports that a net.OpError adds: another
// port each time makes the same trouble look new.
func bare(err error) error {
	if op := new(net.OpError); errors.As(err, &op) {
		return op.Err
	}
	return err
}

// preferPublic asks for a source address that is not a temporary one
// (IPV6_PREFER_SRC_PUBLIC, RFC 5014, 11): a temporary address is another every
// day and not the one that others know us by.
const preferPublic = 2

// prepare keeps a socket to the interface of the settings (SO_BINDTODEVICE,
// socket(7); needs no privilege since Linux 5.7), and to our lasting address.
func (s *STUN) prepare(network, _ string, c syscall.RawConn) error {
	var err error
	controlErr := c.Control(func(fd uintptr) {
		if network == "udp6" { // a preference only: it matters little if it is refused
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferPublic)
		}
		if s.Interface != "" {
			err = unix.BindToDevice(int(fd), s.Interface)
		}
	})
	return errors.Join(controlErr, err)
}

// firstRTO is how long a request waits for its answer before it is sent again;
// then twice as long, as long as the timeout lasts (RFC 8489, 6.2.1).
const firstRTO = 500 * time.Millisecond

// maxPacket is more than any answer to a binding request has.
const maxPacket = 1500

// exchange sends a binding request, again after each RTO, and returns the
// address of the first right answer. When ctx is done it closes conn.
func exchange(ctx context.Context, conn net.Conn, family netwatch.Family) (netip.Addr, error) {
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("making a binding request: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	l := listener{conn: conn, id: request.TransactionID, family: family}
	for rto := firstRTO; ; rto *= 2 {
		addr, err := l.send(request.Raw, rto)
		switch {
		case err == nil:
			return addr, nil
		case ctx.Err() != nil:
			return netip.Addr{}, l.silence(ctx)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return netip.Addr{}, err
		}
	}
}

// A listener waits for the answer to one request.
type listener struct {
	conn   net.Conn
	id     [stun.TransactionIDSize]byte
	family netwatch.Family
	// wrong is why the last packet was passed over.
	wrong error
}

// send sends the request and waits for its answer.
func (l *listener) send(request []byte, wait time.Duration) (netip.Addr, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return netip.Addr{}, fmt.Errorf("setting a deadline: %w", err)
	}
	if _, err := l.conn.Write(request); err != nil {
		return netip.Addr{}, fmt.Errorf("sending a binding request: %w", bare(err))
	}
	return l.listen()
}

// listen returns the first right answer. What is no answer to our request is
// passed over, and so is one that makes no sense: whoever can send us packets
// must not be able to end the wait.
func (l *listener) listen() (netip.Addr, error) {
	packet := make([]byte, maxPacket)
	for {
		n, err := l.conn.Read(packet)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("waiting for an answer: %w", bare(err))
		}
		addr, err := decode(packet[:n], l.id, l.family)
		if err == nil || errors.Is(err, errRefused) {
			return addr, err
		}
		l.wrong = err
	}
}

// silence says that there was no right answer in time.
func (l *listener) silence(ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case !errors.Is(cause, context.DeadlineExceeded):
		return fmt.Errorf("waiting for an answer: %w", cause)
	case l.wrong != nil:
		return fmt.Errorf("no right answer in time; passed over: %w", l.wrong)
	}
	return errors.New("no answer in time")
}

// The parts of XOR-MAPPED-ADDRESS (RFC 8489, 14.2): a zero byte, the family, the
// port and the address.
const (
	familyIPv4 = 1
	familyIPv6 = 2
	lengthIPv4 = 4 + 4
	lengthIPv6 = 4 + 16
)

// errRefused is an error response: the server's last word on a request.
var errRefused = errors.New("the server refused")

// decode is the address in the answer to the request with this id. An error
// response with this id is errRefused; every other error is of a packet that is
// no answer. MAPPED-ADDRESS does not count: routers that meddle rewrite it
// (RFC 8489, 14.2).
func decode(packet []byte, id [stun.TransactionIDSize]byte, family netwatch.Family) (netip.Addr, error) {
	var none netip.Addr
	m := &stun.Message{Raw: packet}
	if err := m.Decode(); err != nil {
		return none, fmt.Errorf("a packet is no STUN message: %w", err)
	}
	if m.TransactionID != id {
		return none, errors.New("a message has another transaction id")
	}
	switch binary.BigEndian.Uint16(packet) { // the codec overlooks its two highest bits
	case stun.BindingSuccess.Value():
		return mapped(m, family)
	case stun.BindingError.Value():
		return none, refusal(m)
	}
	return none, fmt.Errorf("a message is a %s", m.Type)
}

// mapped is the XOR-MAPPED-ADDRESS of a message. Its length is looked at before
// the codec reads it: the codec panics on a short one or takes it for a shorter
// address (CVE-2026-54909).
func mapped(m *stun.Message, family netwatch.Family) (netip.Addr, error) {
	value, err := m.Get(stun.AttrXORMappedAddress)
	if err != nil {
		return netip.Addr{}, errors.New("an answer has no XOR-MAPPED-ADDRESS")
	}
	length, number := lengthIPv4, byte(familyIPv4)
	if family == netwatch.IPv6 {
		length, number = lengthIPv6, familyIPv6
	}
	if len(value) != length || value[1] != number {
		return netip.Addr{}, fmt.Errorf("the XOR-MAPPED-ADDRESS of an answer is no %s address", family)
	}
	var found stun.XORMappedAddress
	if err := found.GetFrom(m); err != nil {
		return netip.Addr{}, fmt.Errorf("reading the XOR-MAPPED-ADDRESS of an answer: %w", err)
	}
	addr, ok := netip.AddrFromSlice(found.IP)
	if !ok {
		return netip.Addr{}, fmt.Errorf("the XOR-MAPPED-ADDRESS of an answer has %d bytes of address", len(found.IP))
	}
	return addr, nil
}

// refusal is errRefused with the server's reason.
func refusal(m *stun.Message) error {
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(m); err != nil {
		return errRefused
	}
	return fmt.Errorf("%w: %q", errRefused, code.String())
}
