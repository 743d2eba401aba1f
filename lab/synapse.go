package lab

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// An Instance is an installation of YunoHost's Synapse app: a Synapse and a
// coturn of its own, which have a secret in common.
type Instance struct {
	// Name is the app's; Synapse's unit is Name.service and its files are in
	// /etc/matrix-Name and /var/lib/matrix-Name.
	Name string
	// Domain is the name of the server and of its certificate.
	Domain string
	// Coturn is where its coturn is.
	Coturn Coturn
	// Secret is coturn's static-auth-secret.
	Secret string
	// Way is how systemd runs its Synapse: SynapseSimple or SynapseNotify.
	Way string
	// TURN and TURNS are the ports of coturn without and with TLS, HTTP and
	// HTTPS those of Synapse.
	TURN, TURNS, HTTP, HTTPS uint16
}

// The instances of a lab, which can run side by side: the first has the names of
// before 2024, the second those of since, and another way to run Synapse.
var (
	FirstSynapse = Instance{
		Name: "synapse", Domain: "matrix.example.org", Coturn: YunoHost, Secret: Secret, Way: SynapseSimple,
		TURN: Port, TURNS: 5349, HTTP: 8008, HTTPS: 8448,
	}
	SecondSynapse = Instance{
		Name: "synapse__2", Domain: "matrix.example.com", Secret: "the-second's-secret", Way: SynapseNotify,
		Coturn: Coturn{File: "/etc/matrix-synapse__2/coturn.conf", Unit: "synapse__2-coturn.service"},
		TURN:   3480, TURNS: 5350, HTTP: 8009, HTTPS: 8449,
	}
)

// The ways to run Synapse.
const (
	// SynapseSimple is YunoHost's: systemd does not know when it is ready, and
	// cannot reload it.
	SynapseSimple = "Type=simple\n"
	// SynapseNotify is that of the package that Synapse's makers offer.
	SynapseNotify = "Type=notify\nExecReload=/bin/kill -HUP $MAINPID\n"
)

// synapseUnit has the place of the virtual environment, a way to run Synapse
// and the instance's name.
const synapseUnit = `[Unit]
Description=Synapse
After=network.target

[Service]
User=synapse
WorkingDirectory=/var/lib/matrix-%[3]s
StateDirectory=matrix-%[3]s
ExecStart=%[1]s/bin/python -m synapse.app.homeserver --config-path /etc/matrix-%[3]s/homeserver.yaml
Restart=always
%[2]s`

// homeserverConf has the fields of an Instance but for its coturn's place.
const homeserverConf = `server_name: %[2]s
public_baseurl: https://%[2]s/
listeners:
  - port: %[6]d
    type: http
    x_forwarded: true
    resources: [{names: [client]}]
  - port: %[7]d
    type: http
    tls: true
    resources: [{names: [client, federation]}]
tls_certificate_path: /etc/yunohost/certs/%[2]s/crt.pem
tls_private_key_path: /etc/yunohost/certs/%[2]s/key.pem
database: {name: sqlite3, args: {database: /var/lib/matrix-%[1]s/homeserver.db}}
media_store_path: /var/lib/matrix-%[1]s/media
signing_key_path: /etc/matrix-%[1]s/signing.key
macaroon_secret_key: nobody-knows
registration_shared_secret: %[3]s
turn_uris: ["turn:%[2]s:%[4]d?transport=udp", "turns:%[2]s:%[5]d?transport=tcp"]
turn_shared_secret: %[3]s
trusted_key_servers: []
report_stats: false
`

// tlsConf is what an instance's coturn has in place of the lab's common lines.
const tlsConf = `tls-listening-port=%[1]d
cert=/etc/yunohost/certs/%[2]s/crt.pem
pkey=/etc/yunohost/certs/%[2]s/key.pem`

// Unit is that of Synapse.
func (i Instance) Unit() string { return i.Name + ".service" }

// coturnConf is the lab's common configuration with the instance's own ports,
// secret and certificate.
func (i Instance) coturnConf(externalIP string) string {
	return strings.NewReplacer(
		fmt.Sprintf("listening-port=%d", Port), fmt.Sprintf("listening-port=%d", i.TURN),
		"static-auth-secret="+Secret, "static-auth-secret="+i.Secret,
		"realm=matrix.example.org", "realm="+i.Domain,
		"no-tls", fmt.Sprintf(tlsConf, i.TURNS, i.Domain),
	).Replace(CoturnConf(externalIP))
}

// homeserverYAML is Synapse's configuration.
func (i Instance) homeserverYAML() string {
	return fmt.Sprintf(homeserverConf, i.Name, i.Domain, i.Secret, i.TURN, i.TURNS, i.HTTP, i.HTTPS)
}

// InstallSynapse writes all files of an instance with the owners, modes and
// access lists that YunoHost gives them, and starts nothing. The virtual
// environment is made the first time on this machine, which takes half a minute
// and PyPI.
func (s *Server) InstallSynapse(ctx context.Context, i Instance, externalIP netip.Addr) error {
	environment, err := addSynapse(ctx, s.release)
	if err != nil {
		return err
	}
	dir := filepath.Dir(i.Coturn.File)
	files := map[string]string{
		dir + "/homeserver.yaml":          i.homeserverYAML(),
		dir + "/signing.key":              signingKey(),
		"/etc/systemd/system/" + i.Unit(): fmt.Sprintf(synapseUnit, filepath.Join(cacheInside, environment), i.Way, i.Name),
	}
	for name, content := range files {
		if err := s.WriteFile(name, content, 0o640); err != nil {
			return err
		}
	}
	if err := s.writeCoturn(ctx, i.Coturn, i.coturnConf(externalIP.String())); err != nil {
		return fmt.Errorf("installing the coturn of %s: %w", i.Name, err)
	}
	_, err = s.Exec(ctx, "systemctl", "daemon-reload")
	return err
}

// signingKey is a key as Synapse makes one: its kind, its name and a seed.
func signingKey() string {
	seed := make([]byte, 32)
	_, _ = rand.Read(seed) // Never fails (crypto/rand).
	return "ed25519 a_lab " + base64.RawStdEncoding.EncodeToString(seed) + "\n"
}

// RemoveSynapse stops an instance and takes all of it away.
func (s *Server) RemoveSynapse(ctx context.Context, i Instance) error {
	units := []string{i.Unit(), i.Coturn.Unit}
	for _, unit := range units { // What is masked or was never there cannot be stopped, and does not run.
		_, _ = s.Exec(ctx, "systemctl", "kill", "-s", "KILL", unit)
		_, _ = s.Exec(ctx, "systemctl", "stop", unit)
	}
	remove := []string{
		filepath.Dir(i.Coturn.File), "/var/lib/matrix-" + i.Name, certificates(i.Domain),
		certificates(i.Domain) + "-history",
	}
	for _, unit := range units {
		remove = append(remove, "/etc/systemd/system/"+unit)
	}
	for _, name := range remove {
		if err := os.RemoveAll(s.path(name)); err != nil {
			return fmt.Errorf("removing %s: %w", i.Name, err)
		}
	}
	_, err := s.Exec(ctx, "systemctl", "daemon-reload")
	return err
}
