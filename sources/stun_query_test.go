package sources

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"
	"go.uber.org/goleak"

	"netwatch"
	"netwatch/sources/stuntest"
	"netwatch/stunmsg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	first  = netip.MustParseAddr("203.0.113.5")
	second = netip.MustParseAddr("198.51.100.7")
	third  = netip.MustParseAddr("192.0.2.9")
)

// startServer starts a server that says first.
func startServer(t testing.TB) *stuntest.Server {
	t.Helper()
	s, err := stuntest.New()
	if err != nil {
		t.Fatal(err)
	}
	s.Set(first)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func settings(t testing.TB, servers ...*stuntest.Server) *STUN {
	t.Helper()
	s := newSTUN().(*STUN)
	s.Servers, s.Families, s.Timeout = nil, []netwatch.Family{netwatch.IPv4}, netwatch.Duration(200*time.Millisecond)
	for _, server := range servers {
		s.Servers = append(s.Servers, Server(server.Addr()))
	}
	return s
}

func ask(t *testing.T, s *STUN) Answer {
	t.Helper()
	return s.query(t.Context(), internet{}, s.Servers[0], s.Families[0], netip.Addr{})
}

// Each of these packets must not be believed, alone or before the right one,
// which must still be heard.
func TestQueryBelievesNothingElse(t *testing.T) {
	lie := func(b stuntest.Behaviour) stuntest.Behaviour {
		return func(r *stun.Message, _ netip.Addr) [][]byte { return b(r, second) }
	}
	mapped := func(r *stun.Message, _ netip.Addr) [][]byte {
		plain := &stun.MappedAddress{IP: second.AsSlice(), Port: 1}
		return [][]byte{stun.MustBuild(stun.NewTransactionIDSetter(r.TransactionID), stun.BindingSuccess, plain).Raw}
	}
	request := func(r *stun.Message, _ netip.Addr) [][]byte { return [][]byte{r.Raw} }
	cases := map[string]stuntest.Behaviour{
		"silence":                   stuntest.Silent,
		"another transaction":       lie(stuntest.OtherTransaction),
		"error response":            stuntest.Refuse,
		"noise":                     stuntest.Noise,
		"our own request":           request,
		"MAPPED-ADDRESS alone":      mapped,
		"no bytes":                  stuntest.Raw(nil),
		"five bytes":                stuntest.Raw([]byte{0, 1, 0, 0, 9}),
		"IPv4 cut short":            stuntest.Raw([]byte{0, 1, 0, 0, 9, 9, 9}),
		"IPv4 too long":             stuntest.Raw([]byte{0, 1, 0, 0, 9, 9, 9, 9, 9}),
		"IPv6 of four bytes":        stuntest.Raw([]byte{0, 2, 0, 0, 9, 9, 9, 9}),
		"IPv6 asked over IPv4":      stuntest.Raw(append([]byte{0, 2, 0, 0}, make([]byte, 16)...)),
		"family 3":                  stuntest.Raw([]byte{0, 3, 0, 0, 9, 9, 9, 9}),
		"family 1 with a high byte": stuntest.Raw([]byte{1, 1, 0, 0, 9, 9, 9, 9}),
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) {
			server := startServer(t)
			server.Behave(b)
			if a := ask(t, settings(t, server)); a.Err == nil {
				t.Errorf("it believed %s", a.Address)
			}
			if name == "error response" {
				return // Which ends the wait: it has our transaction id
			}
			server.Behave(stuntest.After(b, stuntest.Answer))
			if a := ask(t, settings(t, server)); a.Err != nil || a.Address != first {
				t.Errorf("the right answer after it: %s, %v", a.Address, a.Err)
			}
		})
	}
}

// An answer counts only from the server that was asked.
func TestQueryHearsNobodyElse(t *testing.T) {
	server, other := startServer(t), startServer(t)
	server.Behave(func(r *stun.Message, _ netip.Addr) [][]byte {
		to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), last(server.Ports())))
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Error(err)
			return nil
		}
		defer conn.Close()
		if _, err := conn.WriteToUDP(stuntest.Answer(r, second)[0], to); err != nil {
			t.Error(err)
		}
		return nil
	})
	s := settings(t, server, other)
	if a := ask(t, s); a.Err == nil {
		t.Errorf("it believed %s from somebody else", a.Address)
	}
}

