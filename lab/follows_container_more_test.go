//go:build lab

// What a container has beside its file: its certificate, its ports, and the unit of its own.

package lab

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// renewed puts another certificate into the place of the one before, and returns what a client
// sees of it.
func renewed(t *testing.T) *x509.Certificate {
	t.Helper()
	pair, err := NewPair(domain)
	must(t, err)
	must(t, server.WriteFile("/srv/certs/new.crt", pair.Cert, 0o644))
	must(t, server.WriteFile("/srv/certs/new.key", pair.Key, 0o644))
	shell(t, "cd /srv/certs && mv new.key turn.key && mv new.crt turn.crt")
	return pair.Leaf
}

// shows wants a certificate to be what a caller sees.
func shows(t *testing.T, want *x509.Certificate, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		leaf, err := Served(ctx, world.Inet, netip.AddrPortFrom(FirstPublic, 5349))
		if err == nil && !leaf.Equal(want) {
			err = errors.New("it serves another certificate")
		}
		return err
	}))
}

// TestContainerIsCertified holds that a renewed certificate is served, although its file is mounted
// alone, so that coturn in the container would read the old one again.
func TestContainerIsCertified(t *testing.T) {
	withPodman(t)
	first := renewed(t)
	const tls = "tls-listening-port=5349\ncert=/certs/turn.crt\npkey=/certs/turn.key\n"
	text := strings.Replace(CoturnConf(FirstPublic.String()), "no-tls\n", tls, 1)
	must(t, server.WriteFile(containedConf, text, 0o644))
	const mounts = "-v /srv/certs/turn.crt:/certs/turn.crt -v /srv/certs/turn.key:/certs/turn.key "
	shell(t, byHandRun+mounts+"--network host --rootfs /srv/rootfs "+byHandTurn)
	undo(t, "podman rm -f -t 1 "+byHand)
	initSays(t, "coturn: "+byHandUnit+" with "+containedConf+", certificate /srv/certs/turn.crt")
	said := initialize(t)
	if !strings.Contains(said, "+match = { file = \"/srv/certs/turn.crt\" }\n+do    = [\"restart "+byHandUnit+"\"") {
		t.Errorf("init writes no rule for the certificate:\n%s", said)
	}
	shows(t, first, 10*time.Second)
	shows(t, renewed(t), 30*time.Second)
	idle(t, FirstPublic)
}

// TestContainerOfAUnit holds that a unit that waits for a container is the one that init has
// restarted, whether what watches over the container is in its cgroup or not.
func TestContainerOfAUnit(t *testing.T) {
	withPodman(t)
	create := strings.Replace(byHandRun, "podman run -d", "podman create", 1)
	shell(t, create+"--network host --rootfs /srv/rootfs "+byHandTurn)
	undo(t, "systemctl stop own.service; podman rm -f -t 1 "+byHand)
	for _, line := range []string{"", "UnsetEnvironment=INVOCATION_ID\n"} {
		unit := "[Service]\n" + line + "ExecStart=podman start -a " + byHand + "\nExecStop=podman stop " + byHand +
			"\n[Install]\nWantedBy=multi-user.target\n"
		must(t, server.WriteFile("/etc/systemd/system/own.service", unit, 0o644))
		shell(t, "systemctl daemon-reload; systemctl restart own.service")
		initSays(t, "run by own.service", "coturn: own.service with "+containedConf)
	}
	initialize(t)
	right(t, FirstPublic, FirstPublic, 10*time.Second)
	must(t, world.SetPublic(t.Context(), Public(25)))
	right(t, Public(25), Public(25), 20*time.Second)
}
