package actions

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/pion/stun/v2"

	"netwatch"
	"netwatch/servers"
)

// The times of a TURN request over UDP.
const (
	// turnRTO is how long a request waits for its answer before it is sent
	// again; then twice as long (RFC 8489, 6.2.1).
	turnRTO = 500 * time.Millisecond
	// turnRefused is the pause after nobody listened at the port: a server that
	// was just started listens soon, coturn after 130 ms (measured).
	turnRefused = 50 * time.Millisecond
	// turnGoodbye is how long a server may take to end an allocation.
	turnGoodbye = 500 * time.Millisecond
)

// turnPacket is more bytes than any answer to our requests has.
const turnPacket = 1500

// A relay is the TURN server that one socket talks to.
type relay struct {
	conn net.Conn
	// challenge is what the newest refusal asks for: realm and nonce.
	challenge []stun.Setter
	realm     string
}

// A turnError is an error response (RFC 8489, 14.8; RFC 8656, 19).
type turnError struct {
	code   stun.ErrorCode
	reason string
}

// Error is the server's own words.
func (e *turnError) Error() string { return fmt.Sprintf("it answered %d %s", e.code, e.reason) }

// refusedWith says whether err is an error response with one of the codes.
func refusedWith(err error, codes ...stun.ErrorCode) bool {
	refused := new(turnError)
	if !errors.As(err, &refused) {
		return false
	}
	for _, code := range codes {
		if refused.code == code {
			return true
		}
	}
	return false
}

// errSilence is that no answer came in time.
var errSilence = errors.New("no answer")

// dialRelay makes a socket that gets packets from the server alone.
func dialRelay(ctx context.Context, to netip.AddrPort) (*relay, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", to.String())
	if err != nil {
		return nil, bareErrno(err)
	}
	return &relay{conn: conn}, nil
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

// ask sends a request in the name of who, or of nobody, and remembers the
// challenge of a refusal. A stale nonce is replaced (RFC 8489, 9.2.5).
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
		answer, err := r.exchange(ctx, request)
		if err == nil {
			err = r.refusal(answer)
		}
		if !refusedWith(err, stun.CodeStaleNonce) || stale == staleNonces {
			return answer, err
		}
	}
}

// refusal is the error of an error response, whose challenge is remembered.
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
	return &turnError{code.Code, strings.TrimSpace(strings.Map(visible, string(code.Reason)))} // coturn adds a NUL
}

// exchange sends a request, again after each RTO, until its answer is there or
// ctx is done.
func (r *relay) exchange(ctx context.Context, request *stun.Message) (*stun.Message, error) {
	for rto := turnRTO; ; {
		answer, err := r.send(ctx, request, rto)
		switch {
		case err == nil:
			return answer, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			rto, err = 2*rto, errSilence
		default:
			pause(ctx, turnRefused)
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// send sends a request and reads until its answer is there or wait is over.
// Other packets are passed over.
func (r *relay) send(ctx context.Context, request *stun.Message, wait time.Duration) (*stun.Message, error) {
	until := time.Now().Add(wait)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	_ = r.conn.SetReadDeadline(until) // fails on a closed socket alone
	if _, err := r.conn.Write(request.Raw); err != nil {
		return nil, bareErrno(err)
	}
	packet := make([]byte, turnPacket)
	for {
		n, err := r.conn.Read(packet)
		if err != nil {
			return nil, bareErrno(err)
		}
		m := &stun.Message{Raw: packet[:n]}
		if m.Decode() == nil && m.TransactionID == request.TransactionID && m.Type.Method == request.Type.Method {
			return m, nil
		}
	}
}

// bareErrno is a network error without the addresses that Go adds to it.
func bareErrno(err error) error {
	if op := new(net.OpError); errors.As(err, &op) && !op.Timeout() {
		err = op.Err
	}
	if call := new(os.SyscallError); errors.As(err, &call) {
		return call.Err
	}
	return err
}

// pause waits, or less if ctx is done before.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
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
var turnFamily = map[netwatch.Family]byte{netwatch.IPv4: 1, netwatch.IPv6: 2}

// allocate asks for a relayed address of a family and gives it back at once.
func (r *relay) allocate(ctx context.Context, who *servers.Credential, family netwatch.Family) (netip.Addr, error) {
	wanted := stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{turnFamily[family], 0, 0, 0}}
	answer, err := r.ask(ctx, who, allocateRequest, overUDP, wanted)
	if err != nil {
		return netip.Addr{}, err
	}
	bye, cancel := context.WithTimeout(ctx, turnGoodbye)
	defer cancel()
	_, _ = r.ask(bye, who, refreshRequest, noLifetime) // otherwise it ends by itself, in ten minutes
	return relayed(answer)
}

// relayed is the XOR-RELAYED-ADDRESS of an answer. Its length is looked at
// first: the codec panics on a short one (CVE-2026-54909).
func relayed(m *stun.Message) (netip.Addr, error) {
	value, err := m.Get(stun.AttrXORRelayedAddress)
	if err != nil {
		return netip.Addr{}, errors.New("its answer has no XOR-RELAYED-ADDRESS")
	}
	if len(value) != 8 && len(value) != 20 {
		return netip.Addr{}, fmt.Errorf("the XOR-RELAYED-ADDRESS of its answer has %d bytes", len(value))
	}
	var found stun.XORMappedAddress
	if err := found.GetFromAs(m, stun.AttrXORRelayedAddress); err != nil {
		return netip.Addr{}, fmt.Errorf("reading the XOR-RELAYED-ADDRESS of its answer: %w", err)
	}
	addr, _ := netip.AddrFromSlice(found.IP) // 4 or 16 bytes, as just decoded
	return addr.Unmap(), nil
}
