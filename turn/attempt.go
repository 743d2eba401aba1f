package turn

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pion/stun/v2"

	"netwatch/servers"
	"netwatch/stunmsg"
)

// A visit is the proof of one way.
type visit struct {
	Outside
	way   Way
	purse *purse
	// relays says that data is to go through the relay, and relay what came of it.
	relays bool
	relay  Word

	socket net.Conn
	line   *lasting
	r      *relay
	// asked says that it was asked for a relayed address in the name of who asks.
	asked bool
	// relayed is what was lent, and mapped where the server says that this machine comes
	// from.
	relayed netip.AddrPort
	mapped  netip.Addr
}

// errAnother is a relayed address that is another than the one that is asked at.
var errAnother = errors.New("it lends another address")

// pay asks for a relayed address, has data go through it, and frees it.
func (v *visit) pay(ctx context.Context) Word {
	v.purse.release(needs[v.way.Over])
	ask, cancel := context.WithTimeout(ctx, wayTime)
	defer cancel()
	err := v.open(ask)
	if err == nil {
		defer v.socket.Close() // In TLS nobody need be told
		err = v.allocate(ask)
	}
	said := word(ask, err)
	if err == nil && v.relays {
		v.relay = v.through(ctx)
	}
	v.purse.release(freeNeeds)
	if refused := new(Error); v.asked && !errors.As(err, &refused) {
		v.line.again()
		v.r.free(context.WithoutCancel(ctx), &v.As) // Also what was lent by a server of which no more was heard
	}
	return said
}

// open makes the socket.
func (v *visit) open(ctx context.Context) (err error) {
	v.socket, err = v.purse.dial(ctx, netip.AddrPortFrom(v.Address, v.way.Port), v.way.Over)
	if err != nil {
		return err
	}
	if v.r, err = speak(ctx, v.socket, v.way.Over, v.Host); err != nil {
		return err
	}
	v.line = &lasting{Conn: v.r.conn}
	v.r.conn = v.line
	return nil
}

// allocate asks for a relayed address, which is to be at the address that is asked at.
func (v *visit) allocate(ctx context.Context) error {
	if err := v.r.challenged(ctx, Ask{Who: &v.As, Family: v.family()}); err != nil {
		return err
	}
	v.asked = true
	answer, err := v.r.lend(ctx, &v.As, v.family())
	if err != nil {
		return err
	}
	if v.relayed, err = stunmsg.AddrPort(answer, stun.AttrXORRelayedAddress); err != nil {
		return err
	}
	if v.relayed.Addr() != v.Address {
		return errAnother
	}
	v.mapped, _ = stunmsg.Address(answer, stun.AttrXORMappedAddress) // Without one nobody can be permitted
	return nil
}

// permissionRequest lets a peer send to a relayed address (RFC 8656, 9).
var permissionRequest = stun.NewType(stun.MethodCreatePermission, stun.ClassRequest)

// peer is an XOR-PEER-ADDRESS (RFC 8656, 18.3). The port of a permission says nothing.
type peer netip.Addr

// AddTo adds it to a message.
func (p peer) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: netip.Addr(p).AsSlice()}.AddToAs(m, stun.AttrXORPeerAddress)
}

// through sends a datagram to the relayed address from another socket, and waits for it to
// come out where that is lent.
func (v *visit) through(ctx context.Context) Word {
	v.purse.release(relayNeeds)
	if v.relayed.Port() < lowestPort || !v.mapped.IsValid() {
		return WayRefused
	}
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	if _, err := v.r.ask(ctx, &v.As, permissionRequest, peer(v.mapped)); err != nil {
		return word(ctx, err)
	}
	socket, err := v.purse.dial(ctx, v.relayed, servers.UDP)
	if err != nil {
		return word(ctx, err)
	}
	text := rand.Text()
	refused := make(chan bool)
	go func() { // Until the socket is closed, or what was sent is refused
		is := send(socket, []byte(text))
		if is {
			_ = v.line.Close()
		}
		refused <- is
	}()
	err = v.hear(ctx, text)
	_ = socket.Close()
	if <-refused && err != nil {
		return WayRefused
	}
	return word(ctx, err)
}

// send sends a datagram, again after each RTO as a request, until the socket is closed. It
// says whether it was refused. What comes to the socket is nobody's.
func send(socket net.Conn, datagram []byte) (refused bool) {
	err := os.ErrDeadlineExceeded
	for rto := stunmsg.RTO; errors.Is(err, os.ErrDeadlineExceeded); rto *= 2 {
		_ = socket.SetReadDeadline(time.Now().Add(rto))
		for _, err = socket.Write(datagram); err == nil; {
			_, err = socket.Read(make([]byte, 1))
		}
	}
	return !errors.Is(err, net.ErrClosed)
}

// dataIndication is what brings data out of a relay (RFC 8656, 11.4).
var dataIndication = stun.NewType(stun.MethodData, stun.ClassIndication)

// hear waits for a text to come out of the relay.
func (v *visit) hear(ctx context.Context, text string) error {
	_ = v.line.SetReadDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { _ = v.line.Close() })()
	packet := make([]byte, stunmsg.MaxPacket)
	for {
		n, err := stunmsg.Read(v.line, v.r.stream, packet)
		if err != nil {
			return stunmsg.Bare(err)
		}
		m := &stun.Message{Raw: packet[:n]}
		if m.Decode() != nil || m.Type != dataIndication {
			continue
		}
		if data, err := m.Get(stun.AttrData); err == nil && string(data) == text {
			return nil
		}
	}
}

// A lasting line is not closed by a question whose time is out (stunmsg.Question): by it is
// still to be freed what was lent. Nothing more is heard by it until it is to be used again.
type lasting struct {
	net.Conn

	mu    sync.Mutex
	ended bool
}

// past has whoever reads be answered at once.
var past = time.Unix(1, 0)

// Close ends who reads.
func (l *lasting) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	return l.Conn.SetReadDeadline(past)
}

// SetReadDeadline is for the next who reads, if it has not ended.
func (l *lasting) SetReadDeadline(at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		at = past
	}
	return l.Conn.SetReadDeadline(at)
}

// again has it be read from again.
func (l *lasting) again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = false
	_ = l.Conn.SetReadDeadline(time.Time{})
}
