// Package turntest is no TURN server: it answers each request as a test says, and
// remembers what came. The real coturn is in the lab.
package turntest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // coturn has no other.
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

// Realm and Secret are those of what Proper plays.
const (
	Realm  = "example.org"
	Secret = "the secret of a test"
)

// An Answer makes the attributes of what answers a request. No setters are no answer.
type Answer func(request *stun.Message, signed bool) []stun.Setter

// A Server listens on loopback.
type Server struct {
	// Addr is where it listens over UDP.
	Addr   netip.AddrPort
	answer Answer

	mu   sync.Mutex
	came []string
}

// New starts a server over UDP, which ends with the test.
func New(t testing.TB, answer Answer) *Server {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f := &Server{answer: answer, Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
	until(t, conn, func() { f.serve(conn) })
	return f
}

// Over has the server listen for streams too: with a certificate over TLS, and without
// one over TCP.
func (f *Server) Over(t testing.TB, with *tls.Certificate) netip.AddrPort {
	t.Helper()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().(*net.TCPAddr).AddrPort()
	var secured net.Listener = listener
	if with != nil {
		secured = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*with}, MinVersion: tls.VersionTLS12})
	}
	until(t, listener, func() {
		for {
			conn, err := secured.Accept()
			if err != nil {
				return
			}
			f.stream(conn)
		}
	})
	return addr
}

// until runs serve until the test ends, which closes what it serves.
func until(t testing.TB, c io.Closer, serve func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve()
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
}

// Certificate is one that says it is good until a time.
func Certificate(t testing.TB, until time.Time) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-time.Hour), NotAfter: until}
	leaf, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}
}

func (f *Server) serve(conn *net.UDPConn) {
	packet := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFromUDP(packet)
		if err != nil {
			return
		}
		if reply := f.reply(packet[:n]); reply != nil {
			_, _ = conn.WriteToUDP(reply, from)
		}
	}
}

// header is the size of what stands before a message's attributes.
const header = 20

// stream answers one caller, each answer in two pieces, as TCP may bring it.
func (f *Server) stream(conn net.Conn) {
	defer conn.Close()
	for {
		message := make([]byte, header, 1500)
		if _, err := io.ReadFull(conn, message); err != nil {
			return
		}
		message = message[:header+int(binary.BigEndian.Uint16(message[2:]))]
		if _, err := io.ReadFull(conn, message[header:]); err != nil {
			return
		}
		if reply := f.reply(message); reply != nil {
			_, _ = conn.Write(reply[:7])
			_, _ = conn.Write(reply[7:])
		}
	}
}

// reply is what is answered to a packet; nil is nothing.
func (f *Server) reply(packet []byte) []byte {
	request := &stun.Message{Raw: slices.Clone(packet)}
	if request.Decode() != nil {
		return nil
	}
	_, err := request.Get(stun.AttrMessageIntegrity)
	signed := err == nil
	f.mu.Lock()
	defer f.mu.Unlock()
	f.came = append(f.came, request.Type.Method.String()+map[bool]string{true: " signed"}[signed])
	setters := f.answer(request, signed)
	if setters == nil {
		return nil
	}
	return stun.MustBuild(append([]stun.Setter{request}, setters...)...).Raw
}

// Asked are the requests so far: method, and signed when it is.
func (f *Server) Asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.came)
}

// Success is the type of a success response.
func Success(request *stun.Message) stun.Setter {
	return stun.NewType(request.Type.Method, stun.ClassSuccessResponse)
}

// Refusal is an error response with a challenge.
func Refusal(request *stun.Message, code stun.ErrorCode, nonce string) []stun.Setter {
	return []stun.Setter{
		stun.NewType(request.Type.Method, stun.ClassErrorResponse),
		stun.ErrorCodeAttribute{Code: code, Reason: []byte("As Told\x00")},
		stun.NewRealm(Realm), stun.NewNonce(nonce),
	}
}

// Lends is an allocation at an address.
func Lends(request *stun.Message, at string) []stun.Setter {
	return []stun.Setter{Success(request), relayedAttribute(at)}
}

// relayedAttribute is an XOR-RELAYED-ADDRESS.
type relayedAttribute string

// AddTo adds it to a message.
func (a relayedAttribute) AddTo(m *stun.Message) error {
	x := stun.XORMappedAddress{IP: net.ParseIP(string(a)), Port: 49160}
	return x.AddToAs(m, stun.AttrXORRelayedAddress)
}

// Proper answers as coturn does: it challenges, checks the password that follows
// from Secret, and lends an address. then may answer otherwise what is signed well.
func Proper(t testing.TB, at string, then func(request *stun.Message) []stun.Setter) Answer {
	return func(request *stun.Message, signed bool) []stun.Setter {
		if !signed {
			return Refusal(request, stun.CodeUnauthorized, "n1")
		}
		var name stun.Username
		if err := name.GetFrom(request); err != nil {
			t.Error(err)
		}
		expiry, err := strconv.ParseInt(name.String(), 10, 64)
		if until := time.Until(time.Unix(expiry, 0)); err != nil || until < time.Second || until > time.Minute {
			t.Errorf("the name is %q", name)
		}
		if err := stun.NewLongTermIntegrity(name.String(), Realm, password(name.String())).Check(request); err != nil {
			return Refusal(request, stun.CodeUnauthorized, "n1")
		}
		if request.Type.Method == stun.MethodRefresh {
			return []stun.Setter{Success(request)}
		}
		if then != nil {
			if setters := then(request); setters != nil {
				return setters
			}
		}
		return Lends(request, at)
	}
}

// password is that of a name that is good until the time which it tells, as coturn
// reckons it from its static-auth-secret.
func password(name string) string {
	sum := hmac.New(sha1.New, []byte(Secret))
	_, _ = sum.Write([]byte(name))
	return base64.StdEncoding.EncodeToString(sum.Sum(nil))
}
