package turn

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
			listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS12})
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
	p := newPurse(o.Ways)
	seen := o.prove(t.Context(), p)
	return seen, mostPackets - p.left
}

func TestFromOutside(t *testing.T) {
	o := relaying(t, "127.0.0.1")
	begun := time.Now()
	seen, packets := prove(t, o)
	t.Logf("%d packets, %s", packets, time.Since(begun))
	if diff := cmp.Diff(Seen{[]Word{WayOK, WayOK, WayOK}, WayOK}, seen); diff != "" || packets > 16 {
		t.Errorf("%d packets, %s", packets, diff)
	}
}
