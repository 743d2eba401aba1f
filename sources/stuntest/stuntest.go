// Package stuntest is a STUN server (RFC 8489) on loopback, in process, that says
// and does what a test tells it. It fakes what real servers cannot be made to do:
// lie, be silent, answer late or wrongly. What real servers do, the lab tests
// show on a real one.
package stuntest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pion/stun/v2"
)

// A Server answers binding requests until it is closed.
type Server struct {
	conn *net.UDPConn
	// other is a socket on another port, for answers from the wrong place.
	other *net.UDPConn
	once  sync.Once
	tasks sync.WaitGroup

	mu        sync.Mutex // guards what follows
	address   netip.Addr
	behave    Behaviour
	elsewhere bool
	ports     []uint16
}

// A Behaviour makes the packets that answer a request; none is silence. address is
// the one that the server was told to say.
type Behaviour func(request *stun.Message, address netip.Addr) [][]byte

// hosts counts the servers, each of which has an address of its own: all of
// 127.0.0.0/8 is this machine, and one host has one voice.
var hosts atomic.Uint32

// New starts a server on a free port of a loopback address of its own. It answers as
// Answer does.
func New() (*Server, error) {
	n := hosts.Add(1)
	return Listen(fmt.Sprintf("127.1.%d.%d:0", n>>8&0xff, n&0xff))
}

// Listen starts a server on an address, as host:port.
func Listen(address string) (*Server, error) {
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("starting a STUN server: %w", err)
	}
	conn, err := net.ListenUDP("udp", a)
	if err != nil {
		return nil, fmt.Errorf("starting a STUN server: %w", err)
	}
	other, err := net.ListenUDP("udp", &net.UDPAddr{IP: a.IP})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("starting a STUN server: %w", err)
	}
	s := &Server{conn: conn, other: other, behave: Answer}
	s.tasks.Go(s.serve)
	return s, nil
}

// Addr is where it listens, as host:port.
func (s *Server) Addr() string { return s.conn.LocalAddr().String() }

// Set sets the address that the server says from now on. Before that it says none,
// and its answers are of no use.
func (s *Server) Set(a netip.Addr) { s.change(func() { s.address = a }) }

// Behave sets what the server does from now on.
func (s *Server) Behave(b Behaviour) { s.change(func() { s.behave = b }) }

// Elsewhere has the server answer from another port than it was asked on.
func (s *Server) Elsewhere(is bool) { s.change(func() { s.elsewhere = is }) }

func (s *Server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Requests is how many requests have come.
func (s *Server) Requests() int { return len(s.Ports()) }

// Ports are the ports from which requests came, in order.
func (s *Server) Ports() []uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ports)
}

// Close ends the server, and returns when nothing of it is left. The kernel refuses
// later requests: who asks hears "connection refused". Closing it twice is harmless.
func (s *Server) Close() (err error) {
	s.once.Do(func() { err = errors.Join(s.conn.Close(), s.other.Close()) })
	s.tasks.Wait()
	return err
}

func (s *Server) serve() {
	for packet := make([]byte, 1500); ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(packet)
		if err != nil {
			return
		}
		request := &stun.Message{Raw: slices.Clone(packet[:n])}
		if request.Decode() == nil {
			s.serveOne(request, from)
		}
	}
}

// serveOne answers, beside others, so that these need not wait.
func (s *Server) serveOne(request *stun.Message, from netip.AddrPort) {
	s.mu.Lock()
	s.ports = append(s.ports, from.Port())
	behave, address, conn := s.behave, s.address, s.conn
	if s.elsewhere {
		conn = s.other
	}
	s.mu.Unlock()
	s.tasks.Go(func() {
		for _, answer := range behave(request, address) {
			_, _ = conn.WriteToUDPAddrPort(answer, from) // Lost packets are nothing new to who asks
		}
	})
}

// Answer is what an honest server does. If it was told no address, its answer has no
// attribute.
func Answer(request *stun.Message, address netip.Addr) [][]byte {
	if !address.IsValid() {
		return response(request, stun.BindingSuccess)
	}
	return response(request, stun.BindingSuccess, &stun.XORMappedAddress{IP: address.AsSlice(), Port: 4242},
		stun.Fingerprint)
}

// Silent answers nothing.
func Silent(*stun.Message, netip.Addr) [][]byte { return nil }

// Refuse answers with an error response.
func Refuse(request *stun.Message, _ netip.Addr) [][]byte {
	return response(request, stun.BindingError, stun.CodeServerError, stun.Fingerprint)
}

// Mapped answers with a MAPPED-ADDRESS alone, as servers did before RFC 5389.
func Mapped(request *stun.Message, address netip.Addr) [][]byte {
	return response(request, stun.BindingSuccess, &stun.MappedAddress{IP: address.AsSlice(), Port: 4242})
}

// Raw answers a success response with an XOR-MAPPED-ADDRESS of these bytes, right
// or wrong.
func Raw(value []byte) Behaviour {
	return func(request *stun.Message, _ netip.Addr) [][]byte {
		return response(request, stun.BindingSuccess, stun.RawAttribute{Type: stun.AttrXORMappedAddress, Value: value})
	}
}

// Echo answers with the request itself, as a reflector does.
func Echo(request *stun.Message, _ netip.Addr) [][]byte { return [][]byte{request.Raw} }

// OtherTransaction answers with a transaction id that nobody asked with.
func OtherTransaction(_ *stun.Message, address netip.Addr) [][]byte {
	return Answer(&stun.Message{TransactionID: stun.NewTransactionID()}, address)
}

// Noise answers with what is no STUN at all.
func Noise(*stun.Message, netip.Addr) [][]byte {
	return [][]byte{{}, []byte("hello"), make([]byte, 1400)}
}

// After answers as all of them do, one after the other.
func After(all ...Behaviour) Behaviour {
	return func(request *stun.Message, address netip.Addr) (packets [][]byte) {
		for _, b := range all {
			packets = append(packets, b(request, address)...)
		}
		return packets
	}
}

// response is one packet that answers a request.
func response(request *stun.Message, parts ...stun.Setter) [][]byte {
	id := stun.NewTransactionIDSetter(request.TransactionID)
	return [][]byte{stun.MustBuild(append([]stun.Setter{id}, parts...)...).Raw}
}
