//go:build lab

package lab

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// tlsPort is where coturn speaks TLS.
const tlsPort = 5349

// withTLS gives coturn the certificate of a way, as YunoHost does.
func withTLS(t *testing.T, w way) {
	t.Helper()
	lines := fmt.Sprintf(`tls-listening-port=%d\ncert=%s\npkey=%s`, tlsPort, w.file, w.key)
	shell(t, "sed -i 's|^no-tls$|"+lines+"|' "+YunoHost.File+" && setfacl -m user:turnserver:r "+YunoHost.File+
		" && systemctl restart "+YunoHost.Unit)
	right(t, FirstPublic, FirstPublic, 5*time.Second)
}

// public is where a client on the internet finds coturn's TLS.
var public = netip.AddrPortFrom(FirstPublic, tlsPort)

// serves waits until a certificate is shown at a public port to a client on the
// internet, or at a port of the server to one on its own network, and returns
// when that was.
func serves(t *testing.T, at netip.AddrPort, leaf *x509.Certificate) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, until(ctx, 10*time.Millisecond, func() error {
		from := world.Inet
		if at.Addr() == Private {
			from = world.Net
		}
		got, err := Served(t.Context(), from, at)
		if err == nil && !got.Equal(leaf) {
			err = fmt.Errorf("%s serves certificate %x, not %x", at, got.SerialNumber, leaf.SerialNumber)
		}
		return err
	}))
	return time.Now()
}

// serving has coturn serve the first certificate of a way, and netwatch watch it.
func serving(t *testing.T, w way) {
	t.Helper()
	fresh(t, YunoHost)
	asRoot(t)
	certified(t)
	first, err := w.put(t.Context(), 0)
	must(t, err)
	withTLS(t, w)
	watching(t, sourceAddress()+sourceCert(w)+ruleRenewed, FirstPublic)
	serves(t, public, first.Leaf)
}

// A renewed certificate is served to the next caller, and whoever has a relayed
// address keeps it.
func TestCoturnServesTheNewCertificate(t *testing.T) {
	serving(t, yunohost)
	call, err := caller.Allocate(t.Context(), netip.AddrPortFrom(FirstPublic, Port), 4)
	must(t, err)
	defer call.Close() // It has served its purpose.
	coturn := incarnation(t, YunoHost.Unit)
	var times Times
	for n := range 5 {
		next, err := yunohost.put(t.Context(), n+1)
		must(t, err)
		renewed := time.Now()
		times = append(times, serves(t, public, next.Leaf).Sub(renewed))
		must(t, call.Refresh(t.Context()))
	}
	promised(t, times, time.Second)
	if now := incarnation(t, YunoHost.Unit); now != coturn {
		t.Errorf("coturn is another process: %s, was %s", now, coturn)
	}
}

// Half a renewal is not told: coturn, signalled while the key does not match,
// keeps the old certificate, and nothing would signal it again.
func TestCoturnIsNotToldOfHalfARenewal(t *testing.T) {
	serving(t, acmesh)
	next, err := NewPair(domain)
	must(t, err)
	must(t, server.WriteFile(acmesh.file, next.Cert, 0o644))
	wait(t, 2*settle)
	must(t, server.WriteFile(acmesh.key, next.Key, 0o644))
	serves(t, public, next.Leaf)
}
