package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Secret is coturn's static-auth-secret in a lab.
const Secret = "the-lab's-secret"

// A Coturn is a way to install coturn.
type Coturn struct {
	// File is its configuration.
	File string
	// Unit is its systemd unit.
	Unit string
}

// The installations of a lab. Both listen at the same port: only one can run.
var (
	// YunoHost is coturn as the Synapse app of YunoHost sets it up.
	YunoHost = Coturn{File: "/etc/matrix-synapse/coturn.conf", Unit: "synapse-coturn.service"}
	// Debian is coturn as Debian's package sets it up.
	Debian = Coturn{File: "/etc/turnserver.conf", Unit: "coturn.service"}
)

// coturnConf is the configuration but for external-ip, which stands in the
// middle: every other byte has to stay.
const coturnConf = `# Configuration of coturn for Matrix
listening-port=3478
min-port=49153
max-port=49193
%s
use-auth-secret
static-auth-secret=` + Secret + `
realm=matrix.example.org
no-tls
no-dtls
no-cli
syslog
# The end`

// yunohostUnit is the unit of the Synapse app, given the directory of its files,
// with systemd's default start limit of 5 in 10 s.
const yunohostUnit = `[Unit]
Description=coturn for Synapse
After=network.target

[Service]
User=turnserver
Type=notify
EnvironmentFile=%[1]s/coturn_env
ExecStart=/usr/bin/turnserver -c %[1]s/coturn.conf $EXTRA_OPTIONS --pidfile=
Restart=on-failure

[Install]
WantedBy=multi-user.target
`

// CoturnConf is a whole configuration of coturn with these lines as its
// external-ip.
func CoturnConf(externalIP ...string) string {
	lines := make([]string, len(externalIP))
	for i, ip := range externalIP {
		lines[i] = "external-ip=" + ip
	}
	return fmt.Sprintf(coturnConf, strings.Join(lines, "\n"))
}

// Install stops the other installations and starts coturn afresh in this one,
// with an external-ip and no start counted against its limit.
func (s *Server) Install(ctx context.Context, c Coturn, externalIP netip.Addr) error {
	for _, other := range []Coturn{YunoHost, Debian} {
		// A unit that was never there, or is not loaded, cannot have either.
		_, _ = s.Exec(ctx, "systemctl", "stop", other.Unit)
		_, _ = s.Exec(ctx, "systemctl", "reset-failed", other.Unit)
	}
	if err := s.writeCoturn(ctx, c, CoturnConf(externalIP.String())); err != nil {
		return fmt.Errorf("installing coturn: %w", err)
	}
	if _, err := s.Exec(ctx, "sh", "-c", "systemctl daemon-reload && systemctl start "+c.Unit); err != nil {
		return fmt.Errorf("starting coturn: %w", err)
	}
	return nil
}

// writeCoturn writes the files of an installation with the owners, modes and
// access lists that its package gives them.
func (s *Server) writeCoturn(ctx context.Context, c Coturn, conf string) error {
	_ = os.Remove(s.path(c.File)) // A fresh one, without what a test did to the old.
	if err := s.WriteFile(c.File, conf, 0o640); err != nil {
		return err
	}
	if c == Debian {
		_, err := s.Exec(ctx, "chown", "root:turnserver", c.File)
		return err
	}
	dir := filepath.Dir(c.File)
	if err := s.WriteFile(dir+"/coturn_env", "EXTRA_OPTIONS=\n", 0o640); err != nil {
		return err
	}
	if err := s.WriteFile("/etc/systemd/system/"+c.Unit, fmt.Sprintf(yunohostUnit, dir), 0o644); err != nil {
		return err
	}
	for _, command := range []string{"chown -R synapse:synapse", "chmod 750", "setfacl -R -m user:turnserver:rX"} {
		if _, err := s.Exec(ctx, append(strings.Fields(command), dir)...); err != nil {
			return err
		}
	}
	return nil
}
