//go:build lab

// 5. Done means working: what a machine outside says of a server behind NAT.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"netwatch/servers"
)

// counting counts what a machine outside sends that is not what TCP adds: to the server, and
// to an address that is not. The family of the server's address, that, and how long a packet
// is that has no data go in.
const counting = `
table inet count {
	chain out {
		type filter hook output priority 0;
		%[1]s daddr %[2]s meta l4proto udp counter
		%[1]s daddr %[2]s tcp flags syn counter
		%[1]s daddr %[2]s tcp flags & (syn | fin | rst) == 0 meta length > %[3]d counter
		ip daddr 203.0.113.99 counter
	}
}
`

// counted matches what one of the counters says.
var counted = regexp.MustCompile(`counter packets (\d+)`)

// A prover is a machine on the internet that proves what callers get.
type prover struct {
	program string
	at      netip.Addr
	// who is in whose name it asks, and ways are where.
	who  func() (*servers.Credential, error)
	ways string
}

// newProver makes one, whose packets are counted.
func newProver(t *testing.T) *prover {
	t.Helper()
	p := &prover{program: filepath.Join(world.Dir(), "outside"), at: FirstPublic, ways: "udp:3478 tcp:3478 tls:5349"}
	p.knows(t, "coturn", "static-auth-secret="+Secret)
	build := command(t.Context(), "go", "build", "-o", p.program, "netwatch/lab/outside")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building outside: %v: %s", err, out)
	}
	t.Cleanup(func() { must(t, nft(context.Background(), world.Inet, "delete table inet count\n")) })
	return p
}

// knows has it ask in a name that is made of what a file of a server has.
func (p *prover) knows(t *testing.T, name, conf string) {
	t.Helper()
	server, err := servers.Named(name)
	must(t, err)
	offer, err := server.Offer([]byte(conf), time.Now())
	must(t, err)
	p.who = func() (*servers.Credential, error) { return server.ForAnother(offer, "", time.Now()) }
}

// counts counts from now on.
func (p *prover) counts(t *testing.T) {
	t.Helper()
	family, empty := "ip", 52
	if p.at.Is6() {
		family, empty = "ip6", 72
	}
	rules := fmt.Sprintf(counting, family, p.at, empty)
	must(t, nft(t.Context(), world.Inet, "add table inet count\ndelete table inet count\n"+rules))
}

// says has it prove, and compares what it says, in at most 10 s and 20 packets.
func (p *prover) says(t *testing.T, want string) {
	t.Helper()
	p.counts(t)
	who, err := p.who()
	must(t, err)
	line := append([]string{p.program, p.at.String(), who.Name, who.Password}, strings.Fields(p.ways)...)
	begun := time.Now()
	got, err := run(t.Context(), inNet(world.Inet, line...)...)
	must(t, err)
	took := time.Since(begun)
	rules, err := run(t.Context(), inNet(world.Inet, "nft", "list", "table", "inet", "count")...)
	must(t, err)
	var sent [4]int
	for i, n := range counted.FindAllStringSubmatch(rules, -1) {
		_, _ = fmt.Sscan(n[1], &sent[i])
	}
	got = strings.TrimSpace(got)
	t.Logf("%s in %s; %d by UDP, %d SYN, %d by TCP", got, took.Round(time.Millisecond), sent[0], sent[1], sent[2])
	if got != want || sent[0]+sent[1]+sent[2] > 20 || sent[0] == 0 || took > 11*time.Second || sent[3] != 0 {
		t.Errorf("%s in %s, want %s; sent %v", got, took, want, sent)
	}
}

// mute has the router say nothing of what it does not hand on.
func mute(t *testing.T) {
	t.Helper()
	const rules = "table inet quiet {\n chain in {\n  type filter hook input priority 0; iifname \"wan\" drop;\n }\n}\n"
	must(t, nft(t.Context(), world.Router, rules))
	t.Cleanup(func() { must(t, nft(context.Background(), world.Router, "delete table inet quiet\n")) })
}

// behindNAT is coturn behind the router, over all transports, with lines added.
func behindNAT(t *testing.T, external string, lines ...string) string {
	t.Helper()
	const dir = "/etc/matrix-synapse/"
	shell(t, "cd "+dir+" && { test -e t.pem || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "+
		"-days 2 -subj /CN=turn.example.org -keyout t.key -out t.pem 2>/dev/null; } && chown turnserver t.key t.pem")
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), "sh", "-c", "rm -f "+dir+"t.pem "+dir+"t.key")
		must(t, err)
	})
	return strings.Replace(CoturnConf(external), "no-tls\n",
		"cert="+dir+"t.pem\npkey="+dir+"t.key\n"+strings.Join(append(lines, ""), "\n"), 1)
}

