package lab

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" // What coturn's REST credentials are made with.
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v2"
)

// The times of a caller. They are far shorter than what RFC 8489, section
// 6.2.1, tells a client on the internet, because here they are the resolution
// of a measurement.
const (
	// resend is after what time a request is sent again.
	resend = 10 * time.Millisecond
	// attempt is how long an allocation may take in all.
	attempt = 300 * time.Millisecond
	// pause is the least time from one attempt to the next.
	pause = 15 * time.Millisecond
)

// udpTransport is the value of REQUESTED-TRANSPORT for UDP (RFC 8656, 18.8).
var udpTransport = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}

// A Caller asks a TURN server for relayed transport addresses.
type Caller struct {
	// Namespace is where the caller is; empty is the present network namespace.
	Namespace string
	// Secret is the server's static-auth-secret; when empty the caller does not
	// authenticate itself.
	Secret string
	// Username and Password are a credential that was made from the secret for
	// the caller, who then needs none.
	Username, Password string
	// Over is by what the caller asks: UDP unless it says.
	Over Transport
	// Resend is after what time a request over UDP is sent again: 10 ms unless it
	// says. A server under load may take the second for another caller's.
	Resend time.Duration
}

// A Transport is by what a caller reaches a TURN server (RFC 8656, section 2.1).
type Transport string

// The transports of a caller.
const (
	UDP Transport = ""
	TCP Transport = "tcp"
	// TLS is TLS over TCP; whoever has signed the certificate, it will do.
	TLS Transport = "tls"
)

// An Allocation is a relayed transport address that a TURN server lends.
type Allocation struct {
	// Relayed is the XOR-RELAYED-ADDRESS (RFC 8656, section 18.5).
	Relayed netip.AddrPort

	conn   net.Conn
	auth   []stun.Setter
	resend time.Duration
}

// A TurnError is an error response of a TURN server.
type TurnError struct {
	// Code is a code of RFC 8489, section 14.8, or RFC 8656, section 19:
	// 401 unauthenticated, 437 allocation mismatch, 438 stale nonce.
	Code stun.ErrorCode
	// Reason is the server's own text.
	Reason string
}

// Error is the code and the reason.
func (e *TurnError) Error() string {
	return fmt.Sprintf("the TURN server said %d %s", e.Code, e.Reason)
}

// Allocate asks the server at addr for a relayed address of a family, 4 or 6, or
// of none, which is 0 and what most callers send. What the server refuses is a
// *TurnError. The allocation is to be closed, for a server has only so many ports.
func (c Caller) Allocate(ctx context.Context, addr netip.AddrPort, family int) (*Allocation, error) {
	conn, err := c.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	a := &Allocation{conn: conn, resend: cmp.Or(c.Resend, resend)}
	if a.Relayed, err = c.allocate(ctx, a, family); err != nil {
		_ = a.Close() // The error before it counts, and an answer may have been lost.
		return nil, fmt.Errorf("allocating at %s: %w", addr, err)
	}
	return a, nil
}

// dial connects to the server by the caller's transport.
func (c Caller) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	if c.Over == UDP {
		return Dial(c.Namespace, addr)
	}
	conn, err := dialTCP(ctx, c.Namespace, addr)
	if err != nil || c.Over == TCP {
		return &stream{Conn: conn}, err
	}
	client, err := handshake(ctx, conn)
	return &stream{Conn: client}, err
}

// allocate asks twice: for the realm and a nonce, which come with the refusal
// 401, and with them for the address (RFC 8489, section 9.2).
func (c Caller) allocate(ctx context.Context, a *Allocation, family int) (netip.AddrPort, error) {
	wants := []stun.Setter{stun.NewType(stun.MethodAllocate, stun.ClassRequest), udpTransport}
	if family != 0 {
		wants = append(wants, requestedFamily(family))
	}
	answer, err := exchange(ctx, a.conn, a.resend, wants...)
	var refused *TurnError
	if c.Secret+c.Username != "" && errors.As(err, &refused) && refused.Code == stun.CodeUnauthorized {
		if a.auth, err = c.credential(answer); err != nil {
			return netip.AddrPort{}, err
		}
		answer, err = exchange(ctx, a.conn, a.resend, append(wants, a.auth...)...)
	}
	if err != nil {
		return netip.AddrPort{}, err
	}
	return address(answer, stun.AttrXORRelayedAddress)
}

