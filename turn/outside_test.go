package turn

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/stun/v2"
	pion "github.com/pion/turn/v3"

	"netwatch/servers"
	"netwatch/turn/turntest"
)

// relaying is a TURN server on loopback through which data goes, over each transport, and
// what is asked of another machine about it.
func relaying(t *testing.T, says string) Outside {
	t.Helper()
	const here = "127.0.0.1"
	lends := &pion.RelayAddressGeneratorStatic{RelayAddress: net.ParseIP(says), Address: here}
	packets, err := net.ListenPacket("udp4", here+":0")
	if err != nil {
		t.Fatal(err)
	}
	config := pion.ServerConfig{
		Realm: turntest.Realm, AuthHandler: pion.LongTermTURNRESTAuthHandler(turntest.Secret, nil),
		PacketConnConfigs: []pion.PacketConnConfig{{PacketConn: packets, RelayAddressGenerator: lends}},
	}
	o := Outside{Address: netip.MustParseAddr(here), As: *whom(t), Host: "turn.example.org"}
	o.Ways = []Way{{servers.UDP, port(packets.LocalAddr())}}
	for _, over := range []servers.Transport{servers.TCP, servers.TLS} {
		listener, err := net.Listen("tcp4", here+":0")
		if err != nil {
			t.Fatal(err)
		}
		o.Ways = append(o.Ways, Way{over, port(listener.Addr())})
		if over == servers.TLS {
			own := turntest.Certificate(t, time.Now().Add(time.Hour))
			with := &tls.Config{Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS12}
			listener = tls.NewListener(listener, with)
		}
		config.ListenerConfigs = append(config.ListenerConfigs,
			pion.ListenerConfig{Listener: listener, RelayAddressGenerator: lends})
	}
	server, err := pion.NewServer(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := server.AllocationCount(); n != 0 {
			t.Errorf("%d allocations are left", n)
		}
		_ = server.Close()
	})
	return o
}

func port(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

// prove asks, and says how many packets that took.
func prove(t *testing.T, o Outside) (Seen, int) {
	t.Helper()
	b := newBudget(o.Ways)
	seen := o.prove(t.Context(), b)
	return seen, mostPackets - b.left
}

// Whichever way is the first that is ok, data goes through it.
func TestFromOutside(t *testing.T) {
	o := relaying(t, "127.0.0.1")
	for range o.Ways {
		begun := time.Now()
		seen, packets := prove(t, o)
		t.Logf("%v: %d packets, %s", o.Ways, packets, time.Since(begun))
		if diff := cmp.Diff(Seen{[]Word{WayOK, WayOK, WayOK}, WayOK}, seen); diff != "" || packets > 16 {
			t.Errorf("%d packets, %s", packets, diff)
		}
		o.Ways = append(o.Ways[1:], o.Ways[0])
	}
}

// A server that lends another address is not asked for data, and one that does not know who
// asks is not either.
func TestFromOutsideIsWrong(t *testing.T) {
	seen, _ := prove(t, relaying(t, "203.0.113.7"))
	if diff := cmp.Diff(Seen{[]Word{WayWrong, WayWrong, WayWrong}, WaySilent}, seen); diff != "" {
		t.Error(diff)
	}
	o := relaying(t, "127.0.0.1")
	o.As.Password = "another"
	seen, _ = prove(t, o)
	if diff := cmp.Diff(Seen{[]Word{WayRefused, WayRefused, WayRefused}, WaySilent}, seen); diff != "" {
		t.Error(diff)
	}
}

// lent is an allocation of what is at an address, to one who comes from loopback.
func lent(request *stun.Message, at netip.AddrPort) []stun.Setter {
	return []stun.Setter{
		turntest.Success(request),
		address{at, stun.AttrXORRelayedAddress},
		address{netip.MustParseAddrPort("127.0.0.1:4242"), stun.AttrXORMappedAddress},
	}
}

// An address is written as XOR-MAPPED-ADDRESS is.
type address struct {
	at netip.AddrPort
	as stun.AttrType
}

func (a address) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: a.at.Addr().AsSlice(), Port: int(a.at.Port())}.AddToAs(m, a.as)
}

// overUDPOf is what is asked of another machine about a server that is none.
func overUDPOf(t *testing.T, f *turntest.Server) Outside {
	t.Helper()
	return Outside{Address: f.Addr.Addr(), Ways: []Way{{servers.UDP, f.Addr.Port()}}, As: *whom(t)}
}

// hole takes what comes to an address of loopback, and counts it.
func hole(t *testing.T, ip string) (at netip.AddrPort, came func() int) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return netip.MustParseAddrPort(conn.LocalAddr().String()), func() (n int) {
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		for {
			if _, err := conn.Read(make([]byte, 1500)); err != nil {
				return n
			}
			n++
		}
	}
}

