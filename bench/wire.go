package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// wireTimes is how often an address is asked for.
const wireTimes = 10

// counters are of the router, for what netwatch and the others send and get.
// What they count is bytes of IP.
const counters = `table inet bench {
	counter stun { }
	counter http { }
	counter https { }
	counter router { }
	chain pass {
		type filter hook forward priority 0;
		udp sport 3478 counter name stun
		udp dport 3478 counter name stun
		tcp sport 80 counter name http
		tcp dport 80 counter name http
		tcp sport 443 counter name https
		tcp dport 443 counter name https
	}
	chain asked {
		type filter hook input priority 0;
		udp dport 5351 counter name router
	}
	chain answers {
		type filter hook output priority 0;
		udp sport 5351 ip daddr != 224.0.0.1 counter name router
	}
}
`

// wire measures what it takes to ask for one address of one family, once, and
// reckons what that is in a day.
func (b *bench) wire(ctx context.Context) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	web, err := b.startWeb(ctx)
	if err != nil {
		return err
	}
	defer web()
	router := func(input string, words ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", b.world.Router}, words...)...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if err := b.stop(ctx); err != nil {
		return err
	}
	if err := b.world.RouterWorld(ctx); err != nil {
		return err
	}
	m, err := b.world.StartMiniupnpd(ctx, true)
	if err != nil {
		return err
	}
	defer func() { _ = m.Stop() }()                                  // The lab stops it too
	if err := b.checkOnce(ctx, "https://203.0.113.1/"); err != nil { // It also notes the address
		return err
	}
	if out, err := router(counters, "nft", "-f", "-"); err != nil {
		return fmt.Errorf("counting: %w: %s", err, out)
	}
	if err := b.askAll(ctx); err != nil {
		return err
	}
	text, err := router("", "nft", "list", "counters")
	if err != nil {
		return fmt.Errorf("counting: %w: %s", err, text)
	}
	bytes := map[string]int64{}
	for _, m := range regexp.MustCompile(`counter (\w+) \{\s*packets \d+ bytes (\d+)`).FindAllStringSubmatch(text, -1) {
		bytes[m[1]], _ = strconv.ParseInt(m[2], 10, 64) // As the pattern says.
	}
	s := newSheet("what", "bytes each", "times a day", "KB a day", "netwatch against it, each", "a day")
	const ours, theirs = int64(24 * time.Hour / every), int64(288)
	stun := bytes["stun"] / wireTimes
	s.row("netwatch, one STUN server, every 15 s", stun, ours, stun*ours/1000, "1", "1")
	for _, scheme := range []string{"http", "https"} {
		n := bytes[scheme] / wireTimes
		s.row("ddclient, "+scheme+" check, every 300 s", n, theirs, n*theirs/1000, ratio(stun, n), ratio(stun*ours, n*theirs))
	}
	withRouter(s, stun, bytes["router"]/wireTimes)
	return s.end()
}

// withRouter adds what is reckoned where a router vouches for the address, of the bytes of
// a question to a server and to the router.
func withRouter(s sheet, stun, lan int64) {
	const rare, asks, hears = int64(24 * time.Hour / (8 * every)), int64(24 * time.Hour / (2 * time.Second)), 8
	s.row("netwatch, one STUN server, every 2 min, with a router", stun, rare, stun*rare/1000, "1", "")
	s.row("the router itself, on the LAN, every 2 s", lan, asks, lan*asks/1000, "", "")
	s.row("the router itself, on the LAN, where it announces", lan, asks/hears, lan*asks/hears/1000, "", "")
}

// askAll has each ask wireTimes.
func (b *bench) askAll(ctx context.Context) error {
	for range wireTimes {
		for _, url := range []string{"http://203.0.113.1/", "https://203.0.113.1/"} {
			if err := b.checkOnce(ctx, url); err != nil {
				return err
			}
		}
		// A daemon that starts asks once, as with each poll: one server, one family.
		first, _, _ := strings.Cut(b.stun, ",")
		config := "[source.stun]\nservers = [" + first + "]\nagree = 1\nfamilies = [\"ipv4\"]\n[source.router]\n" + ruleCoturn
		if err := b.server.WriteFile("/etc/netwatch/wire.toml", config, 0o644); err != nil {
			return err
		}
		if _, err := b.server.Exec(ctx, "netwatch", "-c", "/etc/netwatch/wire.toml", "probe"); err != nil {
			return err
		}
	}
	return nil
}

// checkOnce has ddclient look once. It has nothing to tell its service.
func (b *bench) checkOnce(ctx context.Context, url string) error {
	if err := b.server.WriteFile("/etc/ddclient-bench.conf", fmt.Sprintf(ddclientConf, url), 0o600); err != nil {
		return err
	}
	_, err := b.server.Exec(ctx, "ddclient", "-daemon", "0", "-foreground", "-verbose", "-file",
		"/etc/ddclient-bench.conf", "-cache", "/var/tmp/ddclient.cache")
	return err
}

// startWeb starts a web server on the internet that says who asks.
func (b *bench) startWeb(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", b.world.Inet, b.server.Root()+self, insideWord, "web")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 1)) // It writes once it listens.
	}
	return func() { cancel(); _ = cmd.Wait() }, err
}

// webInside serves HTTP and HTTPS until it is killed: the address of who asks, in
// the words of checkip.dyndns.org, and "good" to an update.
func webInside() error {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr) // Go writes it so.
		if strings.HasPrefix(r.URL.Path, "/nic/") {
			fmt.Fprintln(w, "good", host)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<html><head><title>Current IP Check</title></head><body>Current IP Address: %s</body></html>\r\n",
			host)
	})
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "203.0.113.1:80")
	if err != nil {
		return err
	}
	secret, err := tls.Listen("tcp", "203.0.113.1:443",
		&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return err
	}
	fmt.Println("listening")
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(secret) }() // Ends with the process.
	err = server.Serve(plain)
	return errors.Join(err, io.EOF)
}

// selfSigned is a certificate without a chain: those of real servers are longer.
func selfSigned() (c tls.Certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(203, 0, 113, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
