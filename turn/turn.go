// Package turn asks a TURN server (RFC 8656) for a relayed address, as a caller does.
// It knows nothing of the file that the server was started with.
package turn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/stun/v2"

	"netwatch"
	"netwatch/servers"
	"netwatch/stunmsg"
)

const (
	// refusedPause is how long to wait before asking again when nobody listened at the
	// port: a server that was just started listens soon, coturn after 130 ms
	// (measured).
	refusedPause = 50 * time.Millisecond
	// goodbye is how long to wait for a server to end an allocation.
	goodbye = 500 * time.Millisecond
)

// ErrOpen says that the server is an open relay.
var ErrOpen = errors.New("it lends relays to everyone who asks, without credentials")

// ErrNobody says that the server wants credentials and none are known.
var ErrNobody = errors.New("it wants credentials that are not in its file")

// Another is a server of another realm than the one that was to be asked.
type Another struct{ Realm string }

// Error is the realm, fit for a terminal.
func (e *Another) Error() string {
	return fmt.Sprintf("another server answers there, of realm %q", netwatch.Printable(e.Realm))
}

// An Ask is a question for a relayed address.
type Ask struct {
	To   netip.AddrPort
	Over servers.Transport
	// Realm is that of the server; empty is any.
	Realm string
	// Who asks; nil is nobody whom it knows.
	Who *servers.Credential
	// Family is what is asked for. Callers ask for none, and get what the server
	// gives by itself.
	Family netwatch.Family
}

// Allocate asks for a relayed address, first without credentials, which must be
// refused, and then with them. Each takes a socket of its own: it can have one
// allocation (RFC 8656, 7.2). Over TLS the certificate comes with it, which nobody has
// checked. A socket whose port had another's allocation that has not ended yet is no use, and
// another is taken (RFC 8656, 7.4).
func Allocate(ctx context.Context, a Ask) (addr netip.Addr, leaf *x509.Certificate, err error) {
	for range freshSockets {
		addr, leaf, err = allocateOnce(ctx, a)
		if !Refused(err, stun.CodeAllocMismatch) {
			break
		}
	}
	return addr, leaf, err
}

// freshSockets is how many sockets are tried: two in a row that were used are rare.
const freshSockets = 3

func allocateOnce(ctx context.Context, a Ask) (netip.Addr, *x509.Certificate, error) {
	r, err := dial(ctx, a.To, a.Over)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	defer r.Close()
	addr, err := r.allocateAs(ctx, a)
	return addr, r.leaf, err
}

// allocateAs asks without credentials and then with them.
func (r *relay) allocateAs(ctx context.Context, a Ask) (netip.Addr, error) {
	if err := r.challenged(ctx, a); err != nil {
		return netip.Addr{}, err
	}
	return r.allocate(ctx, a.Who, a.Family)
}

// challenged asks without credentials, which must be refused. It says why not to ask with
// them.
func (r *relay) challenged(ctx context.Context, a Ask) error {
	switch _, err := r.allocate(ctx, nil, a.Family); {
	case err == nil:
		return ErrOpen
	case !Refused(err, stun.CodeUnauthorized):
		return err
	case a.Realm != "" && a.Realm != r.realm:
		return &Another{r.realm}
	case a.Who == nil:
		return ErrNobody
	}
	return nil
}

// A relay is the TURN server that one socket talks to.
type relay struct {
	conn   net.Conn
	stream bool
	// pause is how long to wait before asking again when nobody listened at the port; if it
	// is zero, that is the answer.
	pause time.Duration
	// leaf is the certificate that it has shown over TLS.
	leaf *x509.Certificate
	// challenge is what the newest refusal asks for: realm and nonce.
	challenge []stun.Setter
	realm     string
}

// An Error is an error response (RFC 8489, 14.8; RFC 8656, 19).
type Error struct {
	Code stun.ErrorCode
	// Reason is its words, fit for a terminal.
	Reason string
}

// Error is the server's own words.
func (e *Error) Error() string { return fmt.Sprintf("it answered %d %s", e.Code, e.Reason) }

// Refused says whether err is an error response with one of the codes.
func Refused(err error, codes ...stun.ErrorCode) bool {
	refused := new(Error)
	return errors.As(err, &refused) && slices.Contains(codes, refused.Code)
}

// dial makes a socket that gets packets from the server alone, or a stream. The name in
// a certificate is not checked: the server is asked at an address, and callers by names
// that are not known here.
func dial(ctx context.Context, to netip.AddrPort, over servers.Transport) (*relay, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network(over), to.String())
	if err != nil {
		return nil, stunmsg.Bare(err)
	}
	r, err := speak(ctx, conn, over, "")
	if err == nil && !r.stream {
		r.pause = refusedPause // A stream that broke stays so
	}
	return r, err
}