func last(ports []uint16) uint16 { return ports[len(ports)-1] }

// A kept port may report the old address for ever behind a NAT.
func TestEachQueryHasAPortOfItsOwn(t *testing.T) {
	server := startServer(t)
	s := settings(t, server)
	for range 20 {
		if a := ask(t, s); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	ports := server.Ports()
	slices.Sort(ports)
	if n := len(slices.Compact(ports)); n < 19 { // The kernel may draw one twice
		t.Errorf("20 queries came from %d ports", n)
	}
}

func TestQueryRefusesWhatIsNotPublic(t *testing.T) {
	server := startServer(t)
	s := settings(t, server)
	for _, a := range []string{
		"192.168.1.4", "10.0.0.1", "172.16.9.9", "100.64.0.1", "127.0.0.1", "169.254.1.1",
		"224.0.0.1", "0.0.0.0", "255.255.255.255", "240.0.0.1", "198.18.0.1",
	} {
		server.Set(netip.MustParseAddr(a))
		if got := ask(t, s); got.Err == nil || !strings.Contains(got.Err.Error(), "not public") {
			t.Errorf("%s: %v", a, got.Err)
		}
	}
	s.Accept = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	server.Set(netip.MustParseAddr("10.0.0.1"))
	if got := ask(t, s); got.Err != nil {
		t.Errorf("accepted by the settings: %v", got.Err)
	}
}

// A request that is lost on the way is sent again.
func TestQueryIsRetransmitted(t *testing.T) {
	server := startServer(t)
	server.Behave(func(r *stun.Message, a netip.Addr) [][]byte {
		if len(server.Ports()) < 2 {
			return nil
		}
		return stuntest.Answer(r, a)
	})
	s := settings(t, server)
	s.Timeout = netwatch.Duration(5 * time.Second)
	a := ask(t, s)
	if a.Err != nil || a.RTT < stunmsg.RTO {
		t.Errorf("%s after %s, %v", a.Address, a.RTT, a.Err)
	}
}

// A port that nobody listens on is noticed at once, not after the timeout.
func TestQueryRefusedAtOnce(t *testing.T) {
	server := startServer(t)
	s := settings(t, server)
	s.Timeout = netwatch.Duration(time.Minute)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if a := s.query(ctx, internet{}, s.Servers[0], netwatch.IPv4, netip.Addr{}); a.Err == nil || ctx.Err() != nil {
		t.Errorf("%v", a.Err)
	}
}

func TestQueryIPv6(t *testing.T) {
	server, err := stuntest.Listen("[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.Set(netip.MustParseAddr("2001:db8::5"))
	s := settings(t, server)
	s.Families = []netwatch.Family{netwatch.IPv6}
	if a := ask(t, s); a.Err != nil || a.Address != netip.MustParseAddr("2001:db8::5") {
		t.Errorf("%s, %v", a.Address, a.Err)
	}
}

func TestQueryOverAnInterface(t *testing.T) {
	server := startServer(t)
	s := settings(t, server)
	s.Interface = "lo"
	if a := ask(t, s); a.Err != nil {
		t.Error(a.Err)
	}
	s.Interface = "nosuch0"
	if a := ask(t, s); a.Err == nil {
		t.Error("it asked over an interface that is not there")
	}
}

// An address of another family than was asked for is none.
func TestMappedFamily(t *testing.T) {
	six := netip.MustParseAddr("2001:db8::5")
	for said, own := range map[netip.Addr]netwatch.Family{first: netwatch.IPv4, six: netwatch.IPv6} {
		m := &stun.Message{Raw: stuntest.Answer(&stun.Message{}, said)[0]}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		for _, family := range netwatch.Families {
			if a, err := mapped(m, family); (err == nil) != (family == own) || err == nil && a != said {
				t.Errorf("%s as %s: %s, %v", said, family, a, err)
			}
		}
	}
}