// What is said of data where the server answers right, and what comes to the address that
// it lends.
func TestFromOutsideRelay(t *testing.T) {
	here, came := hole(t, "127.0.0.1")
	elsewhere, cameElsewhere := hole(t, "127.0.0.2")
	const permits, frees = "CreatePermission signed, Refresh signed", "Refresh signed"
	for name, c := range map[string]struct {
		lent  netip.AddrPort
		want  Seen
		asked string
	}{
		"silent":          {here, Seen{[]Word{WayOK}, WaySilent}, permits},
		"nobody there":    {netip.AddrPortFrom(here.Addr(), 1025), Seen{[]Word{WayOK}, WayRefused}, permits},
		"a low port":      {netip.AddrPortFrom(here.Addr(), 1023), Seen{[]Word{WayOK}, WayRefused}, frees},
		"another address": {elsewhere, Seen{[]Word{WayWrong}, WaySilent}, frees},
	} {
		f := turntest.New(t, turntest.Proper(t, "", func(r *stun.Message) []stun.Setter { return lent(r, c.lent) }))
		seen, packets := prove(t, overUDPOf(t, f))
		asked := strings.Join(f.Asked(), ", ")
		if diff := cmp.Diff(c.want, seen); diff != "" || asked != "Allocate, Allocate signed, "+c.asked {
			t.Errorf("%s: it was asked %s; %s", name, asked, diff)
		}
		t.Logf("%s: %d packets", name, packets)
	}
	if n, strange := came(), cameElsewhere(); n != 3 || strange != 0 {
		t.Errorf("%d datagrams came, and %d elsewhere", n, strange)
	}
}

// A peer that the server forbids is refused.
func TestFromOutsideForbidden(t *testing.T) {
	here, came := hole(t, "127.0.0.1")
	f := turntest.New(t, turntest.Proper(t, "", func(r *stun.Message) []stun.Setter {
		if r.Type.Method == stun.MethodCreatePermission {
			return turntest.Refusal(r, stun.CodeForbidden, "n1")
		}
		return lent(r, here)
	}))
	seen, _ := prove(t, overUDPOf(t, f))
	if diff := cmp.Diff(Seen{[]Word{WayOK}, WayRefused}, seen); diff != "" || came() != 0 {
		t.Error(diff)
	}
}

// Nobody who is sent elsewhere goes there.
func TestFromOutsideElsewhere(t *testing.T) {
	elsewhere, came := hole(t, "127.0.0.1")
	f := turntest.New(t, turntest.Proper(t, "", func(r *stun.Message) []stun.Setter {
		return append(turntest.Refusal(r, stun.CodeTryAlternate, "n1"), address{elsewhere, stun.AttrAlternateServer})
	}))
	seen, _ := prove(t, overUDPOf(t, f))
	if diff := cmp.Diff(Seen{[]Word{WayRefused}, WaySilent}, seen); diff != "" || came() != 0 {
		t.Error(diff)
	}
}

// What was lent is freed also by a server of which no more is heard, and when nobody waits
// any longer.
func TestFromOutsideFrees(t *testing.T) {
	here, _ := hole(t, "127.0.0.1")
	for name, answers := range map[string]bool{"given up": true, "silence": false} {
		ctx, cancel := context.WithCancel(t.Context())
		f := turntest.New(t, func(r *stun.Message, signed bool) []stun.Setter {
			switch {
			case !signed:
				return turntest.Refusal(r, stun.CodeUnauthorized, "n1")
			case r.Type.Method != stun.MethodAllocate:
				return []stun.Setter{turntest.Success(r)}
			case !answers:
				return nil
			}
			time.AfterFunc(20*time.Millisecond, cancel)
			return lent(r, here)
		})
		o := overUDPOf(t, f)
		o.prove(ctx, newBudget(o.Ways))
		if asked := f.Asked(); asked[len(asked)-1] != "Refresh signed" {
			t.Errorf("%s: it was asked %s", name, asked)
		}
		cancel()
	}
}

