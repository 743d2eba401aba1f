package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v2"
	"github.com/pion/turn/v3"
)

// relay is a TURN server on loopback that gives out addresses at says.
func relay(t *testing.T, says string) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	server, err := turn.NewServer(turn.ServerConfig{
		Realm:       "example.org",
		AuthHandler: turn.LongTermTURNRESTAuthHandler(Secret, nil),
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{RelayAddress: net.ParseIP(says), Address: "127.0.0.1"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	addr, _ := netip.ParseAddrPort(conn.LocalAddr().String())
	return addr
}

func TestAllocate(t *testing.T) {
	addr := relay(t, "203.0.113.7")
	a, err := Caller{Secret: Secret}.Allocate(t.Context(), addr, 4)
	if err != nil {
		t.Fatal(err)
	}
	if want := netip.MustParseAddr("203.0.113.7"); a.Relayed.Addr() != want {
		t.Errorf("relayed %s, want %s", a.Relayed, want)
	}
	if err := a.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// relayOver is the same over TCP or TLS.
func relayOver(t *testing.T, over Transport, says string) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := netip.ParseAddrPort(listener.Addr().String())
	if over == TLS {
		pair, err := NewPair("turn.example.org")
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := tls.X509KeyPair([]byte(pair.Cert), []byte(pair.Key))
		if err != nil {
			t.Fatal(err)
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}})
	}
	server, err := turn.NewServer(turn.ServerConfig{
		Realm:       "example.org",
		AuthHandler: turn.LongTermTURNRESTAuthHandler(Secret, nil),
		ListenerConfigs: []turn.ListenerConfig{{
			Listener:              listener,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{RelayAddress: net.ParseIP(says), Address: "127.0.0.1"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return addr
}

// A call is heard over every transport: a peer that is permitted comes through.
func TestHears(t *testing.T) {
	peer, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close() // Nothing is lost.
	for over, addr := range map[Transport]netip.AddrPort{
		UDP: relay(t, "127.0.0.1"), TCP: relayOver(t, TCP, "127.0.0.1"), TLS: relayOver(t, TLS, "127.0.0.1"),
	} {
		a, err := Caller{Secret: Secret, Over: over, Resend: time.Second}.Allocate(t.Context(), addr, 0)
		if err != nil {
			t.Fatalf("over %q: %v", over, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := a.Hears(ctx, peer); err == nil {
			t.Errorf("over %q: a peer is heard that was not permitted", over)
		}
		if err := errors.Join(a.Permit(t.Context(), netip.MustParseAddr("127.0.0.1")), a.Hears(t.Context(), peer),
			a.Close()); err != nil {
			t.Errorf("over %q: %v", over, err)
		}
	}
}

func TestAllocateIsRefused(t *testing.T) {
	addr := relay(t, "203.0.113.7")
	// Pion's server answers a wrong credential with 400, coturn with 401.
	for secret, want := range map[string]stun.ErrorCode{"": stun.CodeUnauthorized, "wrong": stun.CodeBadRequest} {
		_, err := Caller{Secret: secret}.Allocate(t.Context(), addr, 4)
		var refused *TurnError
		if !errors.As(err, &refused) || refused.Code != want {
			t.Errorf("with secret %q: %v, want %d", secret, err, want)
		}
	}
}

func TestAllocateWithACredential(t *testing.T) {
	addr := relay(t, "203.0.113.9")
	name, password := restCredential(Secret)
	if _, err := (Caller{Username: name, Password: password}).WaitAllocate(t.Context(), addr,
		netip.MustParseAddr("203.0.113.9")); err != nil {
		t.Fatal(err)
	}
	var refused *TurnError
	if _, err := (Caller{Username: name, Password: "wrong"}).Allocate(t.Context(), addr, 4); !errors.As(err, &refused) {
		t.Errorf("with a wrong password: %v, want a refusal", err)
	}
}

func TestWaitAllocate(t *testing.T) {
	addr := relay(t, "203.0.113.7")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	caller := Caller{Secret: Secret}
	if _, err := caller.WaitAllocate(ctx, addr, netip.MustParseAddr("203.0.113.7")); err != nil {
		t.Error(err)
	}
	if _, err := caller.WaitAllocate(ctx, addr, netip.MustParseAddr("203.0.113.8")); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("for an address that never comes: %v", err)
	}
}

func TestAllocateWithoutServer(t *testing.T) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	silent, _ := netip.ParseAddrPort(conn.LocalAddr().String())
	defer conn.Close() // Nothing is lost.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Caller{}).Allocate(ctx, silent, 4); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that is silent: %v", err)
	}
}

func TestAddressOfWrongLength(t *testing.T) {
	for _, value := range [][]byte{nil, {0, 1}, {0, 1, 2, 3, 4}, make([]byte, 9)} {
		m := stun.MustBuild(stun.TransactionID, stun.RawAttribute{Type: stun.AttrXORRelayedAddress, Value: value})
		if a, err := address(m, stun.AttrXORRelayedAddress); err == nil {
			t.Errorf("%d bytes are taken for %s", len(value), a)
		}
	}
}