// A machine outside sees what callers get of a coturn behind NAT: by which ways, whether
// data comes through, and at which address. It sends little, and to nobody else.
func TestFromOutside(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	p := newProver(t)
	t.Cleanup(func() { must(t, world.Forward(context.Background(), Ports, Private)) })
	forward := func(ports string) { must(t, world.Forward(t.Context(), ports, Private)) }
	start := func(conf string) {
		restartCoturn(t, YunoHost, conf)
		right(t, FirstPublic, FirstPublic, 5*time.Second)
	}
	start(behindNAT(t, FirstPublic.String()))
	p.says(t, "[ok ok ok] relay ok")
	p.knows(t, "coturn", "static-auth-secret=another")
	p.says(t, "[refused refused refused] relay silent")
	p.knows(t, "coturn", "static-auth-secret="+Secret)
	forward("3478, 5349")
	p.says(t, "[ok ok ok] relay refused")
	forward("5349, 49153-49652")
	p.says(t, "[refused refused ok] relay ok")
	t.Run("mute", func(t *testing.T) {
		mute(t)
		p.says(t, "[silent silent ok] relay ok")
		forward("3478, 5349")
		p.says(t, "[ok ok ok] relay silent")
		forward("80")
		p.says(t, "[silent silent silent] relay silent")
		forward(Ports)
	})
	start(behindNAT(t, FirstPublic.String(), "denied-peer-ip=203.0.113.0-203.0.113.9"))
	p.says(t, "[ok ok ok] relay refused")
	restartCoturn(t, YunoHost, behindNAT(t, "203.0.113.99"))
	right(t, FirstPublic, netip.MustParseAddr("203.0.113.99"), 5*time.Second)
	p.says(t, "[wrong-address wrong-address wrong-address] relay silent")
	shell(t, "systemctl stop "+YunoHost.Unit)
	p.says(t, "[refused refused refused] relay silent")
}

// Over IPv6 an IPv6 address is lent, and data comes through it.
func TestFromOutside6(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	p := newProver(t)
	p.at = Public6
	restartCoturn(t, YunoHost, behindNAT(t, pair(FirstPublic, Private), "external-ip="+pair(Public6, Public6),
		"relay-ip="+Private.String(), "relay-ip="+Public6.String()))
	right(t, FirstPublic, FirstPublic, 5*time.Second)
	p.says(t, "[ok ok ok] relay ok")
}

// The TURN server in LiveKit takes a credential that was made of its key, from 1.12 on.
func TestFromOutsideCalls(t *testing.T) {
	newest := Calls
	newest.Version = LiveKitVersions[1]
	calls(t, newest, "node_ip: "+FirstPublic.String(), FirstPublic)
	unlimited(t, newest.Unit)
	must(t, world.Forward(t.Context(), "7880-7882, 7894-7895, 30000-40000", Private))
	certify(t, 30)
	text := newest.conf("node_ip: "+FirstPublic.String()) + fmt.Sprintf(callsTURN, filepath.Dir(newest.File))
	writeCalls(t, text)
	restartCalls(t)
	rightCall(t, FirstPublic, FirstPublic)
	livekit, err := servers.Named("livekit")
	must(t, err)
	said, err := livekit.Calls([]byte(text), nil)
	must(t, err)
	p := newProver(t)
	p.who = func() (*servers.Credential, error) {
		return said.ForAnother(servers.Version{Major: 1, Minor: 13}, time.Now())
	}
	p.ways = "udp:7894 tls:7895"
	p.says(t, "[ok ok] relay ok")
	said.Secret = "another"
	p.says(t, "[refused refused] relay silent")
}

// ejabberd takes a credential that was made of the secret of its host.
func TestFromOutsideEjabberd(t *testing.T) {
	others(t, "ejabberd", "openssl")
	writes(t, proven)
	shell(t, makePEM+" && systemd-tmpfiles --create && systemctl daemon-reload && systemctl start "+ejabberdUnit)
	shell(t, "timeout 30 ejabberdctl started")
	p := newProver(t)
	p.knows(t, "ejabberd", proven)
	p.says(t, "[ok ok ok] relay ok")
	p.knows(t, "ejabberd", strings.Replace(proven, Secret, "another", 1))
	p.says(t, "[refused refused refused] relay silent")
}
