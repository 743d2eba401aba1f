package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A VPN is an OpenVPN server on the internet of a lab. The client is in the
// server of the lab, as a unit of Debian's package.
type VPN struct {
	lab     *Lab
	process *process
	dir     string
}

// Where the VPN's server is, and what its client is called.
const (
	VPNAddress = "203.0.113.1"
	VPNClient  = "openvpn-client@lab.service"
)

// vpnServer is the configuration of the server, but for its key, its
// certificate and the fingerprint of the client's.
const vpnServer = `dev tun
proto udp4
local ` + VPNAddress + `
server 10.8.0.0 255.255.255.0
topology subnet
dh none
keepalive 2 10
cert server.crt
key server.key
peer-fingerprint %s
`

// vpnClient is the configuration of the client, as users write it who give up
// root's rights, but for the fingerprint of the server's certificate.
const vpnClient = `client
dev tun
proto udp4
remote ` + VPNAddress + `
user nobody
group nogroup
persist-key
persist-tun
connect-retry 1
verb 3
cert lab.crt
key lab.key
peer-fingerprint %s
`

// StartVPN starts the VPN's server and puts the configuration of a client into
// the server of the lab, with more lines at its end. The client is not started.
func (l *Lab) StartVPN(ctx context.Context, s *Server, lines string) (*VPN, error) {
	return l.StartVPNWith(ctx, s, lines, "")
}

// StartVPNWith does it with more lines at the end of the configuration of the VPN's server
// too.
func (l *Lab) StartVPNWith(ctx context.Context, s *Server, lines, serverLines string) (*VPN, error) {
	v := &VPN{lab: l, dir: filepath.Join(l.dir, "vpn")}
	if err := v.configure(ctx, s, lines, serverLines); err != nil {
		return nil, fmt.Errorf("configuring OpenVPN: %w", err)
	}
	p, err := start(filepath.Join(v.dir, "log"), inNet(l.Inet, "openvpn", "--cd", v.dir, "--config", "server.conf")...)
	if err != nil {
		return nil, err
	}
	v.process = p
	l.later(v.Stop)
	return v, nil
}

// Stop stops the VPN's server. Doing it twice is harmless.
func (v *VPN) Stop() error { return v.process.stop(syscall.SIGKILL) }

// Log is what the VPN's server has written.
func (v *VPN) Log() string {
	text, _ := os.ReadFile(filepath.Join(v.dir, "log")) // What cannot be read says nothing.
	return string(text)
}

// configure writes the files of both sides, which know each other by the
// fingerprints of their certificates.
func (v *VPN) configure(ctx context.Context, s *Server, lines, serverLines string) error {
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return err
	}
	prints := map[string]string{}
	for _, name := range []string{"server", "lab"} {
		base := filepath.Join(v.dir, name)
		if _, err := run(ctx, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
			"ec_paramgen_curve:prime256v1", "-nodes",
			"-days", "30", "-subj", "/CN="+name, "-keyout", base+".key", "-out", base+".crt"); err != nil {
			return err
		}
		out, err := run(ctx, "openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", base+".crt")
		if err != nil {
			return err
		}
		_, prints[name], _ = strings.Cut(out, "=")
	}
	for _, file := range []string{"lab.crt", "lab.key"} {
		text, err := os.ReadFile(filepath.Join(v.dir, file))
		if err != nil {
			return err
		}
		if err := s.WriteFile("/etc/openvpn/client/"+file, string(text), 0o600); err != nil {
			return err
		}
	}
	if err := s.WriteFile("/etc/openvpn/client/lab.conf", fmt.Sprintf(vpnClient, prints["server"])+lines,
		0o644); err != nil {
		return err
	}
	text := fmt.Sprintf(vpnServer, prints["lab"]) + serverLines
	return os.WriteFile(filepath.Join(v.dir, "server.conf"), []byte(text), 0o600)
}
