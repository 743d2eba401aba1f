package sources

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"netwatch/stunmsg"
)

// The ports of NAT-PMP and PCP (RFC 6886, 3; RFC 6887, 19.2): routers listen at one and
// announce to the other, from the first.
const (
	natpmpPort   = 5351
	announcePort = 5350
)

// patience is how long a router may take to answer. It is on our own network: real
// ones take less than 10 ms.
const routerPatience = 250 * time.Millisecond

// natpmp is what the protocol is called where netwatch speaks of it.
const natpmp = "nat-pmp"

// A saying is what a router said once.
type saying struct {
	// address is what it says its own is; invalid if it said that it has none, or
	// nothing about it.
	address netip.Addr
	// bare says that the saying is about no address at all: a PCP ANNOUNCE.
	bare bool
	// epoch is how many seconds ago the router began to count, which it does anew when
	// it restarts.
	epoch uint32
	// ageless says that it told nothing about that.
	ageless bool
	// protocol is that of an answer.
	protocol string
}

// The lengths of what is sent and heard.
const (
	natpmpAnswer = 12 // RFC 6886, 3.2
	pcpHeader    = 24 // RFC 6887, 7.2
)

// externalAddress is the question for the router's address (RFC 6886, 3.2).
var externalAddress = []byte{0, 0}

var (
	errNoWord = errors.New("it is no answer of NAT-PMP")
	// errUnwilling says that a router speaks NAT-PMP and will not tell.
	errUnwilling = errors.New("the router speaks NAT-PMP and refuses to tell its address")
)

// The result codes of an answer (RFC 6886, 3.5).
const (
	natpmpSuccess        = 0
	natpmpUnsupported    = 1
	natpmpRefused        = 2
	natpmpNetworkFailure = 3
	natpmpOutOfResources = 4
	natpmpNoSuchOpcode   = 5
)

// readAnswer reads the answer to externalAddress, which is also what is announced.
// Anything that is not one to the byte is errNoWord.
func readAnswer(b []byte) (saying, error) {
	if len(b) != natpmpAnswer || b[0] != 0 || b[1] != 128 {
		return saying{}, errNoWord
	}
	w := saying{epoch: binary.BigEndian.Uint32(b[4:])}
	switch binary.BigEndian.Uint16(b[2:]) {
	case natpmpSuccess:
		if a := netip.AddrFrom4([4]byte(b[8:])); !a.IsUnspecified() {
			w.address = a
		}
		return w, nil
	case natpmpNetworkFailure:
		return w, nil
	case natpmpUnsupported, natpmpRefused, natpmpOutOfResources, natpmpNoSuchOpcode:
		return saying{}, errUnwilling
	}
	return saying{}, errNoWord
}

// readAnnouncement reads what a router announces: its address by NAT-PMP, or by PCP
// that it has begun anew (RFC 6887, 14.1), which has no address.
func readAnnouncement(b []byte) (saying, error) {
	if len(b) == pcpHeader && b[0] == 2 && b[1] == 0x80 && b[3] == 0 {
		return saying{bare: true, epoch: binary.BigEndian.Uint32(b[8:])}, nil
	}
	return readAnswer(b)
}

// askNATPMP asks a gateway for its address, once. Each question has a socket of its
// own, connected to the gateway: what others send is not heard.
func askNATPMP(ctx context.Context, to uplink) (saying, error) {
	d := net.Dialer{Timeout: routerPatience, Control: to.bind}
	conn, err := d.DialContext(ctx, "udp4", netip.AddrPortFrom(to.gateway, natpmpPort).String())
	if err != nil {
		return saying{}, fmt.Errorf("asking %s: %w", to.gateway, stunmsg.Bare(err))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(routerPatience)); err != nil {
		return saying{}, fmt.Errorf("asking %s: %w", to.gateway, stunmsg.Bare(err))
	}
	if _, err := conn.Write(externalAddress); err != nil {
		return saying{}, fmt.Errorf("asking %s: %w", to.gateway, stunmsg.Bare(err))
	}
	b := make([]byte, natpmpAnswer+1)
	n, err := conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errors.New("no answer in time")
	}
	if err != nil {
		return saying{}, fmt.Errorf("asking %s: %w", to.gateway, stunmsg.Bare(err))
	}
	return readAnswer(b[:n])
}

// bind keeps a socket to the interface at which the gateway is.
func (u uplink) bind(_, _ string, c syscall.RawConn) error {
	if u.link == "" {
		return nil
	}
	var err error
	controlErr := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), u.link) })
	return errors.Join(controlErr, err)
}
