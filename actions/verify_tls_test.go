package actions

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"netwatch"
)

// issue makes a certificate for a name that is good from a day before now.
func issue(t *testing.T, name string, life time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, &is, &is, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS serves what is stored at 127.0.0.1, until the test ends, and returns its port.
func serveTLS(t *testing.T, now *atomic.Pointer[tls.Certificate]) (port string) {
	t.Helper()
	return serveTLSAt(t, "127.0.0.1", now)
}

func serveTLSAt(t *testing.T, address string, now *atomic.Pointer[tls.Certificate]) (port string) {
	t.Helper()
	l, err := tls.Listen("tcp", net.JoinHostPort(address, "0"), &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return now.Load(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // Ends with the listener.
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// renewedBy is a cert-renewed about a file.
func renewedBy(file string, names string, c tls.Certificate) netwatch.Event {
	return netwatch.NewEvent(netwatch.CertRenewed, "cert", map[string]string{
		"file": file, "names": names, "new": netwatch.Fingerprint(c.Certificate[0]),
	})
}

// The certificate that is served is the new one of the run's events about the host, else
// that of the file, else one that is good for the host.
func TestVerifyTLS(t *testing.T) {
	old, renewed := issue(t, "localhost", time.Hour), issue(t, "localhost", 2*time.Hour)
	other, expired := issue(t, "example.org", time.Hour), issue(t, "localhost", -time.Hour)
	file := filepath.Join(t.TempDir(), "crt.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: renewed.Certificate[0]})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	both := []netwatch.Event{renewedBy("/a", "x.example.org,localhost", old), renewedBy("/a", "localhost", renewed)}
	for name, c := range map[string]struct {
		served tls.Certificate
		file   string
		events []netwatch.Event
		want   netwatch.Outcome
		says   string
	}{
		"the event's":    {renewed, "", both, netwatch.Unchanged, "serves it, good until "},
		"the one before": {old, "", both, netwatch.Failed, "it serves another one, of localhost"},
		"not of this host's event": {
			old, "",
			[]netwatch.Event{renewedBy("/b", "*.example.org", renewed)},
			netwatch.Unchanged, "serves it",
		},
		"an event that tells none": {
			old, "",
			[]netwatch.Event{netwatch.NewEvent(netwatch.CertRenewed, "fire", nil)},
			netwatch.Unchanged, "serves it",
		},
		"the file's":     {renewed, file, nil, netwatch.Unchanged, "serves it"},
		"not the file's": {old, file, nil, netwatch.Failed, "it serves another one"},
		"the event before the file": {
			renewed, file, []netwatch.Event{renewedBy("/a", "localhost", old)}, netwatch.Failed, "it serves another one",
		},
		"no file there":  {renewed, "/nonexistent/crt.pem", nil, netwatch.Failed, "reading /nonexistent/crt.pem"},
		"good":           {old, "", nil, netwatch.Unchanged, "serves it"},
		"another name's": {other, "", nil, netwatch.Failed, "example.org"},
		"expired":        {expired, "", nil, netwatch.Failed, "it is good from"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // Those that fail wait for another one as long as they may.
			var now atomic.Pointer[tls.Certificate]
			now.Store(&c.served)
			s := servedCertificate{
				host: "localhost", port: serveTLS(t, &now), file: netwatch.Path(c.file), time: 2 * time.Second,
			}
			r := s.Do(t.Context(), netwatch.Job{Events: c.events})
			wantResult(t, r, c.want, c.says)
			if errors.Is(r.Err, ErrAnotherServed) != strings.HasPrefix(c.says, "it serves another one") {
				t.Errorf("it is told apart wrongly: %v", r.Err)
			}
			if c.want == netwatch.Failed && netwatch.Hint(r.Err) == "" {
				t.Errorf("no hint with %v", r.Err)
			}
		})
	}
}

// A server that reads its certificate again a moment later is right, and one that is not
// there is said to be that.
func TestVerifyTLSWaits(t *testing.T) {
	old, renewed := issue(t, "localhost", time.Hour), issue(t, "localhost", 2*time.Hour)
	var now atomic.Pointer[tls.Certificate]
	now.Store(&old)
	s := servedCertificate{host: "localhost", port: serveTLS(t, &now), time: 10 * time.Second}
	time.AfterFunc(200*time.Millisecond, func() { now.Store(&renewed) })
	job := netwatch.Job{Events: []netwatch.Event{renewedBy("/a", "localhost", renewed)}}
	wantResult(t, s.Do(t.Context(), job), netwatch.Unchanged, "serves it")
	nobody := servedCertificate{host: "127.0.0.1", port: "9", time: time.Second}
	wantResult(t, nobody.Do(t.Context(), job), netwatch.Failed, "nobody serves one there", "systemctl status")
}

// A name that leads to this machine's loopback alone, as Debian's installer gives the name of
// the machine itself, is also asked for at the machine's addresses.
func TestVerifyTLSHere(t *testing.T) {
	at := "127.0.0.1"
	for _, a := range netwatch.OwnAddresses() {
		if a.IsGlobalUnicast() {
			at = a.String()
		}
	}
	leaf := issue(t, "localhost", time.Hour)
	var now atomic.Pointer[tls.Certificate]
	now.Store(&leaf)
	s := servedCertificate{host: "localhost", port: serveTLSAt(t, at, &now), time: time.Second}
	wantResult(t, s.Do(t.Context(), netwatch.Job{}), netwatch.Unchanged, "serves it")
}

// The names of certificates are compared as callers do.
func TestNameFits(t *testing.T) {
	for _, c := range []struct {
		name, host string
		fits       bool
	}{
		{"turn.example.org", "turn.example.org", true},
		{"Turn.Example.org", "turn.example.org", true},
		{"*.example.org", "turn.example.org", true},
		{"*.example.org", "example.org", false},
		{"*.example.org", "a.turn.example.org", false},
		{"*.", "x.", false},
		{"", "turn.example.org", false},
	} {
		if got := nameFits(c.name, c.host); got != c.fits {
			t.Errorf("%s for %s: %v", c.name, c.host, got)
		}
	}
}
