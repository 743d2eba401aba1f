package lab

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// An App is an instance of the Synapse app as YunoHost installs it: its coturn
// speaks TLS alone, and is beside that of Debian, which nobody asked for.
type App struct {
	// Name is the app's; its files are in /etc/matrix-Name.
	Name string
	// Domain is the name of its server and of its certificate.
	Domain string
	// Secret is coturn's static-auth-secret.
	Secret string
	// TLS is where coturn listens, AltTLS where it would too, MinPort and MaxPort
	// between what it relays, and CLI where an administrator talks to it.
	TLS, AltTLS, MinPort, MaxPort, CLI uint16
}

// The apps of a lab's YunoHost, which can run side by side.
var (
	FirstApp = App{
		Name: "synapse", Domain: "matrix.example.org", Secret: strings.Repeat("a1B2c3D4", 8),
		TLS: 5349, AltTLS: 5350, MinPort: 49153, MaxPort: 49193, CLI: 5767,
	}
	SecondApp = App{
		Name: "synapse__2", Domain: "chat.example.net", Secret: strings.Repeat("z9Y8x7W6", 8),
		TLS: 5351, AltTLS: 5352, MinPort: 49194, MaxPort: 49234, CLI: 5768,
	}
)

// YunoHostPorts are what a router hands on to a YunoHost with both apps: 3478 is
// not among them, for the apps do not listen there.
const YunoHostPorts = "5349-5352, 49153-49234"

// Coturn is where the app's coturn is.
func (a App) Coturn() Coturn {
	return Coturn{File: a.dir() + "/coturn.conf", Unit: a.Name + "-coturn.service"}
}

// Unit is that of its Synapse.
func (a App) Unit() string { return a.Name + ".service" }

func (a App) dir() string { return "/etc/matrix-" + a.Name }

// appConf is coturn.conf as the app renders it by default, less its comments: no
// plain listener, a comment behind a value, and no line feed at its end. It has the
// fields of an App but for the alternative port.
const appConf = `# Configuration of the TURN server of %[1]s
tls-listening-port=%[4]d
alt-tls-listening-port=%[5]d
min-port=%[6]d
max-port=%[7]d
use-auth-secret
static-auth-secret=%[3]s
realm=%[2]s
user-quota=12 # 4 streams per video call, so 12 streams = 3 simultaneous relayed calls per user.
total-quota=1200
no-multicast-peers
denied-peer-ip=0.0.0.0-0.255.255.255
denied-peer-ip=127.0.0.0-127.255.255.255
max-allocate-lifetime=43200
cert=/etc/yunohost/certs/%[2]s/crt.pem
pkey=/etc/yunohost/certs/%[2]s/key.pem
dh-file=/etc/ssl/private/dh2048.pem
no-sslv2
no-sslv3
no-tlsv1
no-tlsv1_1
no-udp
no-tcp
log-file=/var/log/matrix-%[1]s/turnserver.log
pidfile=/run/coturn-%[1]s/turnserver.pid
simple-log
cli-port=%[8]d
cli-password=%[3]s
%[9]s`

// conf is its coturn.conf, with one plain line an address; one that could not be
// found out is empty.
func (a App) conf(externalIP []netip.Addr) string {
	lines := make([]string, len(externalIP))
	for i, ip := range externalIP {
		lines[i] = "external-ip="
		if ip.IsValid() {
			lines[i] += ip.String()
		}
	}
	return fmt.Sprintf(appConf, a.Name, a.Domain, a.Secret, a.TLS, a.AltTLS, a.MinPort, a.MaxPort, a.CLI,
		strings.Join(lines, "\n"))
}

// appCoturnUnit is the app's unit for coturn, given its name.
const appCoturnUnit = `[Unit]
Description=TURN server of %[1]s
After=network.target

[Service]
User=turnserver
Group=turnserver
Type=notify
EnvironmentFile=/etc/matrix-%[1]s/coturn_env
ExecStart=/usr/bin/turnserver -c /etc/matrix-%[1]s/coturn.conf $EXTRA_OPTIONS --pidfile=
Restart=on-failure
RuntimeDirectory=coturn-%[1]s
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
RestrictNamespaces=yes
RestrictRealtime=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=full
LockPersonality=yes

[Install]
WantedBy=multi-user.target
`

// appUnit is that of Synapse, given the app's name. A Python that does nothing
// stands in for it: what matters here is the unit.
const appUnit = `[Unit]
Description=Matrix server of %[1]s
After=network.target

[Service]
User=synapse
Type=simple
ExecStartPre=/bin/sleep 0.5
ExecStart=/opt/yunohost/matrix-%[1]s/bin/python -m synapse.app.homeserver ` +
	`--config-path=/etc/matrix-%[1]s/homeserver.yaml --config-path=/etc/matrix-%[1]s/conf.d/
Restart=always

[Install]
WantedBy=multi-user.target
`

// appHomeserver is Synapse's configuration as far as others look into it: a proxy
// before it speaks TLS.
const appHomeserver = `server_name: %[2]s
listeners:
  - {port: 8008, tls: false, type: http, x_forwarded: true}
turn_uris: ["turns:%[2]s:%[4]d?transport=udp", "turns:%[2]s:%[4]d?transport=tcp"]
turn_shared_secret: %[3]s
`

// appHook is the app's own post_cert_update, given its name and its domain.
const appHook = `#!/bin/bash
domain=$1
if [ "$domain" = "%[2]s" ]; then systemctl restart %[1]s; fi
`