// network is what a transport is called where sockets are made.
func network(over servers.Transport) string {
	if over == servers.UDP {
		return "udp"
	}
	return "tcp"
}

// speak makes a socket one that speaks a transport, over TLS with a server of this name
// among others that are behind the same port. If it cannot, the socket is closed.
func speak(ctx context.Context, conn net.Conn, over servers.Transport, name string) (*relay, error) {
	r := &relay{conn: conn, stream: over != servers.UDP}
	if over != servers.TLS {
		return r, nil
	}
	secured := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // Said above
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("shaking hands for TLS: %w", stunmsg.Bare(err))
	}
	r.conn, r.leaf = secured, secured.ConnectionState().PeerCertificates[0]
	return r, nil
}

// Close closes the socket.
func (r *relay) Close() error { return r.conn.Close() }

// integrity signs requests with the long-term key of RFC 8489, 9.2.2.
func integrity(who *servers.Credential, realm string) stun.MessageIntegrity {
	if who.Key != nil {
		return who.Key
	}
	return stun.NewLongTermIntegrity(who.Name, realm, who.Password)
}

// staleNonces is how many times in a row a nonce may be stale.
const staleNonces = 3

// ask sends a request in the name of who, or without a name, and remembers the
// challenge of a refusal. If the nonce is stale it asks again with the new one (RFC
// 8489, 9.2.5).
func (r *relay) ask(ctx context.Context, who *servers.Credential, setters ...stun.Setter) (*stun.Message, error) {
	for stale := 1; ; stale++ {
		all := append([]stun.Setter{stun.TransactionID}, setters...)
		if who != nil {
			all = append(all, stun.NewUsername(who.Name))
			all = append(all, r.challenge...)
			all = append(all, integrity(who, r.realm))
		}
		request, err := stun.Build(all...)
		if err != nil {
			return nil, fmt.Errorf("making a request: %w", err)
		}
		q := stunmsg.Question{Conn: r.conn, Request: request, Stream: r.stream, Pause: r.pause}
		answer, err := q.Ask(ctx)
		if err == nil {
			err = r.refusal(answer)
		}
		if !Refused(err, stun.CodeStaleNonce) || stale == staleNonces {
			return answer, err
		}
	}
}

// refusal makes an error of an error response, and remembers its challenge. Any other
// answer is nil.
func (r *relay) refusal(m *stun.Message) error {
	if m.Type.Class != stun.ClassErrorResponse {
		return nil
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(m); err != nil {
		return fmt.Errorf("reading an error response: %w", err)
	}
	var realm stun.Realm
	var nonce stun.Nonce
	if realm.GetFrom(m) == nil && nonce.GetFrom(m) == nil {
		r.realm, r.challenge = realm.String(), []stun.Setter{realm, nonce}
	}
	return &Error{code.Code, netwatch.Printable(strings.TrimRight(string(code.Reason), " \x00"))} // coturn adds a NUL
}

// The attributes of an allocation.
var (
	allocateRequest = stun.NewType(stun.MethodAllocate, stun.ClassRequest)
	refreshRequest  = stun.NewType(stun.MethodRefresh, stun.ClassRequest)
	// overUDP is REQUESTED-TRANSPORT for UDP (RFC 8656, 18.8).
	overUDP = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}
	// noLifetime ends an allocation (RFC 8656, 7.2).
	noLifetime = stun.RawAttribute{Type: stun.AttrLifetime, Value: []byte{0, 0, 0, 0}}
)

// The families of REQUESTED-ADDRESS-FAMILY (RFC 8656, 18.6) and of addresses.
var families = map[netwatch.Family]byte{netwatch.IPv4: 1, netwatch.IPv6: 2}

// allocate asks for a relayed address of a family, or of none, and gives it back at
// once.
func (r *relay) allocate(ctx context.Context, who *servers.Credential, family netwatch.Family) (netip.Addr, error) {
	answer, err := r.lend(ctx, who, family)
	if err != nil {
		return netip.Addr{}, err
	}
	r.free(ctx, who)
	addr, err := stunmsg.Address(answer, stun.AttrXORRelayedAddress)
	return addr.Unmap(), err
}

// lend asks for a relayed address of a family, or of none, and keeps it.
func (r *relay) lend(ctx context.Context, who *servers.Credential, family netwatch.Family) (*stun.Message, error) {
	setters := []stun.Setter{allocateRequest, overUDP}
	if family != "" {
		wanted := stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{families[family], 0, 0, 0}}
		setters = append(setters, wanted)
	}
	return r.ask(ctx, who, setters...)
}

// free gives back what was lent. Otherwise it ends by itself, in ten minutes.
func (r *relay) free(ctx context.Context, who *servers.Credential) {
	bye, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	_, _ = r.ask(bye, who, refreshRequest, noLifetime)
}
