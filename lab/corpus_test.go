//go:build lab

// The forms in which external-ip is found in the world, against the real coturn.

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"netwatch/servers"
)

// corpus are lines that say, or seem to say, coturn's external-ip. Whether the private
// part of a pair is still the machine's, a text does not say: TestVerify asks. A pair of
// an IPv4 and an IPv6 address, which tells callers of one family the other's, is not here.
var corpus = []string{
	"",
	"external-ip=203.0.113.5",
	"external-ip=203.0.113.5\n",
	"external-ip=203.0.113.5\r\n",
	"\t external-ip=203.0.113.5 \t\n",
	"external-ip = 203.0.113.5\n",
	"external-ip 203.0.113.5\n",
	"external-ip\t203.0.113.5\n",
	"external-ip==203.0.113.5\n",
	"external-ip=\"203.0.113.5\"\n",
	"external-ip='203.0.113.5'\n",
	"external-ip=203.0.113.5/192.168.50.2\n",
	"external-ip=203.0.113.5 / 192.168.50.2\n",
	"external-ip=\"203.0.113.5/192.168.50.2\"\n",
	"external-ip=2001:db8::5\n",
	"external-ip=2001:DB8:0::5\n",
	"external-ip=2001:db8::5/2001:db8:50::2\n",
	// Two of them.
	"external-ip=203.0.113.5\nexternal-ip=203.0.113.6\n",
	"external-ip=203.0.113.5\nexternal-ip=203.0.113.5\n",
	"external-ip=203.0.113.5\nexternal-ip=2001:db8::5\n",
	"external-ip=2001:db8::5\nexternal-ip=203.0.113.5",
	"external-ip=203.0.113.5/192.168.50.2\nexternal-ip=203.0.113.6/192.168.50.2\n",
	"external-ip=203.0.113.5/192.168.50.2\nexternal-ip=203.0.113.6\n",
	"external-ip=203.0.113.6\nexternal-ip=203.0.113.5/192.168.50.2\n",
	"external-ip=203.0.113.5\nexternal-ip=203.0.113.6/10.0.0.1\n",
	"external-ip=203.0.113.5/192.168.50.2\nexternal-ip=2001:db8::5/2001:db8:50::2\n",
	"external-ip=203.0.113.5/192.168.50.2\nexternal-ip=2001:db8::5\n",
	"external-ip=2001:db8::5/2001:db8:50::2\nexternal-ip=203.0.113.5\n",
	// What a script writes that could not find out the address.
	"external-ip=\n",
	"external-ip= \n",
	"external-ip\n",
	"external-ip=/192.168.50.2\n",
	"external-ip=203.0.113.5/192.168.50.2\nexternal-ip=\n",
	"external-ip=\nexternal-ip=203.0.113.5/192.168.50.2\n",
	"external-ip=\nexternal-ip=203.0.113.5\n",
	"external-ip=203.0.113.5\nexternal-ip=\n",
	"external-ip=0.0.0.0\n",
	"external-ip=0.0.0.0/192.168.50.2\n",
	// What is none for coturn.
	"external-ip=garbage.invalid\n",
	"external-ip=999.1.1.1\n",
	"external-ip=203.0.113.5,203.0.113.6\n",
	"external-ip=203.0.113.5:3478\n",
	"external-ip=203.0.113.5 # the router's\n",
	"external-ip=203.0.113.5/\n",
	"external-ip=203.0.113.5/24\n",
	"external-ip=[2001:db8::5]\n",
	"external-ip=999.1.1.1\nexternal-ip=203.0.113.5\n",
	"#external-ip=203.0.113.5\n",
	"-external-ip=203.0.113.5\n",
	"--external-ip=203.0.113.5\n",
	"External-IP=203.0.113.5\n",
	"X=203.0.113.5\n",
	"\ufeffexternal-ip=203.0.113.5\n",
	"external-ip=localhost\n",
	// Long lines, of which coturn sees pieces.
	"# " + strings.Repeat("x", 1021) + "external-ip=203.0.113.5\n",
	"external-ip=" + strings.Repeat(" ", 300) + "203.0.113.5\n",
}

// corpusConf is the rest of a configuration, given a port.
const corpusConf = `listening-port=%d
listening-ip=192.168.50.2
listening-ip=2001:db8:50::2
min-port=30000
max-port=40000
use-auth-secret
static-auth-secret=` + Secret + `
realm=example.org
no-tls
no-dtls
no-cli
log-file=stdout
pidfile=/tmp/corpus.pid
`

// What netwatch says that coturn announces is what that announces, both today's and
// the one to come.
func TestCorpus(t *testing.T) {
	coturn, err := servers.Named("coturn")
	must(t, err)
	var roots []string
	for _, release := range []Release{Here, Sid} {
		root, err := release.root(t.Context())
		must(t, err)
		t.Log(outside(t, "chroot", root, "turnserver", "--version"))
		roots = append(roots, root)
	}
	for i, lines := range corpus {
		t.Run(strconv.Quote(lines), func(t *testing.T) {
			t.Parallel()                // Each waits for coturns of its own.
			port := uint16(20000 + 2*i) // The next one is coturn's other port.
			conf := fmt.Sprintf(corpusConf, port) + lines
			var heard []map[int]netip.Addr
			for _, root := range roots {
				heard = append(heard, announced(t, root, conf, port))
			}
			if err := agrees(coturn.Advertised([]byte(conf), nil), heard); err != nil {
				t.Error(err)
			}
		})
	}
}

// agrees says how what is announced to callers of either family, by one coturn and
// another, is not what was claimed: each claim has to be heard by callers of its
// family, and nobody may hear of a public address that was not claimed, unless the
// coturns differ, which the text does not tell.
func agrees(claimed []netip.Addr, heard []map[int]netip.Addr) error {
	for _, a := range claimed {
		family := 0
		if a.Is6() {
			family = 6
		}
		for _, h := range heard {
			if h[family] != a {
				return fmt.Errorf("netwatch says that coturn announces %v, and callers hear %v", claimed, heard)
			}
		}
	}
	for family, a := range heard[0] {
		own := a == Private || a == Public6 || a.IsLoopback() || a.IsUnspecified()
		if heard[1][family] == a && !own && !slices.Contains(claimed, a) {
			return fmt.Errorf("callers hear %v, and netwatch says that coturn announces %v", heard, claimed)
		}
	}
	return nil
}

// announced has a coturn of a release run with a configuration, and asks for a relayed
// address as most callers do, and for one of IPv6 (6).
func announced(t *testing.T, root, conf string, port uint16) map[int]netip.Addr {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600))
	// Its file and nothing else of ours is where it sees it.
	const enter = `mount --bind "$1" "$2/mnt" && exec chroot "$2" /usr/bin/turnserver -c /mnt/conf`
	p, err := start(filepath.Join(dir, "log"), inNet(world.Net, "unshare", "--mount", "--propagation=private", "--", "sh",
		"-c", enter, "sh", dir, root)...)
	must(t, err)
	defer func() { must(t, p.stop(syscall.SIGKILL)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	at := netip.AddrPortFrom(Private, port)
	if err := answers(ctx, world.Net, at); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("%v: %s", err, log)
	}
	heard := map[int]netip.Addr{}
	for _, family := range []int{0, 6} {
		a, err := Caller{Namespace: world.Net, Secret: Secret, Resend: 250 * time.Millisecond}.Allocate(ctx, at, family)
		if errors.As(err, new(*TurnError)) {
			continue
		}
		must(t, err)
		heard[family] = a.Relayed.Addr()
		_ = a.Close() // It has told what it had to.
	}
	return heard
}
