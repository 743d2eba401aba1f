package turn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"netwatch"
	"netwatch/servers"
)

// How long a proof from outside may take: all of it, one way, and data through the relay.
// Over UDP a way has time for two packets that are lost, and a handshake for one.
const (
	outsideTime = 10 * time.Second
	wayTime     = 2 * time.Second
	relayTime   = 2 * time.Second
)

// lowestPort is the first that a proof from outside sends to: at those below, other
// servers listen than such that lend relays.
const lowestPort = 1024

// Way is one transport and port that callers are offered.
type Way struct {
	Over servers.Transport
	Port uint16
}

// Outside is what one machine asks of another: prove that callers who come from where you
// are get calls by the server at this address.
type Outside struct {
	// Address is where all that is sent goes.
	Address netip.Addr
	// Ways are those to try, one of a transport at most.
	Ways []Way
	// As is who asks.
	As servers.Credential
	// Host is the name that callers have for the server, "" when not known. Over TLS it is
	// what tells servers apart that share a port. The certificate is not judged: whoever
	// has its file knows better (verify tls), and no Word says what is wrong with it.
	Host string
}

// Word is what is said of a way.
type Word string

// What is said of a way. A server that answers and refuses, or is another one, is as
// refused as a port where nobody listens. An address of another family is another one.
const (
	WayOK      Word = "ok"
	WayRefused Word = "refused"
	WaySilent  Word = "silent"
	WayWrong   Word = "wrong-address"
)

// Seen is what came of it.
type Seen struct {
	// Ways has a word for each way, in their order.
	Ways []Word
	// Relay is what is said of data through the relay by the first way that was ok, and
	// silent when none was. It is refused where the server forbids this machine as a peer,
	// or lends a port below 1024.
	Relay Word
}

// Ways are those of listeners that another machine can try: the first of each transport.
// The ports are those that the server listens at; a router may have others outside, which
// the server does not know.
func Ways(listeners []servers.Listener) (all []Way) {
	had := map[servers.Transport]bool{}
	for _, l := range listeners {
		if l.Port >= lowestPort && !had[l.Over] {
			had[l.Over] = true
			all = append(all, Way{l.Over, l.Port})
		}
	}
	return all
}

// Check says why this is not to be asked of anybody, or cannot be asked from here. It sends
// no packet.
func (o Outside) Check() error {
	a := o.Address
	if !servers.Reaches(a) || a.IsMulticast() || a.Is4In6() || a.Zone() != "" {
		return errors.New("it is no address of a server")
	}
	if len(o.Ways) == 0 {
		return errors.New("there is no way to try")
	}
	had := map[servers.Transport]bool{}
	for _, w := range o.Ways {
		switch {
		case needs[w.Over] == 0:
			return errors.New("there is a way of no known transport")
		case had[w.Over]:
			return fmt.Errorf("there are two ways over %s", w.Over)
		case w.Port < lowestPort:
			return fmt.Errorf("port %d is below %d", w.Port, lowestPort)
		}
		had[w.Over] = true
	}
	if n := len(o.As.Name); n == 0 || n > maxName || len(o.As.Password) > maxName || len(o.Host) > maxHost {
		return errors.New("its credential or its host is none")
	}
	return o.reached()
}

// The sizes in bytes that a user, or a password (RFC 8489, 14.3), and a host can have.
const (
	maxName = 509
	maxHost = 253
)

// reached says why packets do not leave for the address.
func (o Outside) reached() error {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(o.Address, lowestPort)))
	if err != nil {
		return errors.New("this machine has no way there")
	}
	return conn.Close()
}

// FromOutside proves it, and frees what it allocated. It sends at most 20 packets, in 10 s
// (budget says how they are counted), and nowhere but to the address: an answer that names
// another is not followed. What Check refuses it does not ask, and says to be silent.
func FromOutside(ctx context.Context, o Outside) Seen { return o.prove(ctx, newBudget(o.Ways)) }

func (o Outside) prove(ctx context.Context, b *budget) Seen {
	ctx, cancel := context.WithTimeout(ctx, outsideTime)
	defer cancel()
	seen := Seen{Ways: slices.Repeat([]Word{WaySilent}, len(o.Ways)), Relay: WaySilent}
	if o.Check() != nil {
		return seen
	}
	proven := false
	for i, w := range o.Ways {
		a := attempt{Outside: o, way: w, budget: b, relays: !proven}
		if seen.Ways[i] = a.try(ctx); seen.Ways[i] == WayOK && !proven {
			proven, seen.Relay = true, a.relay
		}
	}
	return seen
}

// family is what is asked for: callers name none over IPv4. Over IPv6 they would be lent an
// IPv4 address then (RFC 8656, 7.2), of which nothing is to be proven here.
func (o Outside) family() netwatch.Family {
	if o.Address.Is6() {
		return netwatch.IPv6
	}
	return ""
}

// word is what an error means. One that came before the time was out is an answer, if only
// that of a kernel.
func word(ctx context.Context, err error) Word {
	late := net.Error(nil)
	switch {
	case err == nil:
		return WayOK
	case errors.Is(err, errAnother):
		return WayWrong
	case ctx.Err() != nil, errors.As(err, &late) && late.Timeout(), errors.Is(err, errSpent):
		return WaySilent
	}
	return WayRefused
}