// InstallYunoHost makes the server a YunoHost with these apps: all that they
// bring, Debian's coturn as its package enables it, /proc that shows nobody
// another's processes, and the names of the machine's own domains, which lead to
// its address in the LAN. All of it runs on return. Like YunoHost's script, which
// asks a web page, it writes one plain line for each address in externalIP.
func (s *Server) InstallYunoHost(ctx context.Context, externalIP []netip.Addr, apps ...App) error {
	units := []string{Debian.Unit}
	for _, a := range apps {
		if err := s.addApp(ctx, a, externalIP); err != nil {
			return fmt.Errorf("installing the app %s: %w", a.Name, err)
		}
		units = append(units, a.Unit(), a.Coturn().Unit)
	}
	enable := "systemctl daemon-reload && systemctl enable -q " + strings.Join(units, " ")
	for _, line := range []string{"mount -o remount,hidepid=2 /proc", enable, "systemctl restart " +
		strings.Join(units, " ")} {
		if _, err := s.Exec(ctx, "sh", "-c", line); err != nil {
			return fmt.Errorf("starting YunoHost: %w", err)
		}
	}
	return nil
}

// addApp writes all files of an app, with the owners, modes and access lists that
// YunoHost gives them.
func (s *Server) addApp(ctx context.Context, a App, externalIP []netip.Addr) error {
	files := []struct {
		name, text string
		mode       os.FileMode
	}{
		{a.Coturn().File, a.conf(externalIP), 0o640},
		{a.dir() + "/coturn_env", "EXTRA_OPTIONS=\n", 0o640},
		{a.dir() + "/homeserver.yaml", fmt.Sprintf(appHomeserver, a.Name, a.Domain, a.Secret, a.TLS), 0o640},
		{a.dir() + "/conf.d/listeners.yaml", "# Written by the app\n", 0o640},
		{"/opt/yunohost/matrix-" + a.Name + "/bin/python", "#!/bin/sh\nexec sleep infinity\n", 0o755},
		{"/etc/systemd/system/" + a.Coturn().Unit, fmt.Sprintf(appCoturnUnit, a.Name), 0o644},
		{"/etc/systemd/system/" + a.Unit(), fmt.Sprintf(appUnit, a.Name), 0o644},
		{hooksDir + "/50-" + a.Name, fmt.Sprintf(appHook, a.Name, a.Domain), 0o755},
	}
	for _, f := range files {
		if err := s.WriteFile(f.name, f.text, f.mode); err != nil {
			return err
		}
	}
	_, err := s.Exec(ctx, "sh", "-ec", fmt.Sprintf(appOwners, a.Name, a.Domain, Private))
	return errors.Join(err, s.own(ctx, a))
}

// appOwners is what else an app needs, given its name, its domain and the
// machine's address. The DH parameters are those that RFC 7919 names.
const appOwners = `getent group ssl-cert >/dev/null || groupadd --system ssl-cert
usermod -aG ssl-cert turnserver
install -d -m 710 -g ssl-cert /etc/ssl/private
[ -e /etc/ssl/private/dh2048.pem ] || {
	openssl genpkey -genparam -algorithm DH -pkeyopt group:ffdhe2048 -out /etc/ssl/private/dh2048.pem 2>/dev/null
	chown root:ssl-cert /etc/ssl/private/dh2048.pem && chmod 640 /etc/ssl/private/dh2048.pem
}
install -d -o turnserver -g turnserver -m 750 /var/log/matrix-%[1]s
grep -q %[2]s /etc/hosts || sed -i '1i %[3]s %[2]s' /etc/hosts
chown -R synapse:synapse /etc/matrix-%[1]s
chmod -R u=rwX,g=rX,o= /etc/matrix-%[1]s
setfacl -R -m user:turnserver:rX /etc/matrix-%[1]s
`

// own gives the domain of an app its first certificate.
func (s *Server) own(ctx context.Context, a App) error {
	_, err := s.renew(ctx, a.Domain)
	return err
}

// renew is Renew with the key for root and ssl-cert alone, as it is there.
func (s *Server) renew(ctx context.Context, domain string) (*x509.Certificate, error) {
	leaf, err := s.Renew(domain)
	if err != nil {
		return nil, err
	}
	const keep = `chown root:ssl-cert "$1"/*.pem && chmod 640 "$1"/*.pem`
	_, err = s.Exec(ctx, "sh", "-c", keep, "sh", certificates(domain))
	return leaf, err
}

// hooksDir has what YunoHost runs once a certificate has been renewed.
const hooksDir = "/etc/yunohost/hooks.d/post_cert_update"

// InstallCertificate is `yunohost domain cert install`: another certificate, and
// then every hook, in order, with the domain. It returns what a TLS client is to
// see.
func (s *Server) InstallCertificate(ctx context.Context, domain string) (*x509.Certificate, error) {
	leaf, err := s.renew(ctx, domain)
	if err != nil {
		return nil, err
	}
	_, err = s.Exec(ctx, "sh", "-c", `for hook in `+hooksDir+`/*; do /bin/bash "$hook" "$1" || exit; done`, "sh", domain)
	return leaf, err
}

// Rendering is what others find while the app's script writes coturn.conf: it is
// root's alone, in a directory of synapse. After that it is as the app ships it.
func (s *Server) Rendering(ctx context.Context, a App, externalIP []netip.Addr, meanwhile func() error) error {
	const take, give = "chown root:root %[1]s && chmod 0440 %[1]s", "chown synapse:synapse %[1]s && chmod 640 %[1]s"
	conf := a.Coturn().File
	if _, err := s.Exec(ctx, "sh", "-c", fmt.Sprintf(take, conf)); err != nil {
		return err
	}
	err := errors.Join(s.WriteFile(conf, a.conf(externalIP), 0o440), meanwhile())
	_, failed := s.Exec(ctx, "sh", "-c", fmt.Sprintf(give, conf))
	return errors.Join(err, failed)
}
