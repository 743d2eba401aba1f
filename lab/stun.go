package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/stun/v2"
)

// Port is where STUN and TURN servers listen (RFC 8489, section 8.6.1).
const Port = 3478

// StunServers are the addresses of the internet where STUN servers may be, in
// pairs: an IPv4 one and the IPv6 one of the same server, each in a /64 of its own,
// as those of different hosts are.
var StunServers = [][2]netip.Addr{
	{netip.MustParseAddr("203.0.113.53"), netip.MustParseAddr("2001:db8:53::53")},
	{netip.MustParseAddr("203.0.113.54"), netip.MustParseAddr("2001:db8:54::54")},
	{netip.MustParseAddr("203.0.113.55"), netip.MustParseAddr("2001:db8:55::55")},
}

// A Stun is a real STUN server on the internet of a lab, which can be stopped
// and started again.
type Stun struct {
	lab       *Lab
	addresses [2]netip.Addr
	process   *process
}

// StartStun starts coturn as the n-th of StunServers.
func (l *Lab) StartStun(ctx context.Context, n int) (*Stun, error) {
	s := &Stun{lab: l, addresses: StunServers[n]}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	l.later(s.Stop)
	return s, nil
}

// Addr is where the server listens for IPv4.
func (s *Stun) Addr() netip.AddrPort { return netip.AddrPortFrom(s.addresses[0], Port) }

// Addr6 is where the server listens for IPv6.
func (s *Stun) Addr6() netip.AddrPort { return netip.AddrPortFrom(s.addresses[1], Port) }

// Start starts the server, if it does not run, and waits until it answers.
func (s *Stun) Start(ctx context.Context) error {
	if s.process != nil {
		return nil
	}
	name := filepath.Join(s.lab.dir, "stun-"+s.addresses[0].String())
	p, err := start(name+".log", inNet(s.lab.Inet, "turnserver", "-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls",
		"--listening-ip", s.addresses[0].String(), "--listening-ip", s.addresses[1].String(),
		"--listening-port", fmt.Sprint(Port), "--log-file", "stdout", "--pidfile", name+".pid")...)
	if err != nil {
		return fmt.Errorf("starting the STUN server %s: %w", s.addresses[0], err)
	}
	s.process = p
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, addr := range []netip.AddrPort{s.Addr(), s.Addr6()} {
		if err := answers(ctx, s.lab.Inet, addr); err != nil {
			return fmt.Errorf("waiting for the STUN server %s: %w", addr, err)
		}
	}
	return nil
}

// answers waits until a server answers a binding request.
func answers(ctx context.Context, namespace string, addr netip.AddrPort) error {
	return until(ctx, 20*time.Millisecond, func() error {
		conn, err := Dial(namespace, addr)
		if err != nil {
			return err
		}
		defer conn.Close() // Nothing is lost.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = exchange(ctx, conn, resend, stun.BindingRequest)
		return err
	})
}

// Stop stops the server: its host then refuses what is sent to the port.
func (s *Stun) Stop() error {
	if s.process == nil {
		return nil
	}
	p := s.process
	s.process = nil
	return p.stop(syscall.SIGKILL)
}

// Hang makes the server receive and never answer, as one behind a firewall
// that drops; Resume ends that.
func (s *Stun) Hang() error { return s.signal(syscall.SIGSTOP) }

// Resume undoes Hang.
func (s *Stun) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Stun) signal(sig syscall.Signal) error {
	if err := s.process.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("sending %s to the STUN server %s: %w", sig, s.addresses[0], err)
	}
	return nil
}

// Reflexive asks the server that a socket is connected to under which address
// it sees the socket, again and again until it answers or ctx is done.
func Reflexive(ctx context.Context, conn *net.UDPConn) (netip.AddrPort, error) {
	answer, err := exchange(ctx, conn, resend, stun.BindingRequest)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("asking %s: %w", conn.RemoteAddr(), err)
	}
	return address(answer, stun.AttrXORMappedAddress)
}

// A Liar is a STUN server that answers every binding request with the same
// address, whoever asks.
type Liar struct {
	conn  *net.UDPConn
	asked atomic.Int64
}

// Asked is how many binding requests it has answered.
func (f *Liar) Asked() int64 { return f.asked.Load() }

// StartLiar starts a liar as the n-th of StunServers, where none may run. It
// says that the caller has the address says. Stop ends it, and the lab's end.
func (l *Lab) StartLiar(n int, says netip.Addr) (*Liar, error) {
	conn, err := Listen(l.Inet, netip.AddrPortFrom(StunServers[n][0], Port))
	if err != nil {
		return nil, fmt.Errorf("starting a lying STUN server: %w", err)
	}
	liar := &Liar{conn: conn}
	l.later(liar.Stop)
	go liar.serve(&stun.XORMappedAddress{IP: says.AsSlice(), Port: 50000}) // Ends with its socket.
	return liar, nil
}

// Stop ends the liar. Doing it twice is harmless.
func (f *Liar) Stop() error {
	if err := f.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("stopping a lying STUN server: %w", err)
	}
	return nil
}

func (f *Liar) serve(lie stun.Setter) {
	buf := make([]byte, 1500)
	for {
		n, from, err := f.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		request := &stun.Message{Raw: buf[:n]}
		if request.Decode() != nil || request.Type != stun.BindingRequest {
			continue
		}
		answer, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess, lie)
		if err == nil {
			_, _ = f.conn.WriteToUDPAddrPort(answer.Raw, from) // Lost answers are part of UDP.
			f.asked.Add(1)
		}
	}
}