// However a server answers or does not, no more than 20 packets are sent, and it is over in
// 10 s; over UDP packets may be lost.
func TestFromOutsideIsBounded(t *testing.T) {
	here := netip.MustParseAddrPort("127.0.0.1:1025")
	lost := map[[stun.TransactionIDSize]byte]bool{} // Changed while the server is locked
	for name, c := range map[string]struct {
		udp, streams Word
		answers      turntest.Answer
	}{
		"silent": {WaySilent, WaySilent, func(*stun.Message, bool) []stun.Setter { return nil }},
		"stale": {WayRefused, WayRefused, func(r *stun.Message, signed bool) []stun.Setter {
			if !signed {
				return turntest.Refusal(r, stun.CodeUnauthorized, "n1")
			}
			return turntest.Refusal(r, stun.CodeStaleNonce, "n2")
		}},
		"open": {WayRefused, WayRefused, func(r *stun.Message, _ bool) []stun.Setter {
			return turntest.Lends(r, "127.0.0.1")
		}},
		"empty": {WayRefused, WayRefused, func(r *stun.Message, _ bool) []stun.Setter {
			return []stun.Setter{turntest.Success(r)}
		}},
		"stale afterwards": {WayOK, WayOK, func(r *stun.Message, signed bool) []stun.Setter {
			if signed && r.Type.Method != stun.MethodAllocate {
				return turntest.Refusal(r, stun.CodeStaleNonce, "n2")
			}
			return turntest.Proper(t, "", func(*stun.Message) []stun.Setter { return lent(r, here) })(r, signed)
		}},
		"lossy": {WayOK, WaySilent, func(r *stun.Message, signed bool) []stun.Setter {
			if !lost[r.TransactionID] { // The first packet of each request
				lost[r.TransactionID] = true
				return nil
			}
			return turntest.Proper(t, "127.0.0.1", nil)(r, signed)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := turntest.New(t, c.answers)
			o := overUDPOf(t, f)
			o.Ways = append(o.Ways, Way{servers.TCP, f.Over(t, nil).Port()})
			own := turntest.Certificate(t, time.Now().Add(time.Hour))
			o.Ways = append(o.Ways, Way{servers.TLS, f.Over(t, own).Port()})
			begun := time.Now()
			seen, packets := prove(t, o)
			took := time.Since(begun)
			t.Logf("%d packets, %s: %v", packets, took, f.Asked())
			if diff := cmp.Diff([]Word{c.udp, c.streams, c.streams}, seen.Ways); diff != "" {
				t.Error(diff)
			}
			if packets > 20 || took > 10*time.Second {
				t.Errorf("%d packets in %s", packets, took)
			}
		})
	}
}

// A stream that is none of STUN, or of TLS, is refused as soon as that is seen.
func TestFromOutsideRubbish(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // Until the listener is closed
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write(slices.Repeat([]byte{0xff}, 64))
			_ = conn.Close()
		}
	}()
	at := port(listener.Addr())
	o := Outside{
		Address: netip.MustParseAddr("127.0.0.1"), Ways: []Way{{servers.TCP, at}, {servers.TLS, at}}, As: *whom(t),
	}
	begun := time.Now()
	seen, packets := prove(t, o)
	took := time.Since(begun)
	if diff := cmp.Diff([]Word{WayRefused, WayRefused}, seen.Ways); diff != "" || took > time.Second {
		t.Errorf("%d packets in %s, %s", packets, took, diff)
	}
	_ = listener.Close()
	<-ended
}

// What is not to be asked of anybody is not asked.
func TestFromOutsideCheck(t *testing.T) {
	good := func() Outside {
		return Outside{
			Address: netip.MustParseAddr("127.0.0.1"), Ways: []Way{{servers.UDP, 3478}, {servers.TCP, 3478}},
			As: servers.Credential{Name: "1:x", Password: "y"},
		}
	}
	if err := good().Check(); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*Outside){
		"no address of a server": func(o *Outside) { o.Address = netip.Addr{} },
		"it is no address of":    func(o *Outside) { o.Address = netip.MustParseAddr("224.0.0.1") },
		"is no address of a":     func(o *Outside) { o.Address = netip.MustParseAddr("::ffff:127.0.0.1") },
		"no way to try":          func(o *Outside) { o.Ways = nil },
		"no known transport":     func(o *Outside) { o.Ways[1].Over = "dtls" },
		"two ways over udp":      func(o *Outside) { o.Ways[1].Over = servers.UDP },
		"port 1023 is below":     func(o *Outside) { o.Ways[1].Port = 1023 },
		"credential":             func(o *Outside) { o.As.Name = "" },
		"or its host is none":    func(o *Outside) { o.Host = strings.Repeat("x", 254) },
	} {
		o := good()
		spoil(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		seen, packets := prove(t, o)
		if slices.ContainsFunc(seen.Ways, func(w Word) bool { return w != WaySilent }) || packets != 0 {
			t.Errorf("%s: %v, %d packets", want, seen, packets)
		}
	}
}

// One way of each transport, where it can be tried.
func TestWays(t *testing.T) {
	got := Ways([]servers.Listener{
		{Over: servers.TLS, Port: 443},
		{Over: servers.UDP, Port: 3478},
		{Over: servers.UDP, Port: 3479},
		{Over: servers.TLS, Port: 5349},
	})
	if diff := cmp.Diff([]Way{{servers.UDP, 3478}, {servers.TLS, 5349}}, got); diff != "" {
		t.Error(diff)
	}
}
