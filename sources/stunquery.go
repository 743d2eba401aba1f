package sources

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/pion/stun/v2"
	"golang.org/x/sys/unix"

	"netwatch"
)

// An Answer is what one server said about one family.
type Answer struct {
	Server Server
	Family netwatch.Family
	// Asked is the address that the server's name stood for; invalid when it
	// could not be looked up.
	Asked netip.AddrPort
	// Address is what it said: the address of this machine as the server sees
	// it. Valid when Err is nil.
	Address netip.Addr
	// RTT is the time from the first request to the answer.
	RTT time.Duration
	Err error
}

// retransmission is the initial RTO of RFC 8489, 6.2.1; it doubles.
const retransmission = 500 * time.Millisecond

// maxPacket is more than any answer to a binding request has.
const maxPacket = 1500

// query asks one server once, from a fresh socket and so a fresh port: a NAT
// may give a port that is kept in use its old public address for ever.
func (s *STUN) query(ctx context.Context, server Server, family netwatch.Family) Answer {
	a := Answer{Server: server, Family: family}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	conn, err := s.dial(ctx, server, family)
	if err != nil {
		a.Err = err
		return a
	}
	defer conn.Close() //nolint:errcheck // nothing was written that could be lost
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	a.Asked = conn.RemoteAddr().(*net.UDPAddr).AddrPort()
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
func (s *STUN) dial(ctx context.Context, server Server, family netwatch.Family) (net.Conn, error) {
	addr, err := server.lookup(ctx, family)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Control: s.bind}
	conn, err := d.DialContext(ctx, "udp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", server, err)
	}
	return conn, nil
}

// bind keeps a socket to the interface of the settings (SO_BINDTODEVICE,
// socket(7); needs no privilege since Linux 5.7).
func (s *STUN) bind(_, _ string, c syscall.RawConn) error {
	if s.Interface == "" {
		return nil
	}
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), s.Interface) }); e != nil {
		return e
	}
	return err
}

// exchange sends a binding request, again after each RTO, and returns the
// address of the first right answer. What is no right answer is passed over:
// whoever can send us packets must not be able to end the wait.
func exchange(ctx context.Context, conn net.Conn, family netwatch.Family) (netip.Addr, error) {
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("making a request: %w", err)
	}
	stop := resend(ctx, conn, request.Raw)
	defer stop()
	packet := make([]byte, maxPacket)
	for wrong := error(nil); ; {
		n, err := conn.Read(packet)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return netip.Addr{}, cmp.Or(wrong, errors.New("no answer"))
		case err != nil:
			return netip.Addr{}, err
		}
		addr, err := decode(packet[:n], request.TransactionID, family)
		if err == nil {
			return addr, nil
		}
		wrong = err
	}
}

// resend sends the request now and again after each RTO, until it is stopped.
func resend(ctx context.Context, conn net.Conn, request []byte) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		for rto := retransmission; ; rto *= 2 {
			_, _ = conn.Write(request) // the reader hears of what goes wrong
			select {
			case <-time.After(rto):
			case <-ctx.Done():
				return
			}
		}
	}()
	return stop
}

// The parts of XOR-MAPPED-ADDRESS (RFC 8489, 14.2): a zero byte, the family, the
// port and the address.
const (
	familyIPv4 = 1
	familyIPv6 = 2
	lengthIPv4 = 4 + 4
	lengthIPv6 = 4 + 16
)

// decode is the address in an answer to our request. The length of the
// attribute is looked at first, because the codec reads a short one beyond its
// end or as a shorter address (CVE-2026-54909).
func decode(packet []byte, id [stun.TransactionIDSize]byte, family netwatch.Family) (netip.Addr, error) {
	var none netip.Addr
	m := &stun.Message{Raw: packet}
	if err := m.Decode(); err != nil {
		return none, fmt.Errorf("its answer is no STUN message: %w", err)
	}
	if m.TransactionID != id {
		return none, errors.New("its answer has another transaction id")
	}
	if m.Type == stun.BindingError {
		return none, fmt.Errorf("it refused: %w", refusal(m))
	}
	if m.Type != stun.BindingSuccess {
		return none, fmt.Errorf("its answer is a %s", m.Type)
	}
	value, err := m.Get(stun.AttrXORMappedAddress)
	if err != nil {
		return none, errors.New("its answer has no XOR-MAPPED-ADDRESS")
	}
	if !wellFormed(value, family) {
		return none, fmt.Errorf("the XOR-MAPPED-ADDRESS of its answer is not an %s address", family)
	}
	var mapped stun.XORMappedAddress
	if err := mapped.GetFrom(m); err != nil {
		return none, fmt.Errorf("reading the XOR-MAPPED-ADDRESS of its answer: %w", err)
	}
	addr, ok := netip.AddrFromSlice(mapped.IP)
	if !ok || netwatch.FamilyOf(addr) != family {
		return none, fmt.Errorf("the XOR-MAPPED-ADDRESS of its answer is not an %s address", family)
	}
	return addr, nil
}

// wellFormed says that an XOR-MAPPED-ADDRESS is as long as its family says, and
// of the family asked.
func wellFormed(value []byte, family netwatch.Family) bool {
	switch family {
	case netwatch.IPv4:
		return len(value) == lengthIPv4 && binary.BigEndian.Uint16(value) == familyIPv4
	case netwatch.IPv6:
		return len(value) == lengthIPv6 && binary.BigEndian.Uint16(value) == familyIPv6
	}
	return false
}

func refusal(m *stun.Message) error {
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(m); err != nil {
		return errors.New("without saying why")
	}
	return fmt.Errorf("%q", code.String())
}