// requestedFamily is REQUESTED-ADDRESS-FAMILY (RFC 8656, section 18.6).
func requestedFamily(family int) stun.Setter {
	value := []byte{1, 0, 0, 0}
	if family == 6 {
		value[0] = 2
	}
	return stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: value}
}

// credential authenticates a request (RFC 8489, section 9.2).
func (c Caller) credential(refusal *stun.Message) ([]stun.Setter, error) {
	var realm stun.Realm
	var nonce stun.Nonce
	if err := errors.Join(realm.GetFrom(refusal), nonce.GetFrom(refusal)); err != nil {
		return nil, fmt.Errorf("reading the realm and nonce: %w", err)
	}
	name, password := c.Username, c.Password
	if name == "" {
		name, password = restCredential(c.Secret)
	}
	key := stun.NewLongTermIntegrity(name, realm.String(), password)
	return []stun.Setter{stun.NewUsername(name), realm, nonce, key}, nil
}

// credentials counts them, because no two may share a user-quota.
var credentials atomic.Int64

// restCredential is coturn's use-auth-secret: the name is when it expires, in
// Unix seconds, with whose it is, and the password a keyed hash of the name
// (turnserver(1)).
func restCredential(secret string) (name, password string) {
	name = fmt.Sprintf("%d:caller%d", time.Now().Add(time.Hour).Unix(), credentials.Add(1))
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(name)) // A hash never returns an error.
	return name, base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// address reads an attribute of the form of XOR-MAPPED-ADDRESS. The length is
// checked first, because stun/v2 decodes an IPv4 address out of five bytes and
// panics on none.
func address(answer *stun.Message, attribute stun.AttrType) (netip.AddrPort, error) {
	raw, err := answer.Get(attribute)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading %s: %w", attribute, err)
	}
	if len(raw) != 8 && len(raw) != 20 {
		return netip.AddrPort{}, fmt.Errorf("reading %s: it has %d bytes", attribute, len(raw))
	}
	var a stun.XORMappedAddress
	if err := a.GetFromAs(answer, attribute); err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading %s: %w", attribute, err)
	}
	addr, _ := netip.AddrFromSlice(a.IP)                 // 4 or 16 bytes, as just decoded.
	return netip.AddrPortFrom(addr, uint16(a.Port)), nil // Two bytes, as just decoded.
}

// Refresh keeps the allocation for another ten minutes, as a call in progress
// does. A server that has been restarted answers 438 or 437.
func (a *Allocation) Refresh(ctx context.Context) error { return a.refresh(ctx, 10*time.Minute) }

// refresh sends a Refresh request (RFC 8656, section 7). A lifetime of zero ends
// the allocation.
func (a *Allocation) refresh(ctx context.Context, lifetime time.Duration) error {
	value := binary.BigEndian.AppendUint32(nil, uint32(lifetime/time.Second)) // Ten minutes, or none.
	request := []stun.Setter{
		stun.NewType(stun.MethodRefresh, stun.ClassRequest),
		stun.RawAttribute{Type: stun.AttrLifetime, Value: value},
	}
	if _, err := exchange(ctx, a.conn, a.resend, append(request, a.auth...)...); err != nil {
		return fmt.Errorf("refreshing an allocation: %w", err)
	}
	return nil
}

// Permit asks the server to let a peer send to the relayed address (RFC 8656,
// section 9). One that denied-peer-ip forbids is refused with 403.
func (a *Allocation) Permit(ctx context.Context, peer netip.Addr) error {
	request := []stun.Setter{
		stun.NewType(stun.MethodCreatePermission, stun.ClassRequest),
		peerAddress{IP: peer.AsSlice(), Port: 1}, // The port of a permission says nothing.
	}
	if _, err := exchange(ctx, a.conn, a.resend, append(request, a.auth...)...); err != nil {
		return fmt.Errorf("permitting %s: %w", peer, err)
	}
	return nil
}

// peerAddress is XOR-PEER-ADDRESS (RFC 8656, section 18.3).
type peerAddress stun.XORMappedAddress

