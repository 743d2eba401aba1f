// Package stuntest is a STUN server on loopback that says and does what a test
// tells it: it fakes what real servers cannot be made to do.
package stuntest

import (
	"net"
	"net/netip"
	"sync"

	"github.com/pion/stun/v2"
)

// A Server answers binding requests until it is closed.
type Server struct {
	conn *net.UDPConn
	done chan struct{}

	mu       sync.Mutex
	address  netip.Addr
	behave   Behaviour
	requests int
	ports    []uint16
}

// A Behaviour makes the packets that answer a request; none is silence. The
// default is Answer.
type Behaviour func(request *stun.Message, address netip.Addr) [][]byte

// New starts a server on a free port of 127.0.0.1.
func New() (*Server, error) { return Listen("127.0.0.1:0") }

// Listen starts a server on an address.
func Listen(address string) (*Server, error) {
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", a)
	if err != nil {
		return nil, err
	}
	s := &Server{conn: conn, done: make(chan struct{}), behave: Answer}
	go s.serve()
	return s, nil
}

// Addr is where it listens, as host:port.
func (s *Server) Addr() string { return s.conn.LocalAddr().String() }

// Set is the address that it says from now on.
func (s *Server) Set(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = a
}

// Behave is what it does from now on.
func (s *Server) Behave(b Behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behave = b
}

// Requests is how many requests have come.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Ports are the ports from which requests came, in order.
func (s *Server) Ports() []uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]uint16(nil), s.ports...)
}

// Close ends it; later requests are refused by the kernel.
func (s *Server) Close() error {
	err := s.conn.Close()
	<-s.done
	return err
}

func (s *Server) serve() {
	defer close(s.done)
	for packet := make([]byte, 1500); ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(packet)
		if err != nil {
			return
		}
		request := &stun.Message{Raw: append([]byte(nil), packet[:n]...)}
		if request.Decode() != nil {
			continue
		}
		for _, answer := range s.answers(request, from) {
			_, _ = s.conn.WriteToUDPAddrPort(answer, from)
		}
	}
}

func (s *Server) answers(request *stun.Message, from netip.AddrPort) [][]byte {
	s.mu.Lock()
	s.requests++
	s.ports = append(s.ports, from.Port())
	behave, address := s.behave, s.address
	s.mu.Unlock()
	return behave(request, address) // unlocked: it may ask the server
}

// Answer is what an honest server does.
func Answer(request *stun.Message, address netip.Addr) [][]byte {
	mapped := &stun.XORMappedAddress{IP: address.AsSlice(), Port: 4242}
	return [][]byte{stun.MustBuild(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess, mapped, stun.Fingerprint).Raw}
}

// Silent answers nothing.
func Silent(*stun.Message, netip.Addr) [][]byte { return nil }

// Refuse answers with an error response.
func Refuse(request *stun.Message, _ netip.Addr) [][]byte {
	return [][]byte{stun.MustBuild(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingError, stun.CodeServerError, stun.Fingerprint).Raw}
}

// Raw answers a success response with an XOR-MAPPED-ADDRESS of these bytes.
func Raw(value []byte) Behaviour {
	return func(request *stun.Message, _ netip.Addr) [][]byte {
		raw := stun.RawAttribute{Type: stun.AttrXORMappedAddress, Value: value}
		return [][]byte{stun.MustBuild(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess, raw).Raw}
	}
}

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
