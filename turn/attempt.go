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

// An attempt is the proof of one way.
type attempt struct {
	Outside
	way    Way
	budget *budget
	// relays says that data is to go through the relay, and relay what came of it.
	relays bool
	relay  Word

	socket net.Conn
	line   *reusable
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

// try asks for a relayed address, has data go through it, and frees it.
func (a *attempt) try(ctx context.Context) Word {
	a.budget.release(needs[a.way.Over])
	ask, cancel := context.WithTimeout(ctx, wayTime)
	defer cancel()
	err := a.open(ask)
	if err == nil {
		defer a.socket.Close() // In TLS nobody need be told
		err = a.allocate(ask)
	}
	said := word(ask, err)
	if err == nil && a.relays {
		a.relay = a.through(ctx)
	}
	a.budget.release(freeNeeds)
	if refused := new(Error); a.asked && !errors.As(err, &refused) {
		a.line = a.line.reopen()
		a.r.conn = a.line
		a.r.free(context.WithoutCancel(ctx), &a.As) // Also what was lent by a server of which no more was heard
	}
	return said
}

// open makes the socket.
func (a *attempt) open(ctx context.Context) (err error) {
	a.socket, err = a.budget.dial(ctx, netip.AddrPortFrom(a.Address, a.way.Port), a.way.Over)
	if err != nil {
		return err
	}
	if a.r, err = speak(ctx, a.socket, a.way.Over, a.Host); err != nil {
		return err
	}
	a.line = &reusable{Conn: a.r.conn}
	a.r.conn = a.line
	return nil
}

// allocate asks for a relayed address, which is to be at the address that is asked at.
func (a *attempt) allocate(ctx context.Context) error {
	if err := a.r.challenged(ctx, Ask{Who: &a.As, Family: a.family()}); err != nil {
		return err
	}
	a.asked = true
	answer, err := a.r.lend(ctx, &a.As, a.family())
	if err != nil {
		return err
	}
	if a.relayed, err = stunmsg.AddrPort(answer, stun.AttrXORRelayedAddress); err != nil {
		return err
	}
	if a.relayed.Addr() != a.Address {
		return errAnother
	}
	a.mapped, _ = stunmsg.Address(answer, stun.AttrXORMappedAddress) // Without one nobody can be permitted
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
func (a *attempt) through(ctx context.Context) Word {
	a.budget.release(relayNeeds)
	if a.relayed.Port() < lowestPort || !a.mapped.IsValid() {
		return WayRefused
	}
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	if _, err := a.r.ask(ctx, &a.As, permissionRequest, peer(a.mapped)); err != nil {
		return word(ctx, err)
	}
	socket, err := a.budget.dial(ctx, a.relayed, servers.UDP)
	if err != nil {
		return word(ctx, err)
	}
	text := rand.Text()
	refused := make(chan bool)
	go func() { // Until the socket is closed, or what was sent is refused
		is := send(socket, []byte(text))
		if is {
			_ = a.line.Close()
		}
		refused <- is
	}()
	err = a.hear(ctx, text)
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
func (a *attempt) hear(ctx context.Context, text string) error {
	line := a.line
	_ = line.SetReadDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { _ = line.Close() })()
	packet := make([]byte, stunmsg.MaxPacket)
	for {
		n, err := stunmsg.Read(line, a.r.stream, packet)
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

// A reusable line is not closed by a question whose time is out (stunmsg.Question): by it is
// still to be freed what was lent. Nothing more is heard by it until it is to be used again.
type reusable struct {
	net.Conn

	mu sync.Mutex
	// ended says that who reads is answered at once, and over that another reads by now.
	ended, over bool
}

// past has whoever reads be answered at once.
var past = time.Unix(1, 0)

// Close ends who reads.
func (l *reusable) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over { // A clock that struck late
		return nil
	}
	l.ended = true
	return l.Conn.SetReadDeadline(past)
}

// SetReadDeadline is for the next who reads, if it has not ended.
func (l *reusable) SetReadDeadline(at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		at = past
	}
	return l.Conn.SetReadDeadline(at)
}

// reopen is the line to be read from again, which nobody ends who has had it so far.
func (l *reusable) reopen() *reusable {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	_ = l.Conn.SetReadDeadline(time.Time{})
	return &reusable{Conn: l.Conn}
}