// AddTo puts it into a message.
func (p peerAddress) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress(p).AddToAs(m, stun.AttrXORPeerAddress)
}

// Hears has a peer, whose address is permitted, send to the relayed address until
// that comes out at the caller's, in a Data indication: what a call is about.
func (a *Allocation) Hears(ctx context.Context, peer *net.UDPConn) error {
	to, word := net.UDPAddrFromAddrPort(a.Relayed), rand.Text()
	_, err := ask(ctx, a.conn, a.resend, func() { _, _ = peer.WriteTo([]byte(word), to) }, func(m *stun.Message) bool {
		data, err := m.Get(stun.AttrData)
		return err == nil && string(data) == word
	})
	if err != nil {
		return fmt.Errorf("waiting for what was sent to %s: %w", a.Relayed, err)
	}
	return nil
}

// Close gives the relayed address back, if the server is still there to take
// it, and closes the socket.
func (a *Allocation) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*a.resend)
	defer cancel()
	if a.auth != nil || a.Relayed.IsValid() {
		_ = a.refresh(ctx, 0) // A server that was restarted knows nothing of it.
	}
	return a.conn.Close()
}

// WaitAllocate allocates again and again until the relayed address is want,
// and returns when it first was. The error of a wait in vain is the last
// attempt's.
func (c Caller) WaitAllocate(ctx context.Context, addr netip.AddrPort, want netip.Addr) (time.Time, error) {
	family := 4
	if want.Is6() {
		family = 6
	}
	err := until(ctx, pause, func() error {
		try, cancel := context.WithTimeout(ctx, attempt)
		defer cancel()
		a, err := c.Allocate(try, addr, family)
		if err != nil {
			return err
		}
		got := a.Relayed.Addr()
		_ = a.Close() // The allocation has told what it had to.
		if got != want {
			return fmt.Errorf("the relayed address is %s", got)
		}
		return nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("waiting for an allocation at %s: %w", want, err)
	}
	return time.Now(), nil
}

// exchange sends a request until its response is there or ctx is done. An
// error response is a *TurnError, and the message comes with it.
func exchange(ctx context.Context, conn net.Conn, every time.Duration, setters ...stun.Setter) (*stun.Message, error) {
	request, err := stun.Build(append([]stun.Setter{stun.TransactionID}, setters...)...)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	wanted := func(m *stun.Message) bool { return m.TransactionID == request.TransactionID }
	answer, err := ask(ctx, conn, every, func() { _, _ = conn.Write(request.Raw) }, wanted) // What is lost is sent again.
	if err != nil {
		return nil, err
	}
	return answer, refusal(answer)
}

// ask sends something again and again until a message comes that is wanted. Over a
// stream it is sent once, for nothing is lost there, and the stream may end.
func ask(ctx context.Context, conn net.Conn, every time.Duration, send func(),
	wanted func(*stun.Message) bool,
) (*stun.Message, error) {
	buf := make([]byte, 1500)
	_, once := conn.(*stream)
	for n := 0; ctx.Err() == nil; n++ {
		if n == 0 || !once {
			send()
		}
		m, err := receive(ctx, conn, every, buf, wanted)
		if m != nil || once && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return m, err
		}
	}
	return nil, fmt.Errorf("no answer: %w", context.Cause(ctx))
}

// receive reads until a message that is wanted is there, or it is time to send
// again: then it returns nil, and why.
func receive(ctx context.Context, conn net.Conn, every time.Duration, buf []byte,
	wanted func(*stun.Message) bool,
) (*stun.Message, error) {
	deadline := time.Now().Add(every)
	_ = conn.SetReadDeadline(deadline) // Fails on a closed socket alone, which the read tells.
	for {
		n, err := conn.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline) {
			// Refused: the server is down at this moment. Without a pause this
			// would send as fast as it can.
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(deadline)):
			}
		}
		if err != nil {
			return nil, err
		}
		m := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
		if m.Decode() == nil && wanted(m) {
			return m, nil
		}
	}
}

// refusal is the error in an error response.
func refusal(m *stun.Message) error {
	if m.Type.Class != stun.ClassErrorResponse {
		return nil
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(m); err != nil {
		return fmt.Errorf("reading an error response: %w", err)
	}
	return &TurnError{Code: code.Code, Reason: string(code.Reason)}
}
