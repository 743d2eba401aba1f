package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// An ACME is a certificate authority (RFC 8555) inside the server: pebble,
// which checks over loopback that it is the server of a name, and
// pebble-challtestsrv, by whose DNS every name is this machine.
type ACME struct{ server *Server }

// acmeTime is how long the authority may take to listen.
const acmeTime = 10 * time.Second

// acmeURL is where certbot finds the authority.
const acmeURL = "https://localhost:14000/dir"

// acmeDir is where the authority has its files.
const acmeDir = "/etc/lab-acme"

// acmeUnit starts both programs. The environment is pebble's: no pause before
// a check, no nonce refused in play, and a name once proven is not asked about
// again at a renewal, as with Let's Encrypt, which halves the time of one.
const acmeUnit = `[Service]
Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=100
ExecStart=/usr/bin/pebble -config ` + acmeDir + `/pebble.json -dnsserver 127.0.0.1:8053
[Unit]
Wants=lab-dns.service
After=lab-dns.service
`

const acmeDNSUnit = `[Service]
ExecStart=/usr/bin/pebble-challtestsrv -defaultIPv6 "" -http01 "" -https01 "" -tlsalpn01 ""
[Unit]
StopWhenUnneeded=yes
`

const acmeConfig = `{"pebble": {
	"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
	"certificate": "` + acmeDir + `/cert.pem", "privateKey": "` + acmeDir + `/key.pem",
	"httpPort": 80, "tlsPort": 443
}}
`

// StartACME starts an authority that has issued nothing yet, and returns once
// it listens. Nothing of certbot's from before is there any more.
func (s *Server) StartACME(ctx context.Context) (*ACME, error) {
	pair, err := NewPair("localhost")
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		acmeDir + "/cert.pem": pair.Cert, acmeDir + "/key.pem": pair.Key, acmeDir + "/pebble.json": acmeConfig,
		"/etc/systemd/system/lab-acme.service": acmeUnit, "/etc/systemd/system/lab-dns.service": acmeDNSUnit,
	}
	for name, content := range files {
		if err := s.WriteFile(name, content, 0o644); err != nil {
			return nil, err
		}
	}
	const begin = forget + " && systemctl daemon-reload && systemctl restart lab-acme.service"
	if _, err := s.Exec(ctx, "sh", "-c", begin); err != nil {
		return nil, fmt.Errorf("starting pebble: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, acmeTime)
	defer cancel()
	listens := func() error {
		_, err := Served(ctx, s.lab.Net, netip.MustParseAddrPort("127.0.0.1:14000"))
		return err
	}
	if err := until(ctx, 20*time.Millisecond, listens); err != nil {
		return nil, fmt.Errorf("waiting for pebble: %w", err)
	}
	return &ACME{s}, nil
}

// forget removes all that certbot has: accounts, certificates and hooks.
const forget = "rm -rf /etc/letsencrypt/*"

// Stop ends the authority and removes what certbot has got from it.
func (a *ACME) Stop(ctx context.Context) error {
	_, err := a.server.Exec(ctx, "sh", "-c", forget+"; systemctl stop lab-acme.service")
	return err
}

// Obtain has certbot get the first certificate for a name, which then lies in
// /etc/letsencrypt/live/NAME.
func (a *ACME) Obtain(ctx context.Context, name string) error {
	return a.certbot(ctx, "certonly", "--standalone", "--agree-tos", "--register-unsafely-without-email",
		"--server", acmeURL, "-d", name)
}

// Renew has certbot renew all certificates, although none is due. The options
// are for `certbot renew`.
func (a *ACME) Renew(ctx context.Context, options ...string) error {
	return a.certbot(ctx, append([]string{"renew", "--force-renewal", "--no-random-sleep-on-renew"}, options...)...)
}

func (a *ACME) certbot(ctx context.Context, args ...string) error {
	begin := []string{"env", "REQUESTS_CA_BUNDLE=" + acmeDir + "/cert.pem", "certbot", "--non-interactive"}
	_, err := a.server.Exec(ctx, append(begin, args...)...)
	return err
}
