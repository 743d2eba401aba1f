package lab

import (
	"crypto/tls"
	"net/netip"
	"testing"
)

func TestServed(t *testing.T) {
	pair, err := NewPair("matrix.example.org")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(pair.Cert), []byte(pair.Key))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	go func() { // Ends with the listener.
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			_ = conn.(*tls.Conn).Handshake() // The client tells what became of it.
			_ = conn.Close()
		}
	}()
	addr := netip.MustParseAddrPort(listener.Addr().String())
	leaf, err := Served(t.Context(), "", addr)
	if err != nil || !leaf.Equal(pair.Leaf) {
		t.Errorf("the server shows %v, %v", leaf, err)
	}
	_ = listener.Close()
	if leaf, err := Served(t.Context(), "", addr); err == nil {
		t.Errorf("a server that is gone shows %v", leaf)
	}
}
